"""From comparisons to a table, to promises kept or not, and to a picture."""

import contextlib
import datetime
import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.contestants import KINDS
from benchmarks.measure import Comparison, spread
from transformer_lib import arithmetic

SHOWN = ("training step", "forward", "greedy decoding", "beam search (4)")  # in the picture
PACKAGES = ("torch", "x-transformers", "labml-nn", "transformers")


@dataclass(frozen=True)
class Promise:
    """A bound that the course sets itself.

    Args:
        what: the comparison's name.
        unit: of the comparison.
        who: whose ratio is bound.
        to: the contestant that it is divided by; None bounds the value itself.
        most: the bound.
    """

    what: str
    unit: str
    who: str
    to: str | None
    most: float


def fast_precision() -> str:
    """Say what `precision="auto"` chooses on this machine."""
    with arithmetic("auto", torch.device("cpu")) as chosen:
        return chosen


def promises() -> list[Promise]:
    """List what the course promises."""
    auto, theirs, kept = fast_precision(), "nn.Transformer", []

    def promise(what: str, who: str, to: str | None, most: float, unit: str = "ms") -> None:
        kept.append(Promise(what, unit, who, to, most))

    for label, loop, marian in (("A", 0.11, 0.65), ("B", 0.07, 0.62)):
        step, greedy = f"training step, {label}", f"greedy decoding, {label}"
        promise(step, "ours, float32", f"{theirs}, float32", 0.97)
        promise(step, f"ours, {auto}", f"{theirs}, float32", 0.33)
        promise(step, f"ours, {auto}", f"{theirs}, {auto}", 0.65)
        promise(greedy, "ours, medium", f"{theirs}, float32", loop)
        promise(greedy, "ours, medium", "Marian, float32", marian)
        for precision in ("float32", "bfloat16"):
            memory = f"peak memory of training, {label}"
            promise(memory, f"ours, {precision}", f"{theirs}, {precision}", 1.0, "MB")
    for corpus in ("our corpus", "Multi30k"):
        text = f"training on {corpus}, per 1,000 real target tokens"
        ours = f"ours, our batches, {auto}"
        promise(text, ours, f"{theirs}, random batches, float32", 1 / 5)
        promise(text, ours, f"{theirs}, our batches, {auto}", 1 / 1.8)
    promise("import", "transformer_lib", "torch", 1.1)
    promise("causal attention, n = 4,096", "ours", None, 15, "MB")
    for precision, share in (("medium", 0.80), ("bfloat16", 0.65)):
        limit = f"matrix products alone, {precision}"
        promise(
            "training step against the machine's limit, B", f"ours, {precision}", limit, 1 / share
        )
    return kept


def table(comparisons: Sequence[Comparison]) -> str:
    """Write all ratios as one table in Markdown."""
    lines = ["| what | who | ratio | middle half | median |", "|---|---|--:|--:|--:|"]
    for found in comparisons:
        for who, values in found.values.items():
            ratio, low, high = found.ratio(who)
            value = f"{spread(values)[0]:,.0f} {found.unit}"
            lines.append(f"| {found.what} | {who} | {ratio:.2f} | {low:.2f}–{high:.2f} | {value} |")
        for who, why in found.failures.items():
            lines.append(f"| {found.what} | {who} | – | – | {why.replace('|', '/')} |")
    return "\n".join(lines)


def verdicts(comparisons: Sequence[Comparison], kept: Sequence[Promise]) -> str:
    """Write which promises hold, as a table in Markdown."""
    lines = [
        "| what | who | divided by | at most | measured | met |",
        "|---|---|---|--:|--:|---|",
    ]
    for promise in kept:
        measured, holds = "–", "not measured"
        both = {promise.who, promise.to or promise.who}
        found = [
            found
            for found in comparisons
            if (found.what, found.unit) == (promise.what, promise.unit)
            and both <= found.values.keys()
        ]
        if found:
            if promise.to is None:
                number = spread(found[0].values[promise.who])[0]
            else:
                number = found[0].ratio(promise.who, promise.to)[0]
            measured, holds = f"{number:.3g}", "yes" if number <= promise.most else "**no**"
        to = promise.to or f"– ({promise.unit})"
        line = (promise.what, promise.who, to, f"{promise.most:.3g}", measured, holds)
        lines.append(f"| {' | '.join(line)} |")
    return "\n".join(lines)


def machine() -> str:
    """Describe the machine, the versions and the day, as a list in Markdown."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        about = dict(map(str.strip, line.split(":")) for line in lines if line.count(":") == 1)
        if "model name" in about:  # which may be as vague as "AMD EPYC"
            name = f"{about['model name']} (family {about['cpu family']}, model {about['model']})"
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    lines = [
        f"- {datetime.date.today():%d %B %Y}",
        f"- {name}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores; "
        f"{torch.get_num_threads()} thread unless it says more; {platform.system()}",
        f'- {", ".join(versions)}; `precision="auto"` means {fast_precision()} here',
    ]
    return "\n".join(lines)


def peers() -> str:
    """Say what each contestant was given, as a list in Markdown."""
    return "\n".join(f"- **{kind.name}**: {kind.given}" for kind in KINDS)


def picture(comparisons: Sequence[Comparison], path: Path) -> None:
    """Draw the ratios of all comparisons of models as bars, and save them."""
    from matplotlib import pyplot as plt

    from transformer_lib import plots

    shown = [found for found in comparisons if found.what.split(",")[0] in SHOWN]
    rows = (len(shown) + 1) // 2
    with plt.rc_context(plots.STYLE):
        figure, axes = plt.subplots(rows, 2, figsize=(12, 3.2 * rows), squeeze=False)
    for ax, found in zip(axes.flat, shown, strict=False):
        values = [found.ratio(who)[0] for who in found.values]
        look = {"xlabel": "", "title": found.what, "form": "{:.2f}"}
        plots.bars(list(found.values), values, ax=ax, **look)
    for ax in axes.flat[len(shown) :]:
        ax.axis("off")
    figure.suptitle(f"Time as a ratio to {shown[0].reference}: shorter is faster")
    figure.savefig(path, dpi=80)
    plt.close(figure)
