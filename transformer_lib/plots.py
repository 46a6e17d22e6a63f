"""Every picture of the course, in one style: arrays and words in, matplotlib out.

    from transformer_lib import plots
    plots.heatmap([[0.9, 0.1], [0.2, 0.8]], ["the", "cat"], ["die", "Katze"])

Each function draws into `ax`, or into a new figure when `ax` is None, and returns what it drew
into, so that anything can be added. The style is applied inside the functions alone.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

__all__ = ["COLOURS", "architecture", "bars", "curves", "heatmap", "heatmaps", "panels", "points"]

# Okabe and Ito's palette, told apart by colour-blind readers; black last.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]

STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "white",  # so that words stay readable in a dark theme
    "savefig.facecolor": "white",
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": "#DDDDDD",
    "lines.linewidth": 2,
    "lines.markersize": 5,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}

# What a heat map shows decides its colours and its range.
KINDS = {
    "weights": {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0},  # attention: always 0 to 1
    "amount": {"cmap": "Blues", "vmin": 0.0},  # anything that is never negative
    "signed": {"cmap": "RdBu_r"},  # zero is white
    "mask": {"cmap": "Blues", "vmin": 0.0, "vmax": 2.0},  # True = may attend
}


def _styled(function: Callable) -> Callable:
    """Run a plot function in the course's style, and leave the reader's own style alone."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with plt.rc_context(STYLE):
            return function(*args, **kwargs)

    return wrapper


def _array(values: ArrayLike) -> np.ndarray:
    """Turn a list, array or tensor (of any dtype, with or without gradient) into an array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values if values.dtype.is_floating_point is False else values.float()
    return np.asarray(values)


@_styled
def panels(count: int, *, width: float = 3.6, height: float = 2.9) -> list[Axes]:
    """Open a figure of several empty panels side by side, to be given to other functions as `ax`.

    Args:
        count: how many panels.
        width, height: the size of one, in inches; a page is about 11 wide.
    """
    _, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False)
    return list(axes[0])


@_styled
def heatmap(
    values: ArrayLike,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    kind: str = "weights",
    title: str = "",
    xlabel: str = "key",
    ylabel: str = "query",
    digits: int | None = 2,
    limit: float | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a matrix as coloured cells, with words on the axes.

    Args:
        values: (rows, columns); bool values are drawn as a mask.
        rows, columns: a word per row and column; their numbers when None.
        kind: "weights" (0 to 1), "amount" (never negative), "signed" (zero is white) or "mask".
        title, xlabel, ylabel: the words around it.
        digits: decimals printed in each cell; None prints none, as in large maps.
        limit: the value of the darkest colour; that of the largest value when None.
        colorbar: whether to draw the scale.
        ax: where to draw; a new figure when None.

    Raises:
        ValueError: values are not a matrix, or its sizes are not those of the words.
    """
    values = _array(values)
    if values.ndim != 2:
        raise ValueError(f"a heat map needs a matrix, got shape {values.shape}")
    for name, words, size in (
        ("rows", rows, values.shape[0]),
        ("columns", columns, values.shape[1]),
    ):
        if words is not None and len(words) != size:
            raise ValueError(f"{len(words)} words for {size} {name}")
    if values.dtype == bool:
        kind = "mask"
    colours = dict(KINDS[kind])
    if kind != "weights" and kind != "mask":
        largest = np.abs(values[np.isfinite(values)]).max(initial=0) if limit is None else limit
        colours["vmax"] = largest or 1.0
        if kind == "signed":
            colours["vmin"] = -colours["vmax"]
    if kind == "mask":
        annotation, form = np.where(values, "✓", "·"), ""
    else:
        annotation, form = False, ""
        if digits is not None:  # rounding first, plus zero, prints 0.00 where it would be -0.00
            annotation, form = np.round(values.astype(float), digits) + 0.0, f".{digits}f"

    if ax is None:
        words_wide = 0.1 * max(map(len, rows or [""]))
        width = 1.4 + words_wide + 0.62 * values.shape[1] if digits is not None else 5.2
        height = max(2.2, 1.1 + 0.46 * values.shape[0]) if digits is not None else 4.2
        _, ax = plt.subplots(figsize=(min(width, 9), min(height, 8)))
    sns.heatmap(
        values.astype(float),
        ax=ax,
        annot=annotation,
        fmt=form,
        annot_kws={"size": 10},
        cbar=colorbar and kind != "mask",
        linewidths=0.5 if max(values.shape) <= 24 else 0,
        linecolor="white",
        xticklabels="auto" if columns is None else columns,
        yticklabels="auto" if rows is None else rows,
        **colours,
    )
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    turn = columns is not None and (max(map(len, columns)) > 6 or len(columns) > 10)
    ax.tick_params(axis="x", rotation=45 if turn else 0, length=0)
    ax.tick_params(axis="y", rotation=0, length=0)
    return ax


@_styled
def heatmaps(
    maps: Sequence[ArrayLike],
    titles: Sequence[str],
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    per_row: int = 4,
    suptitle: str = "",
    **options,
) -> Figure:
    """Draw several matrices of the same shape side by side, on one colour scale.

    Args:
        maps: the matrices, for instance one per head.
        titles: a title for each.
        rows, columns: words, as in `heatmap`.
        per_row: how many stand side by side.
        suptitle: a title over all of them.
        options: further arguments of `heatmap`.

    Raises:
        ValueError: there are not as many titles as maps.
    """
    maps = [_array(values) for values in maps]
    if len(maps) != len(titles):
        raise ValueError(f"{len(titles)} titles for {len(maps)} maps")
    if options.get("kind", "weights") in ("amount", "signed") and options.get("limit") is None:
        options["limit"] = max(np.abs(values[np.isfinite(values)]).max() for values in maps)
    per_row = min(per_row, len(maps))
    lines = -(-len(maps) // per_row)
    height, width = maps[0].shape
    cell = 0.52 if options.get("digits", 2) is not None else 0.25
    size = (1.3 + max(1.6, cell * width), 1.1 + max(1.4, 0.8 * cell * height))
    figure, axes = plt.subplots(
        lines, per_row, figsize=(size[0] * per_row, size[1] * lines), squeeze=False
    )
    for i, ax in enumerate(axes.flat):
        if i >= len(maps):
            ax.axis("off")
            continue
        heatmap(maps[i], rows, columns, title=titles[i], colorbar=False, ax=ax, **options)
        if i % per_row:
            ax.set(ylabel="")
        if i + per_row < len(maps):
            ax.set(xlabel="")
    if maps[0].dtype != bool and options.get("kind") != "mask":
        figure.colorbar(axes[0, 0].collections[0], ax=axes, shrink=0.8, pad=0.02)
    figure.suptitle(suptitle)
    return figure


@_styled
def curves(
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    log: str = "",
    markers: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one or more lines over the same x.

    Args:
        x: (n,) positions.
        lines: name → (n,) values; a name that starts with "formula" becomes a pale band.
        xlabel, ylabel, title: the words around it.
        log: the axes with a logarithmic scale: "", "x", "y" or "xy".
        markers: whether to mark each value.
        ax: where to draw; a new figure when None.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.6))
    colours = iter(COLOURS)
    for name, values in lines.items():
        if name.startswith("formula"):  # a broad pale band, on which measured values should lie
            look = {"color": "#CCCCCC", "linewidth": 7, "zorder": 1, "solid_capstyle": "round"}
        else:
            look = {"color": next(colours), "marker": "o" if markers else None}
        ax.plot(_array(x), _array(values), label=name, **look)
    if "x" in log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
    if "y" in log:
        ax.set_yscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(True, axis="y")
    if len(lines) > 1:
        ax.legend()
    return ax


@_styled
def bars(
    labels: Sequence[str],
    values: ArrayLike,
    *,
    xlabel: str,
    title: str = "",
    form: str = "{:g}",
    ax: Axes | None = None,
) -> Axes:
    """Draw a horizontal bar per label, its number beside it.

    Args:
        labels: a word per bar, from top to bottom.
        values: (n,) their lengths.
        xlabel, title: the words around it.
        form: how a number is printed.
        ax: where to draw; a new figure when None.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.9 + 0.4 * len(labels)))
    values = _array(values)
    drawn = ax.barh(list(labels), values, color=COLOURS[0])
    ax.bar_label(drawn, [form.format(value) for value in values], padding=4)
    ax.invert_yaxis()
    ax.margins(x=0.18)
    ax.tick_params(axis="y", length=0)
    ax.set(xlabel=xlabel, title=title)
    return ax


@_styled
def points(
    xy: ArrayLike,
    labels: Sequence[str],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    colour: str = COLOURS[0],
    ax: Axes | None = None,
) -> Axes:
    """Draw vectors of two numbers as points in the plane, each with its word.

    Args:
        xy: (n, 2) the points.
        labels: a word per point.
        xlabel, ylabel, title: the words around it.
        colour: the colour of points and words.
        ax: where to draw; a new figure when None.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4))
    xy = _array(xy)
    ax.scatter(xy[:, 0], xy[:, 1], color=colour, s=45, zorder=3)
    for (x, y), label in zip(xy, labels, strict=True):
        ax.annotate(label, (x, y), (7, 5), textcoords="offset points", color=colour)
    ax.margins(0.2)
    ax.grid(True)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return ax


# The boxes of the architecture drawing: name → (x, y, width, height, words). The same name may
# be drawn in several places. Three panels: the model, one attention, one head.
_BOXES = [
    ("embedding", 0.0, 0.6, 2.6, 0.6, "embedding"),
    ("embedding", 3.4, 0.6, 2.6, 0.6, "embedding"),
    ("positional_encoding", 0.0, 1.45, 2.6, 0.6, "+ positions"),
    ("positional_encoding", 3.4, 1.45, 2.6, 0.6, "+ positions"),
    ("multi_head", 0.0, 2.75, 2.6, 0.75, "self-attention"),
    ("residual", 0.0, 3.55, 2.6, 0.42, "add & norm"),
    ("feed_forward", 0.0, 4.3, 2.6, 0.75, "feed-forward"),
    ("residual", 0.0, 5.1, 2.6, 0.42, "add & norm"),
    ("multi_head", 3.4, 2.75, 2.6, 0.75, "masked self-attention"),
    ("residual", 3.4, 3.55, 2.6, 0.42, "add & norm"),
    ("multi_head", 3.4, 4.3, 2.6, 0.75, "cross-attention"),
    ("residual", 3.4, 5.1, 2.6, 0.42, "add & norm"),
    ("feed_forward", 3.4, 5.85, 2.6, 0.75, "feed-forward"),
    ("residual", 3.4, 6.65, 2.6, 0.42, "add & norm"),
    ("output", 3.4, 7.85, 2.6, 0.6, "linear + softmax"),
    # inside one attention
    ("multi_head", 7.3, 1.9, 0.75, 0.6, "$W^Q$"),
    ("multi_head", 8.2, 1.9, 0.75, 0.6, "$W^K$"),
    ("multi_head", 9.1, 1.9, 0.75, 0.6, "$W^V$"),
    ("attention", 7.3, 3.1, 2.55, 1.2, "scaled dot-product\nattention"),
    ("multi_head", 7.3, 4.9, 2.55, 0.6, "put heads side by side"),
    ("multi_head", 7.3, 5.8, 2.55, 0.6, "$W^O$"),
    # inside one head
    ("attention", 11.1, 1.9, 1.6, 0.6, "Q Kᵀ"),
    ("attention", 11.1, 2.75, 1.6, 0.6, "÷ √d_k"),
    ("masks", 11.1, 3.6, 1.6, 0.6, "mask"),
    ("attention", 11.1, 4.45, 1.6, 0.6, "softmax"),
    ("attention", 11.1, 5.3, 1.6, 0.6, "× V"),
]
_FRAMES = {
    "encoder": (-0.2, 2.5, 3.0, 3.2, "encoder × N"),
    "decoder": (3.2, 2.5, 3.0, 4.75, "decoder × N"),
}
_ARROWS = [
    ((1.3, 0.15), (1.3, 0.6)),
    ((4.7, 0.15), (4.7, 0.6)),
    ((1.3, 1.2), (1.3, 1.45)),
    ((4.7, 1.2), (4.7, 1.45)),
    ((1.3, 2.05), (1.3, 2.75)),
    ((4.7, 2.05), (4.7, 2.75)),
    ((1.3, 3.97), (1.3, 4.3)),
    ((4.7, 3.97), (4.7, 4.3)),
    ((4.7, 5.52), (4.7, 5.85)),
    ((4.7, 7.07), (4.7, 7.85)),
    ((4.7, 8.45), (4.7, 8.8)),
    ((7.67, 1.4), (7.67, 1.9)),
    ((8.57, 1.4), (8.57, 1.9)),
    ((9.47, 1.4), (9.47, 1.9)),
    ((7.67, 2.5), (7.67, 3.1)),
    ((8.57, 2.5), (8.57, 3.1)),
    ((9.47, 2.5), (9.47, 3.1)),
    ((8.57, 4.3), (8.57, 4.9)),
    ((8.57, 5.5), (8.57, 5.8)),
    ((8.57, 6.4), (8.57, 6.85)),
    ((11.9, 1.4), (11.9, 1.9)),
    ((11.9, 2.5), (11.9, 2.75)),
    ((11.9, 3.35), (11.9, 3.6)),
    ((11.9, 4.2), (11.9, 4.45)),
    ((11.9, 5.05), (11.9, 5.3)),
    ((11.9, 5.9), (11.9, 6.35)),
]
_LIT, _PLAIN, _EDGE = "#E69F00", "#F2F2F2", "#666666"


@_styled
def architecture(*lit: str) -> Axes:
    """Draw the Transformer with some of its parts lit: "you are here".

    Args:
        lit: any of "attention", "masks", "multi_head", "embedding", "positional_encoding",
            "feed_forward", "residual", "encoder", "decoder", "output".

    Raises:
        ValueError: there is no part of that name.
    """
    names = {name for name, *_ in _BOXES} | set(_FRAMES)
    if unknown := set(lit) - names:
        raise ValueError(f"no part named {sorted(unknown)}; there are {sorted(names)}")
    _, ax = plt.subplots(figsize=(9.2, 6))
    ax.set(xlim=(-0.4, 13.2), ylim=(-0.3, 9.2))
    ax.set_aspect("equal")
    ax.axis("off")

    def box(x, y, width, height, colour, edge=_EDGE, style="round,pad=0,rounding_size=0.12"):
        shape = patches.FancyBboxPatch(
            (x, y), width, height, boxstyle=style, facecolor=colour, edgecolor=edge, linewidth=1
        )
        ax.add_patch(shape)

    for name, (x, y, width, height, words) in _FRAMES.items():
        box(x, y, width, height, "#FBE3B0" if name in lit else "#FAFAFA")
        side, where = ("left", x) if name == "encoder" else ("right", x + width)
        ax.text(where, y + height + 0.1, words, ha=side, fontsize=9, color="#333333")
    for x, words in ((7.05, "inside one attention"), (10.8, "inside one head")):
        ax.text(x, 7.3, words, fontsize=10, color="#333333", weight="bold")
    box(7.05, 1.05, 3.05, 6.1, "none", "#AAAAAA")
    box(10.8, 1.05, 2.2, 6.1, "none", "#AAAAAA")
    for start, end in _ARROWS:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": _EDGE})
    # The encoder's output goes into every cross-attention; dotted lines zoom in.
    ax.plot([1.3, 1.3, 3.0, 3.0], [5.52, 6.2, 6.2, 4.67], color=_EDGE, linewidth=1.2)
    ax.annotate("", (3.4, 4.67), (2.95, 4.67), arrowprops={"arrowstyle": "-|>", "color": _EDGE})
    ax.text(1.4, 6.28, "memory", fontsize=9, color="#333333")
    for xs, ys in (([6.0, 7.05], [5.05, 7.15]), ([6.0, 7.05], [4.3, 1.05])):
        ax.plot(xs, ys, ":", color="#AAAAAA", linewidth=1)
    for xs, ys in (([9.85, 10.8], [4.3, 7.15]), ([9.85, 10.8], [3.1, 1.05])):
        ax.plot(xs, ys, ":", color="#AAAAAA", linewidth=1)
    for name, x, y, width, height, words in _BOXES:
        box(x, y, width, height, _LIT if name in lit else _PLAIN)
        ax.text(x + width / 2, y + height / 2, words, ha="center", va="center", fontsize=9)
    for x, y, words in (
        (1.3, -0.2, "source tokens"),
        (4.7, -0.2, "target tokens so far"),
        (4.7, 8.85, "next token"),
        (7.67, 1.12, "query"),
        (8.57, 1.12, "key"),
        (9.47, 1.12, "value"),
        (11.9, 1.12, "q, k, v"),
    ):
        ax.text(x, y, words, ha="center", fontsize=9, color="#333333")
    return ax
