"""Measure the models that come with the course, and write the figures down.

    python tools/cards.py

For each folder in data/checkpoints/: the figures go into the card in its `checkpoint.json`, and all
cards into `data/checkpoints/README.md`. The Multi30k figures need the corpus.
"""

import json

import torch

from notebooks import ROOT
from transformer_lib.decoding import Translator
from transformer_lib.metrics import score_translations
from transformer_lib.presets import PRESETS
from transformer_lib.text import restore

FOLDER = ROOT / "data" / "checkpoints"
HEAD = """\
# The models that come with the course

Each folder holds the weights (`model.safetensors`) and all else (`checkpoint.json`: sizes,
vocabularies, this card). `Translator("en_de_small")` loads one. Figures and this page are written
by `python tools/cards.py`.
"""


def measure(preset, translator, split, beam):
    """Translate a split; map the name of each figure to the figure."""
    pairs = preset.load(split)
    sources = [pair.src for pair in pairs]
    got = translator.translate(sources, beam, preset.alpha, tokenised=True)
    found = score_translations(got, [pair.tgt for pair in pairs], "none")
    figures = {f"{split}, beam {beam}": found}
    if translator.casing:
        wanted = [pair.tgt for pair in preset.ordinary(split)]
        restored = [restore(text, translator.casing) for text in got]
        found = score_translations(restored, wanted, "13a")
        figures[f"{split}, beam {beam}, as ordinary text"] = found
    return figures


def describe(name, card, model):
    """Write a card as a section in markdown."""
    size = sum(path.stat().st_size for path in (FOLDER / name).iterdir()) / 1e6
    parameters = sum(p.numel() for p in model.parameters())
    lines = [f"\n## {name}\n", f"- {parameters:,} parameters, {size:.1f} MB"]
    lines += [f"- {key}: {card[key]}" for key in ("data", "command", "machine", "minutes")]
    for stage in ("training", "again"):
        if stage in card:
            lines.append(f"- {stage}: " + ", ".join(f"{k} {v}" for k, v in card[stage].items()))
    lines += [f"- length penalty in the figures below: alpha {card['alpha']}"]
    lines += ["", "| what | pairs | exact match | BLEU | signature |", "|---|---|---|---|---|"]
    for what, found in card["figures"].items():
        exact, bleu = f"{found['exact']:.1%}", f"{found['bleu']:.2f}"
        lines.append(f"| {what} | {found['pairs']:,} | {exact} | {bleu} | `{found['signature']}` |")
    return "\n".join(lines) + "\n"


def main():
    """Measure each model and write cards and page."""
    torch.set_num_threads(1)
    page = HEAD
    for name, splits, beams in (
        ("en_de_small", ("test", "test_compositional", "test_long"), (1, 4)),
        ("multi30k_tiny", ("valid", "test"), (1, 5)),
    ):
        translator, preset = Translator(name), PRESETS[name]
        figures = {}
        for split in splits:
            for beam in beams:
                figures |= measure(preset, translator, split, beam)
        path = FOLDER / name / "checkpoint.json"
        description = json.loads(path.read_text("utf-8"))
        description["card"] |= {"figures": figures, "alpha": preset.alpha}
        text = json.dumps(description, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        page += describe(name, description["card"], translator.model)
    (FOLDER / "README.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
