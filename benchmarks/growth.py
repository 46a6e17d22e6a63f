"""How cost grows: measured curves, each beside its formula.

python -m benchmarks.growth          about 10 minutes

writes GROWTH.md and growth.png for readers of this folder, and data/growth.json for notebook 08.
"""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.alone import ROOT, in_a_process, one_figure
from benchmarks.contestants import SIZES, Contestant, Ours, Size
from benchmarks.measure import in_turns
from benchmarks.report import machine
from benchmarks.side_by_side import TrainingStep, random_batch, speeds
from transformer_lib import MultiHeadAttention, keep_freed_memory, plots

HEAD = f"""\
# How cost grows

Written by `python -m benchmarks.growth`; `data/growth.json` holds the same figures. Each curve is
laid on its formula with one number, the cost of a unit; *off* is how far the worst point lies from
that, as a factor. The exponent is the slope of the measured points on logarithmic axes, between the
last two.

Where a formula does not fit: small sizes lie above it, as each call costs something in itself.
Below {MultiHeadAttention.fused_length} tokens our attention stores all its weights, as the naive
one does; its formula for memory is laid on the points from there on.

"""
COMMAND = "python -m benchmarks.growth"
TOGETHER = """\
A training step in float32 by the clock, on this machine's two cores, at sizes A (d_model 256) and
B (512) of [RESULTS.md](RESULTS.md). Two processes share each batch and add up their gradients
(`torchrun --nproc-per-node=2`).

"""


@dataclass(frozen=True)
class Curve:
    """What something cost at several sizes, and the formula that should describe it.

    Args:
        name: what was measured.
        xlabel: what is counted as its size.
        x: the sizes.
        cost: what it cost at each, in `unit`.
        unit: "ms" or "MB".
        formula: the formula in words.
        units: its value at each size, up to a factor; None where it is not meant to hold.
    """

    name: str
    xlabel: str
    x: Sequence[float]
    cost: Sequence[float]
    unit: str
    formula: str
    units: Sequence[float | None]

    @property
    def prices(self) -> list[float]:
        """The cost of a unit of the formula at each size where it is meant to hold."""
        pairs = zip(self.cost, self.units, strict=True)
        return [cost / units for cost, units in pairs if units is not None]

    @property
    def price(self) -> float:
        """The price that fits all sizes best, on a logarithmic scale."""
        return statistics.geometric_mean(self.prices)

    @property
    def fit(self) -> list[float]:
        """The cost that the formula expects at each size, NaN where it expects nothing."""
        return [math.nan if units is None else self.price * units for units in self.units]

    @property
    def off(self) -> float:
        """The factor between the formula and the point that lies farthest from it."""
        return max(max(self.prices) / self.price, self.price / min(self.prices))

    @property
    def exponent(self) -> float:
        """The power of x with which the cost grows between the last two sizes."""
        return math.log(self.cost[-1] / self.cost[-2]) / math.log(self.x[-1] / self.x[-2])


def attention(lengths: Sequence[int]) -> list[Curve]:
    """Measure time and memory of a causal attention against its length, in processes of its own.

    Both compute n² scores. The naive one stores them; ours does so below `fused_length` only, and
    from there on holds a slice of the queries at a time, each with n scores.
    """
    squares, from_n = [n * n for n in lengths], MultiHeadAttention.fused_length
    sliced = [n if n >= from_n else None for n in lengths]
    curves = []
    for who, formula, memory in (("naive", "n²", squares), ("ours", f"n from {from_n} on", sliced)):
        found = [in_a_process("attention", who, n) for n in lengths]
        ms, mb = ([max(figures[unit], 0.01) for figures in found] for unit in ("ms", "MB"))
        about = f"attention, {who}", "tokens n", lengths
        curves += [Curve(*about, ms, "ms", "n²", squares), Curve(*about, mb, "MB", formula, memory)]
    return curves


def training(widths: Sequence[int], size: Size) -> list[Curve]:
    """Measure a training step against the number of parameters, embeddings left out.

    Each parameter of a layer is used in one multiplication and one addition per token, and twice
    as many in the backward pass: 6 · parameters · tokens.
    """
    parameters, cost = [], {}
    batch = random_batch(size)
    for width in widths:
        model = Ours(Size(width, size.layers, size.batch, size.length, 4, size.vocabulary))
        layers = (model.model.encoder, model.model.decoder, model.model.output)
        parameters.append(sum(p.numel() for layer in layers for p in layer.parameters()) / 1e6)
        step = TrainingStep(model, "float32")
        cost[f"{width}"] = lambda step=step: step(*batch)
    found = in_turns("training", cost)
    medians = [statistics.median(values) for values in found.values.values()]
    about = "training step", "million parameters", parameters
    return [Curve(*about, medians, "ms", "parameters", parameters)]


def decoding(lengths: Sequence[int], size: Size) -> list[Curve]:
    """Measure greedy decoding against its length, with our cache and without one.

    With the cache each step reads one token; without it, all tokens so far.
    """
    model, (src, _) = Ours(size).eval(), random_batch(size)
    curves = []
    for name, greedy, formula, units in (
        ("decoding, with cache", model.greedy, "n", lengths),
        (
            "decoding, no cache",
            partial(Contestant.greedy, model),
            "n (n + 1) / 2",
            triangles(lengths),
        ),
    ):
        runs = {f"{n}": lambda n=n, greedy=greedy: greedy(src, n) for n in lengths}
        with torch.inference_mode():
            found = in_turns(name, runs)
        medians = [statistics.median(values) for values in found.values.values()]
        curves.append(Curve(name, "tokens n", lengths, medians, "ms", formula, units))
    return curves


def triangles(lengths: Sequence[int]) -> list[float]:
    """Count the tokens that n steps read which begin afresh each time."""
    return [n * (n + 1) / 2 for n in lengths]


def together(label: str) -> list[dict]:
    """Measure what a second thread, or a second process, gains: a row for each way.

    These are times by the clock, so they need a quiet machine.
    """
    ways = {"1 thread": (1, 1), "2 threads": (2, 1), "2 processes": (1, 2)}
    runs = {
        way: lambda threads=threads, processes=processes: in_a_process(
            "steps", label, threads, processes=processes
        )
        for way, (threads, processes) in ways.items()
    }
    found = one_figure(in_turns(f"training step, {label}", runs, measure=lambda run: run()), "ms")
    rows = []
    for way in found.values:
        faster, *middle_half = (round(ratio, 3) for ratio in found.ratio("1 thread", way))
        share = round(faster / math.prod(ways[way]), 3)  # of what is possible
        figures = {"times_faster": faster, "middle_half": middle_half, "share": share}
        rows.append({"size": label, "how": way} | figures)
    return rows + [
        {"size": label, "how": way, "failed": why} for way, why in found.failures.items()
    ]


def together_table(rows: Sequence[dict]) -> str:
    """Write what a second thread or process gains as a table in Markdown."""
    lines = ["| size | how | times faster | middle half | of what is possible |"]
    lines.append("|---|---|--:|--:|--:|")
    for row in rows:
        line = f"| {row['size']} | {row['how']} | "
        if "failed" in row:
            lines.append(line + f"– | {row['failed']} | – |")
        else:
            low, high = row["middle_half"]
            half = f"{low:.2f}–{high:.2f}"
            lines.append(line + f"{row['times_faster']:.2f} | {half} | {row['share']:.0%} |")
    return "\n".join(lines)


def table(curves: Sequence[Curve]) -> str:
    """Write the curves beside their formulas as a table in Markdown."""
    lines = ["| what | measured | formula | off | exponent |", "|---|---|---|--:|--:|"]
    for curve in curves:
        pairs = zip(curve.x, curve.cost, strict=True)
        points = ", ".join(f"{x:,.4g}: {cost:,.1f}" for x, cost in pairs)
        name = f"{curve.name}, {curve.unit}, by {curve.xlabel}"
        lines.append(
            f"| {name} | {points} | {curve.formula} | {curve.off:.1f} | {curve.exponent:.2f} |"
        )
    return "\n".join(lines)


def picture(curves: Sequence[Curve], path: Path) -> None:
    """Draw what has the same axes into one panel, each formula pale behind its measured curve."""
    groups = {}
    for curve in curves:
        kind, label = curve.name.split(", ")[0], curve.name.split(", ")[-1]
        groups.setdefault((kind, curve.xlabel, curve.unit), {})[label] = curve
    panels = plots.panels(len(groups), width=3.9, height=4.2)
    for ax, ((kind, xlabel, unit), some) in zip(panels, groups.items(), strict=True):
        lines = {label: curve.cost for label, curve in some.items()}
        bands = {f"{label} ∝ {curve.formula}": curve.fit for label, curve in some.items()}
        look = {"bands": bands, "log": "xy", "xlabel": xlabel, "ylabel": unit, "title": kind}
        plots.curves(next(iter(some.values())).x, lines, ax=ax, **look)
    panels[0].figure.savefig(path, dpi=90)


def save(curves: Sequence[Curve], rows: Sequence[dict], path: Path) -> None:
    """Write everything that was measured as JSON, and first of all where and when."""
    day, processor, versions = (line.removeprefix("- ") for line in machine().splitlines())
    about = {"command": COMMAND, "date": day, "machine": processor, "versions": versions}
    sizes = {label: asdict(size) for label, size in SIZES.items()}
    content = {"about": about, "curves": [asdict(curve) for curve in curves]}
    content |= {"sizes": sizes, "together": rows}
    for curve in content["curves"]:
        curve["cost"] = [round(cost, 3) for cost in curve["cost"]]
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")


def main() -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    keep_freed_memory()
    before = speeds()
    curves = attention((256, 512, 1024, 2048, 4096))
    curves += training((64, 128, 256, 512), Size(0, 2, 16, 32, vocabulary=1000))
    curves += decoding((8, 16, 32, 64, 128), replace(SIZES["A"], batch=8))
    rows = [row for label in SIZES for row in together(label)]
    grown, gained = table(curves), together_table(rows)
    print(grown, gained, sep="\n\n")
    page = HEAD + machine() + f"\n- matrix products at the start: {before}; at the end: {speeds()}"
    page += "\n\n![Measured curves and formulas](growth.png)\n\n" + grown
    page += "\n\n## Two threads, two processes\n\n" + TOGETHER + gained + "\n"
    folder = Path(__file__).parent
    (folder / "GROWTH.md").write_text(page, encoding="utf-8")
    picture(curves, folder / "growth.png")
    save(curves, rows, ROOT / "data" / "growth.json")


if __name__ == "__main__":
    main()
