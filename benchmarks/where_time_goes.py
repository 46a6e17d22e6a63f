"""Where the time goes in a training step and in decoding; writes PROFILE.md.

python -m benchmarks.where_time_goes          about 6 minutes
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contestants import SIZES, Ours, Size
from benchmarks.measure import cpu_ms, spread
from benchmarks.report import machine
from benchmarks.side_by_side import (
    PRODUCTS_FLOPS,
    TrainingStep,
    in_eval,
    products,
    random_batch,
    speeds,
)
from transformer_lib import keep_freed_memory

# What torch calls its operations, by kind; the first that fits counts.
KINDS = {
    "matrix products": ("mm", "linear", "matmul", "mkldnn"),
    "softmax and loss": ("softmax", "nll_loss", "cross_entropy"),
    "dropout": ("dropout", "bernoulli"),
    "layer norm": ("layer_norm",),
    "optimizer and clipping": ("adam", "norm", "foreach"),
    "embedding": ("embedding", "index", "gather"),
    "best token": ("topk", "sort", "max"),
    "masks": ("masked_fill", "where", "tril", "bitwise"),
    "copies and casts": ("copy", "clone", "_to_copy", "cat", "fill", "zero"),
    "adding, scaling, relu": ("add", "mul", "div", "relu", "threshold", "sum", "sub"),
}
OTHER = "Python and the rest"
HEAD = """\
# Where the time goes

Written by `python -m benchmarks.where_time_goes`: our model under `torch.profiler`, one thread,
sizes A (d_model 256, 3 + 3 layers, 32 × 32 tokens) and B (512, 6 + 6, 8 × 64).

"""
TRIED = Path(__file__).with_name("tried.md")


def kind(operation: str) -> str:
    """Sort one of torch's operations into a kind."""
    for name, parts in KINDS.items():
        if any(part in operation for part in parts):
            return name
    return OTHER


def shares(run: Callable[[], object]) -> dict[str, float]:
    """Profile something; return each kind's share of the time, largest first."""
    times = Counter()
    for _ in range(3):
        # What the profiler writes down takes memory that tensors had. Unless they find places
        # anew before the next run is profiled, that run seems to spend its time on clean pages.
        run()
        run()
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            run()
        for event in profiler.key_averages():
            times[kind(event.key.lower())] += event.self_cpu_time_total
    return {name: time / times.total() for name, time in times.most_common()}


def share_of_limit(run: Callable[[], object], precision: str) -> float:
    """Say how much of the time the matrix products alone would take at the machine's speed."""
    with FlopCounterMode(display=False) as counter:
        run()
    taken = spread([cpu_ms(run) for _ in range(5)])[0]
    limit = min(cpu_ms(lambda: products(precision)) for _ in range(5))
    return limit * counter.get_total_flops() / PRODUCTS_FLOPS / taken


def runs(size: Size) -> dict[tuple[str, str], Callable[[], object]]:
    """Make what is profiled: (what, precision) → a function to run."""
    batch, made = random_batch(size), {}
    for precision in ("float32", "medium", "bfloat16"):
        step = TrainingStep(Ours(size), precision)
        made["training step", precision] = lambda step=step: step(*batch)
    for precision in ("float32", "medium", "bfloat16"):
        act = lambda model: model.greedy(batch.src, size.length)  # noqa: E731
        made["greedy decoding", precision] = in_eval(Ours(size), precision, act)
    return made


def table() -> str:
    """Profile everything; write the shares as a table in Markdown."""
    names = [*KINDS, OTHER]
    lines = [f"| what | {' | '.join(names)} | of the limit |"]
    lines.append(f"|---|{'--:|' * (len(names) + 1)}")
    for label, size in SIZES.items():
        for (what, precision), run in runs(size).items():
            found, limit = shares(run), share_of_limit(run, precision)
            cells = [f"{found.get(name, 0):.0%}" for name in names]
            lines.append(f"| {what}, {label}, {precision} | {' | '.join(cells)} | {limit:.0%} |")
    return "\n".join(lines)


def main() -> None:
    """Profile, print and write."""
    torch.set_num_threads(1)
    keep_freed_memory()
    found = table()
    print(found)
    page = HEAD + machine() + f"\n- matrix products: {speeds()}\n\n" + found + "\n\n"
    page += TRIED.read_text("utf-8")
    TRIED.with_name("PROFILE.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
