"""Draw the README's pictures: the attention of a model of ours, and one figure of each notebook.

    python tools/picture.py

writes `.github/attention.png` and, out of the notebooks' stored outputs, `.github/thumbnails/`.
"""

import base64
import io

import torch
from PIL import Image

from notebooks import ROOT, read
from transformer_lib import plots
from transformer_lib.decoding import Translator

SENTENCE = "the old woman gives the child a red apple because it is hungry ."
LAYER = 2  # counted from 1; here an article also looks at its noun
FOLDER = ROOT / ".github"
SIZE = 240, 160
FIGURES = {  # words of the cell that draws the figure
    "00_start_here": "AttentionView(translation.maps",
    "01_scaled_dot_product_attention": 'f"output of {word}"',
    "02_masks": 'min(curves["right"]) > 1.6',
    "03_multi_head_attention": '"head 4: nouns"',
    "04_positional_encoding": "sinusoidal_encoding(64, 32)",
    "05_feed_forward": "gradient, as a share of the top's",
    "06_encoder": "two_on_two[-1] > 0.95",
    "07_decoder": "plots.heatmap(weights, due, source",
    "08_transformer": 'title="prediction"',
    "09_training": '"ylabel": "about to say"',
    "10_decoding": 'removesuffix("</s>").strip()',
    "11_attention_maps": "plots.overview(cross_maps)",
    "12_real_translation": '"snorfelgurp"',
    "13_break_it": "ring: next words right",
}


def attention():
    """Translate a sentence and draw where the model looked, the mean of one layer's heads."""
    translation = Translator("en_de_small").translate(SENTENCE, attention=True)
    weights = translation.attention[LAYER - 1].mean(dim=0)
    names = {"xlabel": "where the model looks", "ylabel": "the word that it writes"}
    ax = plots.heatmap(
        weights, translation.tgt_tokens, translation.src_tokens, digits=None, **names
    )
    return ax.figure


def thumbnail(name, words):
    """Take the picture of the notebook's cell that holds these words, on a small white card.

    Raises:
        LookupError: no cell holds them, or the one that does drew nothing.
    """
    for cell in read(ROOT / f"notebooks/{name}.ipynb").cells:
        for output in cell.get("outputs", []):
            png = output.get("data", {}).get("image/png")
            if png and words in cell.source:
                picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
                picture.thumbnail(SIZE, Image.Resampling.LANCZOS)
                card = Image.new("RGB", SIZE, "white")
                card.paste(
                    picture, tuple((a - b) // 2 for a, b in zip(SIZE, picture.size, strict=True))
                )
                return card
    raise LookupError(f"no picture in {name} comes from a cell with {words!r}")


def save(image, path):
    """Save with 128 colours, as the notebooks' own pictures."""
    path.parent.mkdir(exist_ok=True)
    image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


def main():
    """Draw all of them."""
    torch.set_num_threads(1)
    buffer = io.BytesIO()
    attention().savefig(buffer, dpi=110)
    save(Image.open(buffer), FOLDER / "attention.png")
    for name, words in FIGURES.items():
        save(thumbnail(name, words), FOLDER / "thumbnails" / f"{name}.png")


if __name__ == "__main__":
    main()
