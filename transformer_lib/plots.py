"""Every picture of the course, in one style: arrays and words in, matplotlib out.

    from transformer_lib import plots
    plots.heatmap([[0.9, 0.1], [0.2, 0.8]], ["the", "cat"], ["die", "Katze"])

Maps: `heatmap` (one matrix, words on both axes), `heatmaps` (one per head), `overview` (all layers
and heads, small), `lines` (two columns of words). Numbers: `curves`, `bars`, `points`. The model:
`shapes` (what a forward pass makes of its tensors), `architecture` ("you are here"). `panels`
opens several empty pictures side by side.

Each function draws into `ax`, or into a new figure when `ax` is None, and returns what it drew
into, so that anything can be added. Numbers may be lists, arrays or tensors, of any dtype, with
gradient or without. The style is applied inside the functions alone; the ground is white in light
and in dark themes.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import ArrayLike

__all__ = [
    "COLOURS",
    "architecture",
    "bars",
    "curves",
    "heatmap",
    "heatmaps",
    "lines",
    "overview",
    "panels",
    "points",
    "shapes",
]

# Okabe and Ito's palette, told apart by colour-blind readers; black last.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
# Blue and vermilion differ in grey, too; from the third line on, patterns tell them apart.
DASHES = ["-", "-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3))]
BAND = {"color": "#CCCCCC", "linewidth": 7, "zorder": 1, "solid_capstyle": "round"}

STYLE = {
    "figure.dpi": 110,
    "figure.facecolor": "white",  # so that words stay readable in a dark theme
    "savefig.facecolor": "white",
    "axes.facecolor": "white",
    "text.color": "black",
    "axes.edgecolor": "black",
    "axes.labelcolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
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
PAGE = 12  # inches: no picture is wider
SMALLEST = 5  # points: no word is smaller

# What a heat map shows decides its colours and its range.
KINDS = {
    "weights": {"cmap": "Blues", "vmin": 0.0, "vmax": 1.0},  # attention: always 0 to 1
    "amount": {"cmap": "Blues", "vmin": 0.0},  # anything that is never negative
    "signed": {"cmap": "RdBu_r"},  # zero is white
    "mask": {"cmap": "Blues", "vmin": 0.0, "vmax": 2.0},  # True = may attend
}


# ---------------------------------------------------------------- what all pictures share


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
        values = values.double() if values.is_floating_point() else values
    elif isinstance(values, list | tuple):
        values = [_array(value) for value in values]
    return np.asarray(values)


@functools.cache
def _glyphs(path: str) -> set[int]:
    """List the characters that a font file can draw."""
    return set(get_font(path).get_charmap())


def _words(words: Sequence[str], longest: int = 32) -> list[str]:
    """Make words fit to be drawn: □ for what the fonts lack, … where they are cut."""
    fonts = [FontProperties(family=[family]) for family in plt.rcParams["font.family"]]
    known = set().union(*(_glyphs(findfont(font)) for font in fonts))
    words = ["".join(c if ord(c) in known else "□" for c in str(word)) for word in words]
    return [word if len(word) <= longest else word[: longest - 1] + "…" for word in words]


def _matrix(
    values: ArrayLike, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> np.ndarray:
    """Turn values into a matrix that has as many rows and columns as there are words."""
    values = _array(values)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"a map needs a matrix, got shape {values.shape}")
    for name, words, size in zip(("rows", "columns"), (rows, columns), values.shape, strict=True):
        if words is not None and len(words) != size:
            raise ValueError(f"{len(words)} words for {size} {name}")
    return values


def _largest(values: np.ndarray) -> float:
    """Return the largest size among the finite numbers, 1 if all are zero."""
    return np.abs(values[np.isfinite(values)]).max(initial=0) or 1.0


@_styled
def panels(count: int, *, width: float = 3.6, height: float = 2.9) -> list[Axes]:
    """Open a figure of several empty panels side by side, to be given to other functions as `ax`.

    Args:
        count: how many panels.
        width, height: the size of one, in inches; a page is about 11 wide.

    Example:
        >>> left, right = panels(2)
        >>> ax = heatmap([[1.0, 0.0], [0.5, 0.5]], ax=left)
    """
    _, axes = plt.subplots(1, count, figsize=(width * count, height), squeeze=False)
    return list(axes[0])


# ---------------------------------------------------------------- maps


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
    digits: int | str | None = "auto",
    cells: ArrayLike | None = None,
    limit: float | None = None,
    colorbar: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw a matrix as coloured cells, with words on the axes.

    Long sentences get smaller, upright words and no numbers. Without words, a large matrix such as
    a positional encoding gets numbered axes.

    Args:
        values: (rows, columns); bool values are drawn as a mask.
        rows, columns: a word per row and column; their numbers, from 0, when None.
        kind: "weights" (0 to 1), "amount" (never negative), "signed" (zero is white) or "mask".
        title, xlabel, ylabel: the words around it.
        digits: decimals printed in each cell; None prints none; "auto" prints two, and none where
            there are more than 14 rows or columns.
        cells: (rows, columns) texts to print in the cells instead.
        limit: the value of the darkest colour; that of the largest value when None.
        colorbar: whether to draw the scale.
        ax: where to draw; a new figure when None.

    Raises:
        ValueError: values are not a matrix, or its sizes are not those of the words or the cells;
            there is no such kind.

    Example:
        >>> ax = heatmap([[0.9, 0.1], [0.2, 0.8]], ["die", "Katze"], ["the", "cat"])
        >>> layers, heads = ["layer 1", "layer 2"], ["head 1", "head 2"]
        >>> ax = heatmap([[0.31, 0.55], [0.12, 0.4]], layers, heads, xlabel="", ylabel="")
        >>> waves = np.sin(np.outer(np.arange(50), 0.7 ** np.arange(20)))
        >>> ax = heatmap(waves, kind="signed", xlabel="dimension", ylabel="position")
    """
    values = _matrix(values, rows, columns)
    if kind not in KINDS:
        raise ValueError(f"no kind {kind!r}; there are {sorted(KINDS)}")
    kind = "mask" if values.dtype == bool else kind
    rows, columns = (None if words is None else _words(words) for words in (rows, columns))
    texts = _cell_texts(values, kind, digits, cells)
    if ax is None:
        _, ax = plt.subplots(figsize=_map_size(values.shape, rows, columns, texts))
    numbered = rows is None, columns is None
    _draw_cells(ax, values, kind, texts, limit, colorbar and kind != "mask", numbered)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    _label_cells([ax], values.shape, rows, columns)
    return ax


def _cell_texts(
    values: np.ndarray, kind: str, digits: int | str | None, cells: ArrayLike | None
) -> np.ndarray | None:
    """Return the text of each cell, or None when the cells stay empty."""
    if cells is not None:
        if np.shape(cells) != values.shape:
            raise ValueError(f"cells of shape {np.shape(cells)} for values {values.shape}")
        return np.array([_words(row) for row in np.asarray(cells)])
    small = max(values.shape) <= 14
    if kind == "mask":
        return np.where(values, "✓", "·") if small else None
    if digits == "auto":
        digits = 2 if small else None
    if digits is None:
        return None
    rounded = np.round(values.astype(float), digits) + 0.0  # plus zero: 0.00, never -0.00
    return np.array([[f"{value:.{digits}f}" for value in row] for row in rounded])


def _map_size(
    shape: tuple[int, int],
    rows: list[str] | None,
    columns: list[str] | None,
    texts: np.ndarray | None,
) -> tuple[float, float]:
    """Choose a map's size in inches."""
    row_word, column_word = (max(map(len, words or [""])) for words in (rows, columns))
    high = 0.08 * max(0, column_word - 12)
    if texts is not None:
        cell = max(0.62, 0.09 * max(map(len, texts.flat)))
        width, height = 1.4 + 0.1 * row_word + cell * shape[1], 1.1 + 0.46 * shape[0]
        return min(width, 9), min(max(2.2, height) + high, 8)
    if rows is None and columns is None:
        return 5.2, 4.2
    width, height = 1.8 + 0.08 * row_word + 0.14 * shape[1], 1.6 + 0.13 * shape[0]
    return min(max(5.2, width), 9), min(max(4.2, height) + high, 9)


def _draw_cells(
    ax: Axes,
    values: np.ndarray,
    kind: str,
    texts: np.ndarray | None,
    limit: float | None,
    colorbar: bool,
    numbered: tuple[bool, bool],
) -> None:
    """Draw the cells of a map and what is printed in them."""
    colours = dict(KINDS[kind])
    if kind in ("amount", "signed"):
        colours["vmax"] = (_largest(values) if limit is None else limit) or 1.0
    if kind == "signed":
        colours["vmin"] = -colours["vmax"]
    others = len(ax.texts)
    ax.figure.set_visible(False)  # seaborn draws the whole figure once, only to turn labels
    sns.heatmap(
        values.astype(float),
        ax=ax,
        annot=texts,
        fmt="",
        annot_kws={"size": 10, "parse_math": False},
        cbar=colorbar,
        linewidths=0.5 if max(values.shape) <= 24 else 0,
        linecolor="white",
        xticklabels="auto" if numbered[1] else False,
        yticklabels="auto" if numbered[0] else False,
        **colours,
    )
    ax.figure.set_visible(True)
    for text in ax.texts[others:]:
        text.set_in_layout(False)  # it lies inside its cell, so nobody need make room for it
    ax.tick_params(rotation=0, length=0)


def _label_cells(
    axes: Sequence[Axes],
    shape: tuple[int, int],
    rows: list[str] | None,
    columns: list[str] | None,
) -> None:
    """Write the words of maps of one shape, turned and shrunk until none touches its neighbour."""
    size = STYLE["font.size"]
    row_word, column_word = (_widest(words) * size for words in (rows, columns))
    turn = 45 if columns and (max(map(len, columns)) > 6 or len(columns) > 10) else 0
    _write(axes, rows, columns, size, size, turn)
    slanted = max(1.8 * size, 0.36 * column_word)  # room that words at 45 degrees need
    needed = [size / 0.8, slanted if turn else column_word]
    room = _room(axes)  # before the layout: the words may still take some of it
    high, wide = (room - [column_word, row_word]) / shape
    if np.any([high, wide] < np.array(needed)):
        _lay_out(axes[0].figure)  # now the layout says how large a cell is
        high, wide = _room(axes) / shape
    if np.any([high, wide] < np.array(needed)):
        turn = 45 if wide >= slanted else 90
        high, wide = room / shape  # at the most: what then fits beside such words, fits
        _write(axes, rows, columns, 0.8 * high, 0.75 * wide if turn == 90 else size, turn)
        _lay_out(axes[0].figure)
        high, wide = _room(axes) / shape
        _write(axes, rows, columns, 0.8 * high, 0.75 * wide if turn == 90 else size, turn)
    for text in (text for ax in axes for text in ax.texts):
        fits = 0.95 * wide / max(1, _widest([text.get_text()]) * text.get_fontsize())
        text.set_fontsize(min(1, fits) * text.get_fontsize())


def _lay_out(figure: Figure) -> None:
    """Give the axes their places, as drawing would, without drawing."""
    if engine := figure.get_layout_engine():
        engine.execute(figure)


def _room(axes: Sequence[Axes]) -> np.ndarray:
    """Return the height and width of the smallest of the axes in points, the unit of fonts."""
    boxes = [ax.get_window_extent() for ax in axes]
    return np.min([(box.height, box.width) for box in boxes], axis=0) * 72 / axes[0].figure.dpi


def _write(
    axes: Sequence[Axes],
    rows: list[str] | None,
    columns: list[str] | None,
    row_size: float,
    column_size: float,
    turn: float,
) -> None:
    """Write a word beside each row and column; every other or third one if there is no room."""
    for ax in axes:
        for axis, words, size, angle in (
            (ax.yaxis, rows, row_size, 0),
            (ax.xaxis, columns, column_size, turn),
        ):
            if words is not None:
                step = int(np.ceil(SMALLEST / size))
                look = {"fontsize": np.clip(size, SMALLEST, STYLE["font.size"]), "rotation": angle}
                places = np.arange(0, len(words), step) + 0.5
                axis.set_ticks(places, words[::step], parse_math=False, **look)


def _widest(words: list[str] | None) -> float:
    """Return the width of the longest word, in units of its font size."""
    return 0.62 * max(map(len, words or [""]))


@_styled
def heatmaps(
    maps: Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    *,
    per_row: int = 4,
    suptitle: str = "",
    **options,
) -> Figure:
    """Draw several matrices of the same shape side by side, on one colour scale.

    Args:
        maps: the matrices, for instance (H, T, S), one per head.
        titles: a title for each; "head 1", "head 2", … when None.
        rows, columns: words, as in `heatmap`.
        per_row: how many stand side by side; one or two where sentences are long.
        suptitle: a title over all of them.
        options: further arguments of `heatmap`.

    Raises:
        ValueError: there are not as many titles as maps; what `heatmap` refuses.

    Example:
        >>> heads = np.full((4, 3, 3), 1 / 3)
        >>> words = ["cat", "drinks", "milk"]
        >>> figure = heatmaps(heads, rows=words, columns=words, per_row=2)
    """
    titles = [f"head {h}" for h in range(1, len(maps) + 1)] if titles is None else titles
    if len(maps) != len(titles):
        raise ValueError(f"{len(titles)} titles for {len(maps)} maps")
    maps = [_matrix(values, rows, columns) for values in maps]
    if options.get("kind", "weights") in ("amount", "signed") and options.get("limit") is None:
        options["limit"] = max(map(_largest, maps))
    per_row, shape = min(per_row, len(maps)), maps[0].shape
    if options.get("digits", "auto") == "auto":
        fits = max(shape) <= 14 and per_row * (1.3 + 0.52 * shape[1]) <= PAGE
        options["digits"] = 2 if fits else None
    rows, columns = (
        None if words is None else _words(words, longest=20) for words in (rows, columns)
    )
    printed = options["digits"] is not None
    width, height = _panel_size(shape, rows, columns, printed)
    down = -(-len(maps) // per_row)
    size = min(width * per_row, PAGE), min(height * down, max(10, 2.4 * down))
    figure, axes = plt.subplots(down, per_row, figsize=size, squeeze=False)
    for i, ax in enumerate(axes.flat):
        if i >= len(maps):
            ax.axis("off")
            continue
        heatmap(maps[i], title=titles[i], colorbar=False, ax=ax, **options)
        if i % per_row:
            ax.set(ylabel="")
        if i + per_row < len(maps):
            ax.set(xlabel="")
    if maps[0].dtype != bool and options.get("kind") != "mask":
        figure.colorbar(axes[0, 0].collections[0], ax=axes, shrink=0.8, pad=0.02)
    figure.suptitle(suptitle)
    _label_cells(axes.flat[: len(maps)], shape, rows, columns)
    return figure


def _panel_size(
    shape: tuple[int, int], rows: list[str] | None, columns: list[str] | None, printed: bool
) -> tuple[float, float]:
    """Choose the size in inches of one map among several."""
    cell = 0.52 if printed else 0.25
    beside, below = (0.08 * max(0, max(map(len, words or [""])) - 10) for words in (rows, columns))
    width = 1.3 + beside + max(1.6, cell * shape[1])
    return width, 1.1 + below + max(1.4, 0.8 * cell * shape[0])


@_styled
def overview(maps: Sequence[ArrayLike], *, title: str = "") -> Figure:
    """Draw the attention of all layers and heads, small and without words, on the scale 0 to 1.

    Args:
        maps: (layers, H, T, S) weights, or a list of (H, T, S), one per layer.
        title: a title over all of them.

    Raises:
        ValueError: the maps are not (layers, H, T, S).

    Example:
        >>> figure = overview(np.random.default_rng(0).dirichlet(np.ones(7), (2, 4, 5)))
    """
    maps = _array(maps)
    if maps.ndim != 4 or not maps.size:
        raise ValueError(f"an overview needs maps (layers, H, T, S), got shape {maps.shape}")
    layers, heads = maps.shape[:2]
    side = min(1.3, (PAGE - 1.5) / heads)
    figure, ax = plt.subplots(figsize=(1.5 + side * heads, 0.6 + side * layers))
    for layer, head in np.ndindex(layers, heads):
        left, top, size = head + 0.04, layer + 0.04, 0.92
        place = (left, left + size, top + size, top)
        image = ax.imshow(maps[layer, head], cmap="Blues", vmin=0, vmax=1, extent=place)
        ax.add_patch(patches.Rectangle((left, top), size, size, fill=False, edgecolor="#999999"))
    ax.set(xlim=(0, heads), ylim=(layers, 0), aspect="auto", title=title)
    ax.set_xticks(np.arange(heads) + 0.5, [f"head {h}" for h in range(1, heads + 1)], fontsize=9)
    ax.set_yticks(np.arange(layers) + 0.5, [f"layer {n}" for n in range(1, layers + 1)], fontsize=9)
    ax.tick_params(length=0, labeltop=True, labelbottom=False)
    ax.spines[:].set_visible(False)
    figure.colorbar(image, ax=ax, shrink=0.8, pad=0.02)
    return figure


@_styled
def lines(
    weights: ArrayLike,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row: int | None = None,
    title: str = "",
    xlabel: str = "key",
    ylabel: str = "query",
    ax: Axes | None = None,
) -> Axes:
    """Draw attention as lines between two columns of words, the thicker, the more weight.

    Args:
        weights: (rows, columns), each between 0 and 1.
        rows: the words that look, at the left.
        columns: the words that are looked at, at the right.
        row: a row, counted from 0, to be lit alone, with its weights from 0.05 on as numbers.
        title, xlabel, ylabel: the words above the picture, the right and the left column.
        ax: where to draw; a new figure when None.

    Raises:
        ValueError: weights are not a matrix, its sizes are not those of the words, a weight is
            below 0 or above 1, or there is no such row.

    Example:
        >>> weights = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]]
        >>> ax = lines(weights, ["die", "Katze"], ["the", "cat", "</s>"], row=1)
    """
    weights = _matrix(weights, rows, columns).astype(float)
    if weights.min() < 0 or weights.max() > 1 + 1e-6:
        raise ValueError(f"weights go from 0 to 1, got {weights.min():g} to {weights.max():g}")
    if row is not None and not 0 <= row < len(rows):
        raise ValueError(f"no row {row}; there are {len(rows)}, counted from 0")
    rows, columns = _words(rows), _words(columns)
    length = max(weights.shape)
    if ax is None:
        words_wide = 0.08 * (max(map(len, rows)) + max(map(len, columns)))
        _, ax = plt.subplots(figsize=(3 + words_wide, min(1.2 + 0.25 * length, 9)))
    lit = np.arange(len(rows)) == row if row is not None else np.ones(len(rows), dtype=bool)
    colour = COLOURS[0] if row is None else COLOURS[1]
    for t in np.argsort(lit, kind="stable"):  # the lit lines last, on top
        ends = [[(0, t), (1, s)] for s in range(len(columns))]
        strength = np.sqrt(weights[t].clip(0, 1)) * (1 if lit[t] else 0.3)
        shades = [to_rgba(colour if lit[t] else "#888888", strong) for strong in strength]
        ax.add_collection(LineCollection(ends, colors=shades, linewidths=5 * weights[t]))
    ax.set(title=title, xlim=(0, 1), ylim=(length - 0.5, -1.6))
    ax.axis("off")
    words = _side_words(ax, rows, columns, weights, row)
    for x, name, side in ((-0.03, ylabel, "right"), (1.03, xlabel, "left")):
        ax.text(x, -1.1, name, ha=side, va="center", color="#666666", style="italic")
    _lay_out(ax.figure)  # the layout decides how much room a word has
    size = np.clip(0.8 * _room([ax])[0] / (length + 1.1), SMALLEST, STYLE["font.size"])
    for word in words:
        word.set_fontsize(size)
    return ax


def _side_words(
    ax: Axes, rows: list[str], columns: list[str], weights: np.ndarray, row: int | None
) -> list:
    """Write the words of `lines`: those of the lit row bold, with the weights."""
    look = {"va": "center", "parse_math": False}
    words = []
    for t, word in enumerate(rows):
        weight = "bold" if t == row else "normal"
        words.append(ax.text(-0.03, t, word, ha="right", weight=weight, **look))
    for s, word in enumerate(columns):
        seen = row is not None and weights[row, s] >= 0.05
        text = f"{word}  {weights[row, s]:.2f}" if seen else word
        weight = "bold" if seen else "normal"
        words.append(ax.text(1.03, s, text, ha="left", weight=weight, **look))
    return words


# ---------------------------------------------------------------- numbers


@_styled
def curves(
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    bands: Mapping[str, ArrayLike] | None = None,
    log: str = "",
    markers: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw one or more lines over the same x: a loss, a schedule, a measured cost.

    Args:
        x: (n,) positions.
        lines: name → (n,) values.
        xlabel, ylabel, title: the words around it.
        bands: name → (n,) values drawn broad and pale behind the lines: a formula, a floor, a
            prediction, on which the measured values should lie. A line whose name starts with
            "formula" is drawn so, too.
        log: the axes with a logarithmic scale: "", "x", "y" or "xy".
        markers: whether to mark each value.
        ax: where to draw; a new figure when None.

    Raises:
        ValueError: a line or band has not as many values as x; there are more than seven lines.

    Example:
        >>> steps = [1, 2, 3, 4]
        >>> loss, floor = {"loss": [3.0, 2.1, 1.6, 1.4]}, {"floor": [1.3] * 4}
        >>> ax = curves(steps, loss, bands=floor, xlabel="step", ylabel="loss")
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 3.6))
    if len(lines) > len(COLOURS):
        raise ValueError(f"{len(lines)} lines; more than {len(COLOURS)} cannot be told apart")
    x, bands = _array(x), bands or {}
    looks = _line_looks(markers)
    for name, values in [*lines.items(), *bands.items()]:
        values = _array(values)
        if values.shape != x.shape:
            raise ValueError(f"{name!r} has shape {values.shape}, x has {x.shape}")
        pale = name in bands or name.startswith("formula")
        ax.plot(x, values, label=name, **(BAND if pale else next(looks)))
    if "x" in log:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter("{x:g}")
    if "y" in log:
        ax.set_yscale("log")
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    ax.grid(True, axis="y")
    if len(lines) + len(bands) > 1:
        ax.legend()
    return ax


def _line_looks(markers: bool) -> Iterator[dict]:
    """Yield one look per line: a colour and, for print in grey, a pattern."""
    for colour, dash in zip(COLOURS, DASHES, strict=True):
        yield {"color": colour, "linestyle": dash, "marker": "o" if markers else None}


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

    Raises:
        ValueError: there are not as many labels as values.

    Example:
        >>> ax = bars(["by hand", "learned"], [0.31, 0.12], xlabel="error", form="{:.2f}")
    """
    values = _array(values)
    if values.shape != (len(labels),):
        raise ValueError(f"{len(labels)} labels for values of shape {values.shape}")
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.9 + 0.4 * len(labels)))
    drawn = ax.barh(range(len(labels)), values, color=COLOURS[0])
    ax.set_yticks(range(len(labels)), _words(labels, longest=60), parse_math=False)
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

    Raises:
        ValueError: the points are not (n, 2), or there are not as many labels as points.

    Example:
        >>> ax = points([[1, 2], [3, 5]], ["cat", "milk"], xlabel="first", ylabel="second")
    """
    xy = _array(xy)
    if xy.shape != (len(labels), 2):
        raise ValueError(f"{len(labels)} labels for points of shape {xy.shape}, not (n, 2)")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4))
    ax.scatter(xy[:, 0], xy[:, 1], color=colour, s=45, zorder=3)
    look = {"textcoords": "offset points", "color": colour, "parse_math": False}
    for (x, y), label in zip(xy, _words(labels), strict=True):
        ax.annotate(label, (x, y), (7, 5), **look)
    ax.margins(0.2)
    ax.grid(True)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    return ax


# ---------------------------------------------------------------- the model


@_styled
def shapes(steps: Sequence[tuple[str, Sequence[int]]], *, title: str = "") -> Axes:
    """Draw the shapes of the tensors on their way through a model, from top to bottom.

    A box is a matrix of the last two sizes; it grows with their logarithm. Sizes before them are
    drawn as sheets behind it.

    Args:
        steps: a name and a shape, or a tensor, per step.
        title: the words above the picture.

    Raises:
        ValueError: there are no steps.

    Example:
        >>> steps = [("tokens", (2, 5)), ("embedding", (2, 5, 16)), ("weights", (2, 4, 5, 5))]
        >>> ax = shapes([*steps, ("output", np.zeros((2, 5, 16)))])
    """
    if not steps:
        raise ValueError("no steps to draw")
    names = _words([name for name, _ in steps])
    sizes = [tuple(map(int, getattr(shape, "shape", shape))) for _, shape in steps]
    sides = np.log2([[1 + size for size in (1, 1, *shape)[-2:]] for shape in sizes])
    scale = 1.3 / sides.max()  # inches, like all lengths here
    row = scale * sides[:, 0].max() + 0.25
    pitch = min(row, 9 / len(steps))
    sides *= scale * pitch / row
    _, ax = plt.subplots(figsize=(6, pitch * len(steps) + 0.3))
    ax.set(xlim=(0, 6), ylim=(pitch * len(steps), 0), aspect="equal", title=title)
    ax.axis("off")
    for i, (name, shape) in enumerate(zip(names, sizes, strict=True)):
        y = (i + 0.5) * pitch
        _draw_sheets(ax, y, *sides[i], count=int(np.prod(shape[:-2])))
        ax.text(2.6, y, name, ha="right", va="center", parse_math=False)
        ax.text(4.4, y, str(shape), va="center", family="monospace")
    return ax


def _draw_sheets(ax: Axes, y: float, high: float, wide: float, count: int) -> None:
    """Draw one tensor: a box, as many sheets deep as there are matrices, four at the most."""
    for sheet in reversed(range(min(4, count))):
        corner = 3.45 - wide / 2 + 0.04 * sheet, y - high / 2 - 0.04 * sheet
        ax.add_patch(
            patches.Rectangle(corner, wide, high, facecolor="#CFE3F1", edgecolor="#333333")
        )


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

    Example:
        >>> ax = architecture("multi_head", "masks")
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
