"""What is measured in a process of its own: memory, attention at great length, imports.

    python -m benchmarks.alone attention ours 4096
    python -m benchmarks.alone training ours A bfloat16
    python -m benchmarks.alone steps B 2

prints the ms and the MB that it took. Memory is Linux's own count of the process's peak.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Comparison, in_turns

ROOT = Path(__file__).parent.parent
ATTENTIONS = ("naive", "ours", "ours, no mask", "torch's")


def peak_mb(run: Callable[[], object]) -> float:
    """Run something; return by how many MB the process has grown at the peak."""
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = memory_mb("VmRSS")
    run()
    return memory_mb("VmHWM") - before


def memory_mb(what: str) -> float:
    """Read one figure of /proc/self/status, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1000
    raise KeyError(what)


def attention(who: str, length: int) -> dict[str, float]:
    """Measure a causal attention of 8 heads of size 64, forward only, for one sentence.

    Args:
        who: one of ATTENTIONS. "naive" is the formula, "ours" what `MultiHeadAttention` runs.
        length: the number of queries and keys.

    Returns:
        its ms, and the MB that it needed beyond inputs (the mask is one) and output.
    """
    import torch
    from torch.nn import functional as F

    from benchmarks.measure import cpu_ms
    from transformer_lib import MultiHeadAttention, causal_mask, scaled_dot_product_attention

    torch.set_num_threads(1)
    heads = torch.randn(3, 1, 8, length, 64)  # (3, B, H, T, d_k)
    sentence = torch.randn(3, 1, length, 512)  # (3, B, T, D)
    mask = None if who == "ours, no mask" else causal_mask(length)
    ours = MultiHeadAttention(512, 8).eval()
    for projection in ("w_q", "w_k", "w_v", "w_o"):
        setattr(ours, projection, torch.nn.Identity())  # the attention alone

    def run():
        if who == "naive":
            return scaled_dot_product_attention(*heads, mask)[0]
        if who == "torch's":
            return F.scaled_dot_product_attention(*heads, is_causal=True)
        return ours(*sentence, mask)[0]

    with torch.inference_mode():
        small = heads[:, :, :, :8]
        F.scaled_dot_product_attention(*small)  # torch loads what it needs
        output = length * 512 * 4 / 1e6
        megabytes = peak_mb(run) - output
        milliseconds = statistics.median(cpu_ms(run) for _ in range(3))
    return {"ms": milliseconds, "MB": megabytes}


def training(who: str, label: str, precision: str) -> dict[str, float]:
    """Measure the peak memory of three training steps, the model included."""
    import torch

    from benchmarks.contestants import CONTESTANTS, SIZES
    from benchmarks.side_by_side import TrainingStep, random_batch
    from transformer_lib import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()

    def run():
        step = TrainingStep(CONTESTANTS[who](SIZES[label]), precision)
        for _ in range(3):
            step(*random_batch(SIZES[label]))

    return {"MB": peak_mb(run)}


def steps(label: str, threads: int) -> dict[str, float]:
    """Measure training steps by the clock; processes that torchrun started share each batch."""
    import torch
    from torch.nn.parallel import DistributedDataParallel

    from benchmarks.contestants import SIZES, Ours
    from benchmarks.side_by_side import random_batch
    from transformer_lib import accumulate_gradients, join_processes, keep_freed_memory

    torch.set_num_threads(threads)
    keep_freed_memory()
    _, world = join_processes()
    torch.manual_seed(0)
    loss = Ours(SIZES[label]).train().token_loss
    loss = DistributedDataParallel(loss) if world > 1 else loss
    adam = torch.optim.Adam(loss.parameters(), 1e-4, fused=True)
    batch, times = random_batch(SIZES[label]), []
    for _ in range(8):
        begin = time.perf_counter()
        adam.zero_grad()
        accumulate_gradients(loss, [batch])
        adam.step()
        times.append(1000 * (time.perf_counter() - begin))
    if world > 1:
        torch.distributed.destroy_process_group()
    return {"ms": statistics.median(times[1:])}


def in_a_process(*arguments: object, processes: int = 1) -> dict[str, float]:
    """Run this module with these arguments in a process of its own, or in several.

    Returns:
        what it, or the last of several, found.

    Raises:
        RuntimeError: it failed; the message is the last line that it wrote.
    """
    torchrun = ["torch.distributed.run", f"--nproc-per-node={processes}", "-m"]
    start = torchrun if processes > 1 else []
    command = [sys.executable, "-m", *start, "benchmarks.alone", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["killed"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def compare_attention(length: int) -> list[Comparison]:
    """Compare time and memory of three attentions with a causal mask."""
    runs = {who: process("attention", who, length) for who in ATTENTIONS}
    found = in_turns(f"causal attention, n = {length:,}", runs, measure=lambda run: run())
    return [one_figure(found, "ms"), one_figure(found, "MB")]


def compare_memory(label: str) -> Comparison:
    """Compare the peak memory of training steps."""
    entrants = [("nn.Transformer", "float32"), ("nn.Transformer", "bfloat16")]
    entrants += [("ours", "float32"), ("ours", "medium"), ("ours", "bfloat16")]
    runs = {f"{who}, {how}": process("training", who, label, how) for who, how in entrants}
    found = in_turns(f"peak memory of training, {label}", runs, measure=lambda run: run())
    return one_figure(found, "MB")


def process(*arguments: object) -> Callable[[], dict[str, float]]:
    """Make a function of no arguments of `in_a_process`."""
    return lambda: in_a_process(*arguments)


def one_figure(found: Comparison, unit: str) -> Comparison:
    """Take one figure out of those that each process printed."""
    values = {who: [figures[unit] for figures in rounds] for who, rounds in found.values.items()}
    return Comparison(found.what, unit, values, found.failures)


def import_ms(module: str) -> float:
    """Import a module in a fresh process; return the processor time, in ms."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], cwd=ROOT, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def imports() -> Comparison:
    """Compare the time of imports."""
    modules = ("torch", "transformer_lib", "x_transformers", "transformers.models.marian")
    runs = {module: lambda module=module: import_ms(module) for module in modules}
    return in_turns("import", runs, measure=lambda run: run())


def main() -> None:
    """Measure what the arguments ask for, and print it as JSON."""
    match sys.argv[1:]:
        case "attention", who, length:
            figures = attention(who, int(length))
        case "training", who, label, precision:
            figures = training(who, label, precision)
        case "steps", label, threads:
            figures = steps(label, int(threads))
        case unknown:
            raise SystemExit(f"cannot measure {unknown}")
    # In one piece: torchrun's processes share the output, and print writes the line's end apart.
    print(json.dumps(figures) + "\n", end="")


if __name__ == "__main__":
    main()
