"""An interactive picture of attention, for notebooks and for web pages of its own.

    from transformer_lib.viewer import AttentionView
    AttentionView(maps, ["the", "cat"], ["die", "Katze"])

What is shown is one HTML document, made of viewer.css, viewer.js and the weights. It needs no
network and no kernel, so that it also works in a stored notebook and from a file.
"""

import base64
import html
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["AttentionView"]

# What a map may be called, and its words, in the order in which the viewer offers them.
KINDS = {
    "self": "self-attention",
    "encoder": "encoder self-attention",
    "decoder": "decoder self-attention",
    "cross": "cross-attention",
}
MOST_TOKENS = 200  # on a side
MOST_WEIGHTS = 1_000_000  # in the whole viewer, a byte each
ROUNDING = 1e-3  # a weight may be this far outside of 0 to 1

# The page may fetch nothing at all, whatever a token contains.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'"
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width">
<title>Attention</title>
<style>
{style}</style>
</head>
<body>
<script type="application/json" id="attention">{data}</script>
<script>
{script}</script>
</body>
</html>
"""
# In JupyterLab a viewer that runs takes the place of the picture that went out before it.
REPLACE_PICTURE = """<style>
@media screen {{
.jp-OutputArea-child:has(+ .jp-OutputArea-child .attention-view iframe) {{ display: none }}
}}
</style>
<div class="attention-view">{viewer}</div>
"""


@dataclass(frozen=True)
class _Maps:
    """The maps of one kind: weights (layers, H, T, S) in hundredths, a word per row and column."""

    kind: str
    rows: list[str]
    columns: list[str]
    weights: np.ndarray

    def __str__(self) -> str:
        layers, heads, rows, columns = self.weights.shape
        return f"{KINDS[self.kind]}: {layers} layers × {heads} heads × {rows} × {columns}"


class AttentionView:
    """Shows attention weights in a notebook, to be explored by mouse or keyboard.

    Row t of a decoder's maps is the step that writes target token t. What it can read is `start`
    and the target tokens before t, so these are the columns of decoder self-attention.
    A weight is kept in hundredths; the mean of heads is the mean of those.

    Args:
        maps: what `record_attention` gives, by the name of the module; or a dictionary with any of
            "encoder" (S, S), "decoder" (T, T) and "cross" (T, S) → its layers; or the layers
            alone: self-attention over src_tokens, or with tgt_tokens cross-attention. A layer is
            (H, T, S) or (1, H, T, S), a tensor or an array; one tensor is (layers, H, T, S).
        src_tokens: S words.
        tgt_tokens: the T words that were written, with the end token if it was.
        start: what the decoder reads first.
        title: a heading.

    Raises:
        TypeError: the tokens are not a sequence of texts.
        ValueError: sizes do not fit each other, a batch has several sentences, a weight is not
            between 0 and 1, a name does not say its kind, or there is too much to show.
    """

    def __init__(
        self,
        maps: Any,
        src_tokens: Sequence[str],
        tgt_tokens: Sequence[str] | None = None,
        *,
        start: str = "<s>",
        title: str = "",
    ):
        src = _words("src_tokens", src_tokens)
        tgt = None if tgt_tokens is None else _words("tgt_tokens", tgt_tokens)
        layers = _layers_by_kind(maps, "self" if tgt is None else "cross")
        sides = {"self": (src, src), "encoder": (src, src)}
        if tgt is not None:
            sides |= {"decoder": (tgt, [start, *tgt[:-1]]), "cross": (tgt, src)}
        elif missing := layers.keys() - sides:
            raise ValueError(f"{sorted(missing)} need tgt_tokens, the words that were written")
        self._maps = {k: _checked(k, *sides[k], layers[k]) for k in KINDS if k in layers}
        self._title = title
        _check_size(list(self._maps.values()))

    def __repr__(self) -> str:
        """Name the maps and their sizes."""
        return f"AttentionView({'; '.join(map(str, self._maps.values()))})"

    def save(
        self,
        path: str | Path,
        *,
        kind: str | None = None,
        layer: int | None = None,
        head: int | str | None = None,
    ) -> None:
        """Save the viewer as a web page (.html), or a map as a figure (.svg, .png).

        Args:
            path: the file; its suffix decides.
            kind: "self", "encoder", "decoder" or "cross"; None is the last of these that is there.
            layer: counted from 1, as in the viewer; None is the last one.
            head: counted from 1; "mean" is the mean of all; None draws a figure of all heads side
                by side. A web page opens with what is chosen here, and has everything.

        Raises:
            ValueError: there is no such kind, layer or head, or another suffix.
        """
        path, choice = Path(path), self._choice(kind, layer, head)
        suffix = path.suffix.lower()
        if suffix == ".html":
            data = self._page(*choice).encode()
        elif suffix in (".svg", ".png"):
            data = self._figure(*choice, form=suffix[1:], dpi=200)
        else:
            raise ValueError(f"a view is saved as .html, .svg or .png, not as {path.name!r}")
        part = path.with_name(path.name + ".part")
        part.write_bytes(data)
        os.replace(part, path)

    def _repr_html_(self) -> str:
        page = self._page(*self._choice(None, None, None))
        page = html.escape(page, quote=False).replace("'", "&#39;")  # the script has many a "
        style = f"width:100%;height:{self._height()}px;border:0"
        about = html.escape(f"Attention viewer. {self!r}")
        return f"""<iframe title="{about}" style="{style}" srcdoc='{page}'></iframe>"""

    def _ipython_display_(self) -> None:
        from IPython.display import display

        kind, layer, _ = self._choice(None, None, None)
        png = base64.b64encode(_small(self._figure(kind, layer, "mean", form="png", dpi=90)))
        about = f"{KINDS[kind]}, layer {layer}, mean of the heads"
        picture = {"image/png": png.decode(), "text/plain": repr(self)}
        display(picture, raw=True, metadata={"image/png": {"alt": f"Heat map: {about}"}})
        viewer = REPLACE_PICTURE.format(viewer=self._repr_html_())
        display({"text/html": viewer, "text/plain": repr(self)}, raw=True)

    def _choice(
        self, kind: str | None, layer: int | None, head: int | str | None
    ) -> tuple[str, int, int | str | None]:
        """Check what is to be shown, and fill in what was left open."""
        kind = list(self._maps)[-1] if kind is None else kind
        if kind not in self._maps:
            raise ValueError(f"kind is {kind!r}, but there are {list(self._maps)}")
        layers, heads = self._maps[kind].weights.shape[:2]
        layer = layers if layer is None else layer
        if layer not in range(1, layers + 1):
            raise ValueError(f"layer is {layer!r}, but layers count from 1 to {layers}")
        if head not in (None, "mean", *range(1, heads + 1)):
            raise ValueError(f"head is {head!r}, but heads count from 1 to {heads}")
        return kind, layer, head

    def _page(self, kind: str, layer: int, head: int | str | None) -> str:
        """Return the HTML document."""
        maps = [asdict(m) | {"name": KINDS[m.kind]} for m in self._maps.values()]
        for entry in maps:
            entry["layers"], entry["heads"] = entry["weights"].shape[:2]
            entry["weights"] = base64.b64encode(entry["weights"].tobytes()).decode()
        chosen = {"kind": kind, "layer": layer, "head": head}
        data = json.dumps({"title": self._title, "open": chosen, "maps": maps})
        return PAGE.format(
            policy=POLICY,
            style=_part("viewer.css"),
            script=_part("viewer.js"),
            data=data.replace("<", "\\u003c"),  # no token can end the script element
        )

    def _height(self) -> int:
        """Guess the frame's height; where it may, the viewer then sets its own."""
        return 340 + min(700, max(80 + 30 * len(m.rows) for m in self._maps.values()))

    def _figure(self, kind: str, layer: int, head: int | str | None, form: str, dpi: int) -> bytes:
        """Draw one map, or that of each head, into a file's bytes."""
        from transformer_lib import plots

        maps = self._maps[kind]
        heads = maps.weights[layer - 1] / 100  # (H, T, S)
        words = [[re.sub(r"\s", "␣", word) or "∅" for word in w] for w in (maps.rows, maps.columns)]
        title = self._title or f"{KINDS[kind]}, layer {layer}"
        if head is None:
            names = [f"head {i}" for i in range(1, len(heads) + 1)]
            figure = plots.heatmaps(heads, names, *words, suptitle=title)
        else:
            values = heads.mean(axis=0) if head == "mean" else heads[head - 1]
            which = "mean of heads" if head == "mean" else f"head {head}"
            figure = plots.heatmap(values, *words, title=f"{title}, {which}").figure
        file = io.BytesIO()
        stamp = {"Date": None} if form == "svg" else {"Software": None}
        with plots.plt.rc_context({"svg.hashsalt": "attention"}):  # the same bytes each time
            figure.savefig(file, format=form, dpi=dpi, metadata=stamp)
        plots.plt.close(figure)
        return file.getvalue()


def _part(name: str) -> str:
    """Read a file of the page, without indents and lines of comment: notebooks store each view."""
    text = resources.files("transformer_lib").joinpath(name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith(("//", "/*")))


def _words(name: str, tokens: Sequence[str]) -> list[str]:
    if isinstance(tokens, str):
        raise TypeError(f"{name} must be a list of words, got the text {tokens[:40]!r}")
    tokens = list(tokens)
    if strange := [token for token in tokens if not isinstance(token, str)]:
        raise TypeError(f"{name} must be texts, got {strange[0]!r}")
    if not tokens:
        raise ValueError(f"{name} is empty")
    return tokens


def _layers_by_kind(maps: Any, only_kind: str) -> dict[str, Sequence]:
    """Sort maps into kinds, each with its layers in order."""
    if not isinstance(maps, Mapping):
        return {only_kind: _layers("maps", maps)}
    if not maps:
        raise ValueError("there are no maps; was record_attention left before the model ran?")
    if maps.keys() <= KINDS.keys():
        return {kind: _layers(kind, layers) for kind, layers in maps.items()}
    found = sorted((*_kind_and_number(name), name) for name in maps)
    return {kind: [maps[n] for k, _, n in found if k == kind] for kind, _, _ in found}


def _kind_and_number(name: str) -> tuple[str, int]:
    """Read from a module's name, such as "decoder.layers.1.cross_attention", what it is."""
    numbers = re.findall(r"\d+", name)
    kind = "cross" if "cross_attention" in name else None
    if "self_attention" in name:
        kind = next((k for k in ("encoder", "decoder") if k in name), None)
    if kind is None or not numbers:
        raise ValueError(
            f"{name!r} is not like 'encoder.layers.0.self_attention'; "
            f'give {{"encoder": [layers], "decoder": …, "cross": …}} instead'
        )
    return kind, int(numbers[-1])


def _layers(name: str, layers: Any) -> Sequence:
    """Take apart one tensor of all layers."""
    if isinstance(layers, list | tuple):
        if not layers:
            raise ValueError(f"{name}: there is no layer")
        return layers
    if len(layers.shape) != 4:
        raise ValueError(f"{name}: one tensor must be (layers, H, T, S), got {tuple(layers.shape)}")
    return list(layers)


def _checked(kind: str, rows: list[str], columns: list[str], layers: Sequence) -> _Maps:
    """Check the maps of one kind and round them to hundredths."""
    arrays = [_hundredths(f"{KINDS[kind]}, layer {i}", layer) for i, layer in enumerate(layers, 1)]
    for number, array in enumerate(arrays, 1):
        if array.shape[1:] != (len(rows), len(columns)):
            raise ValueError(
                f"{KINDS[kind]}, layer {number} has maps of {array.shape[1]} × {array.shape[2]}, "
                f"but there are {len(rows)} × {len(columns)} tokens"
            )
        if len(array) != len(arrays[0]):
            raise ValueError(
                f"{KINDS[kind]}: layer {number} has {len(array)} heads, layer 1 {len(arrays[0])}"
            )
    return _Maps(kind, rows, columns, np.stack(arrays))


def _hundredths(name: str, layer: Any) -> np.ndarray:
    """Round the weights of one layer to whole hundredths, (H, T, S) in uint8."""
    if hasattr(layer, "detach"):  # a tensor, on any device; numpy has no bfloat16
        layer = layer.detach().cpu().double()
    weights = np.asarray(layer, dtype=np.float64)
    if weights.ndim == 4 and len(weights) != 1:
        raise ValueError(
            f"{name} has a batch of {len(weights)} sentences; pick one: layer[i : i + 1] of each"
        )
    weights = weights[0] if weights.ndim == 4 else weights
    if weights.ndim != 3 or not len(weights):
        raise ValueError(f"{name} must be (H, T, S) or (1, H, T, S), got {weights.shape}")
    inside = (weights >= -ROUNDING) & (weights <= 1 + ROUNDING)  # false for nan, too
    if not inside.all():
        raise ValueError(f"{name} has the weight {weights[~inside][0]}; they must be from 0 to 1")
    return np.rint(weights.clip(0, 1) * 100).astype(np.uint8)


def _check_size(kinds: list[_Maps]) -> None:
    """Refuse what would make a browser slow."""
    if long := [m for m in kinds if max(m.weights.shape[2:]) > MOST_TOKENS]:
        raise ValueError(
            f"{long[0]} are more than {MOST_TOKENS} tokens on a side; show a part: "
            "layer[..., :200, :200] of each, and as many tokens"
        )
    total = sum(m.weights.size for m in kinds)
    if total > MOST_WEIGHTS:
        raise ValueError(
            f"{total:,} weights are more than {MOST_WEIGHTS:,} ({'; '.join(map(str, kinds))}); "
            "pick one kind, some layers (maps[-2:]) or some heads (layer[:, :4] of each)"
        )


def _small(png: bytes) -> bytes:
    """Store a picture in 128 colours, for a notebook's sake; with fewer, the scale breaks up."""
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(128).save(file, "PNG", optimize=True)
    return file.getvalue()
