"""How cost grows: measured curves, each beside its formula; writes GROWTH.md and growth.png.

python -m benchmarks.growth          about 10 minutes
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from benchmarks.alone import in_a_process, one_figure
from benchmarks.contestants import SIZES, Contestant, Ours, Size
from benchmarks.measure import in_turns
from benchmarks.report import machine
from benchmarks.side_by_side import TrainingStep, random_batch, speeds
from transformer_lib import keep_freed_memory, plots

HEAD = """\
# How cost grows

Written by `python -m benchmarks.growth`. Each curve is laid on its formula with one number, the
cost of a unit; *off* is how far the worst point lies from that, as a factor. The exponent is the
slope of the measured points on logarithmic axes, between the last two.

"""
TOGETHER = """\
A training step in float32 by the clock, on this machine's two cores. Two processes share each batch
and add up their gradients (`torchrun --nproc-per-node=2`).

"""


@dataclass(frozen=True)
class Curve:
    """What something cost at several sizes, and the formula that should describe it.

    Args:
        name: what was measured.
        x: the sizes.
        cost: what it cost at each, in `unit`.
        unit: "ms" or "MB".
        formula: the formula in words.
        units: its value at each size, up to a factor.
    """

    name: str
    x: Sequence[float]
    cost: Sequence[float]
    unit: str
    formula: str
    units: Sequence[float]

    @property
    def price(self) -> float:
        """The cost of a unit of the formula: the factor that fits best, on a logarithmic scale."""
        logs = [math.log(c / u) for c, u in zip(self.cost, self.units, strict=True)]
        return math.exp(statistics.fmean(logs))

    @property
    def fit(self) -> list[float]:
        """The cost that the formula expects at each size."""
        return [self.price * units for units in self.units]

    @property
    def off(self) -> float:
        """The factor between the formula and the point that lies farthest from it."""
        ratios = [c / f for c, f in zip(self.cost, self.fit, strict=True)]
        return max(max(ratios), 1 / min(ratios))

    @property
    def exponent(self) -> float:
        """The power of x with which the cost grows between the last two sizes."""
        return math.log(self.cost[-1] / self.cost[-2]) / math.log(self.x[-1] / self.x[-2])


def attention(lengths: Sequence[int]) -> list[Curve]:
    """Measure time and memory of a causal attention against its length, in processes of its own."""
    curves, squares = [], [n * n for n in lengths]
    for who in ("naive", "ours"):
        found = [in_a_process("attention", who, n) for n in lengths]
        for unit in ("ms", "MB"):
            cost = [max(figures[unit], 0.01) for figures in found]
            curves.append(Curve(f"attention, {who}", lengths, cost, unit, "n²", squares))
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
        parameters.append(sum(p.numel() for layer in layers for p in layer.parameters()))
        step = TrainingStep(model, "float32")
        cost[f"{width}"] = lambda step=step: step(*batch)
    found = in_turns("training", cost)
    medians = [statistics.median(values) for values in found.values.values()]
    return [Curve("training step", parameters, medians, "ms", "parameters", parameters)]


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
        curves.append(Curve(name, lengths, medians, "ms", formula, units))
    return curves


def triangles(lengths: Sequence[int]) -> list[float]:
    """Count the tokens that n steps read which begin afresh each time."""
    return [n * (n + 1) / 2 for n in lengths]


def together(label: str) -> list[str]:
    """Measure what a second thread, or a second process, gains: lines of a table in Markdown.

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
    lines = []
    for way in found.values:
        ratio, low, high = found.ratio("1 thread", way)  # how many times faster
        share = ratio / math.prod(ways[way])
        lines.append(f"| {label} | {way} | {ratio:.2f} | {low:.2f}–{high:.2f} | {share:.0%} |")
    lines += [f"| {label} | {way} | – | {why} | – |" for way, why in found.failures.items()]
    return lines


def table(curves: Sequence[Curve]) -> str:
    """Write the curves beside their formulas as a table in Markdown."""
    lines = ["| what | measured | formula | off | exponent |", "|---|---|---|--:|--:|"]
    for curve in curves:
        pairs = zip(curve.x, curve.cost, strict=True)
        points = ", ".join(f"{x:,.0f}: {cost:,.1f}" for x, cost in pairs)
        name = f"{curve.name}, {curve.unit}"
        lines.append(
            f"| {name} | {points} | {curve.formula} | {curve.off:.1f} | {curve.exponent:.2f} |"
        )
    return "\n".join(lines)


def picture(groups: dict[str, list[Curve]], path: Path) -> None:
    """Draw one panel per group, the formula pale behind each measured curve, and save them."""
    panels = plots.panels(len(groups), width=3.9, height=4.2)
    for ax, (xlabel, curves) in zip(panels, groups.items(), strict=True):
        lines = {curve.name: curve.cost for curve in curves}
        bands = {f"{curve.name} ∝ {curve.formula}": curve.fit for curve in curves}
        unit = curves[0].unit
        look = {"bands": bands, "log": "xy", "xlabel": xlabel, "ylabel": unit}
        plots.curves(curves[0].x, lines, ax=ax, **look)
    panels[0].figure.savefig(path, dpi=90)


def main() -> None:
    """Measure, print and write."""
    torch.set_num_threads(1)
    keep_freed_memory()
    before = speeds()
    attentions = attention((256, 512, 1024, 2048, 4096))
    groups = {
        "length n of an attention": [curve for curve in attentions if curve.unit == "ms"],
        "length n of an attention ": [curve for curve in attentions if curve.unit == "MB"],
        "parameters": training((64, 128, 256, 512), Size(0, 2, 16, 32, vocabulary=1000)),
        "tokens decoded": decoding((8, 16, 32, 64, 128), replace(SIZES["A"], batch=8)),
    }
    grown = table([curve for curves in groups.values() for curve in curves])
    lines = ["| size | how | times faster | middle half | of what is possible |"]
    lines += ["|---|---|--:|--:|--:|", *together("A"), *together("B")]
    print(grown, *lines, sep="\n")
    page = HEAD + machine() + f"\n- matrix products at the start: {before}; at the end: {speeds()}"
    page += "\n\n![Measured curves and formulas](growth.png)\n\n" + grown
    page += "\n\n## Two threads, two processes\n\n" + TOGETHER + "\n".join(lines) + "\n"
    folder = Path(__file__).parent
    (folder / "GROWTH.md").write_text(page, encoding="utf-8")
    picture(groups, folder / "growth.png")


if __name__ == "__main__":
    main()
