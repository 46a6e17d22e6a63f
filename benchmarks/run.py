"""Compare everything in one go, print one table, and write RESULTS.md and its picture.

    python -m benchmarks.run             about 25 minutes on one core

Peers that are not installed are installed first. The Multi30k corpus is used where the variable
TRANSFORMER_LIB_MULTI30K names its folder.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks import alone, report
from benchmarks.contestants import SIZES
from benchmarks.learning import learning
from benchmarks.measure import Comparison
from benchmarks.side_by_side import decoding, forward, machine_limit, real_text, speeds, training
from transformer_lib import keep_freed_memory
from transformer_lib.data import load_en_de, load_multi30k
from transformer_lib.presets import make_vocabularies

ROOT = Path(__file__).parent.parent
# labml-nn asks for torchtext, which has ended, and for a torchvision that may not fit our torch;
# its Transformer needs neither. It calls what labml has dropped in 0.5.
LABML = ["labml-nn", "labml<0.5", "labml-helpers", "--no-deps"]
HEAD = """\
# Results

Written by `make bench`. A ratio below 1 is faster, or smaller, than the first line of its group.
All values are medians of rounds in which the contestants took turns; times are processor time of
one thread. A ratio is the median of the rounds' ratios, so it may differ a little from the ratio of
the medians; half of them lie in the range beside it.

"""
NOTES = """
**A** is d_model 256, 3 + 3 layers, a batch of 32 sentences of 32 tokens; **B** is d_model 512,
6 + 6 layers, 8 × 64. Both have 8 heads, d_ff = 4 · d_model and 10,000 words. "medium" is
`torch.set_float32_matmul_precision("medium")`; "bfloat16" is autocast in training, and weights
cast to bfloat16 in reading and decoding. Whatever one contestant got, all got:
`Adam(fused=True)`, gradients clipped, `keep_freed_memory()`. d2l is not among them: it asks for
NumPy 1.23.5, which does not go with the others.

"""


GOALS = """
## Goals

They were set on a processor whose matrix products ran at about 100 (float32), 200 (medium) and 400
(bfloat16) GFLOP/s; compare the line on matrix products above. Where another gains less from the
fast precisions, the goals that count on them are out of reach.

"""


def install_peers() -> dict[str, str]:
    """Install each peer that is missing, one by one.

    Returns:
        the peers that could not be installed, and pip's last words.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    peers = [[peer] for peer in project["optional-dependencies"]["bench"]]
    failures = {}
    for peer in [*peers, LABML]:
        name = re.match(r"[\w-]+", peer[0])[0]
        if importlib.util.find_spec(name.replace("-", "_")):
            continue
        command = [sys.executable, "-m", "pip", "install", "-c", "constraints.txt", *peer]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            failures[name] = (done.stderr.strip().splitlines() or ["no message"])[-1]
    importlib.invalidate_caches()
    return failures


def everything() -> Iterator[Comparison]:
    """Measure all comparisons, one after the other."""
    for label, size in SIZES.items():
        yield training(size, label)
        yield forward(size, label)
        yield decoding(size, label, "greedy")
        yield decoding(size, label, "beam")
        yield alone.compare_memory(label)
    yield from machine_limit(SIZES["B"], "B")
    pairs = load_en_de("train")
    yield real_text("our corpus", pairs, make_vocabularies(pairs, None), SIZES["A"])
    if "TRANSFORMER_LIB_MULTI30K" in os.environ:
        pairs = load_multi30k("train", tokenised=True)
        yield real_text("Multi30k", pairs, make_vocabularies(pairs, 10_000), SIZES["A"])
    for length in (256, 1024, 4096):
        yield from alone.compare_attention(length)
    yield alone.imports()
    yield learning()


def page(comparisons: list[Comparison], failures: dict[str, str], before: str) -> str:
    """Write what is measured so far as a page in Markdown."""
    text = HEAD + report.machine()
    text += f"\n- matrix products at the start: {before}; at the end: {speeds()}"
    text += "\n\n![Ratios as bars](results.png)\n\n## All ratios\n\n"
    text += report.table(comparisons) + "\n" + NOTES
    text += "What each was given:\n\n" + report.peers() + "\n"
    text += "".join(f"- {peer} could not be installed: {why}\n" for peer, why in failures.items())
    kept = report.verdicts(comparisons, report.promises())
    return text + GOALS + kept + "\n"


def main() -> None:
    """Measure, print, and write the page anew after each comparison, so that none is lost."""
    torch.set_num_threads(1)
    keep_freed_memory()
    failures, before, folder = install_peers(), speeds(), Path(__file__).parent
    comparisons = []
    for found in everything():
        print(f"{found.what} done", file=sys.stderr, flush=True)
        comparisons.append(found)
        (folder / "RESULTS.md").write_text(page(comparisons, failures, before), encoding="utf-8")
        report.picture(comparisons, folder / "results.png")
    print(report.table(comparisons))


if __name__ == "__main__":
    main()
