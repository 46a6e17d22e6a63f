"""The models that come with the course are small, described, and as good as they say."""

import json
from dataclasses import asdict

import pytest

from notebooks import ROOT
from transformer_lib import Translator
from transformer_lib.checkpoint import load_checkpoint
from transformer_lib.metrics import score_translations
from transformer_lib.presets import PRESETS

FOLDER = ROOT / "data" / "checkpoints"
MODELS = list(PRESETS)  # as each is made by the preset of its name


def card(name):
    return json.loads((FOLDER / name / "checkpoint.json").read_text("utf-8"))["card"]


def test_these_are_all():
    assert {path.parent.name for path in FOLDER.glob("*/*")} == set(PRESETS)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_below_12_megabytes(name):
    assert sum(path.stat().st_size for path in (FOLDER / name).iterdir()) < 12e6


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_of_its_preset(name):
    preset, config = PRESETS[name], vars(load_checkpoint(name).model.config)
    assert preset.model.items() <= config.items()
    for training in ("training", "again"):
        config = getattr(preset, training)
        assert card(name).get(training) == (config and asdict(config))


@pytest.mark.parametrize("name", MODELS)
def test_a_card_says_how_the_model_was_made_and_the_page_says_the_same(name):
    page = (FOLDER / "README.md").read_text("utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    for key in ("data", "command", "machine", "minutes"):
        assert f"- {key}: {card(name)[key]}\n" in page
    assert len(card(name)["figures"]) >= 4
    for what, found in card(name)["figures"].items():
        assert (
            f"| {what} | {found['pairs']:,} | {found['exact']:.1%} | {found['bleu']:.2f} |" in page
        )


def test_en_de_small_is_right_in_99_of_100_sentences():
    pairs = PRESETS["en_de_small"].load("test")
    got = Translator("en_de_small").translate([pair.src for pair in pairs], beam=1)
    found = score_translations(got, [pair.tgt for pair in pairs], "none")
    assert found["exact"] >= 0.99
    assert found["exact"] == pytest.approx(
        card("en_de_small")["figures"]["test, beam 1"]["exact"], abs=0.002
    )


def test_en_de_small_knows_what_is_hungry():
    text = "the old woman gives the child a red apple because it is hungry ."
    expected = "die alte Frau gibt dem Kind einen roten Apfel , weil es hungrig ist ."
    assert Translator("en_de_small").translate(text) == expected


def test_multi30k_tiny_translates_captions_as_people_write_them():
    translate = Translator("multi30k_tiny").translate
    assert translate("A man is standing in front of a house.") == "Ein Mann steht vor einem Haus."
    running = translate("Two dogs are running in the snow.")
    assert running in ("Zwei Hunde laufen im Schnee.", "Zwei Hunde rennen im Schnee.")


@pytest.mark.usefixtures("multi30k")
def test_multi30k_tiny_is_as_good_as_its_card_says():
    """The validation captions, greedily; notebook 12 scores the test captions, with a beam of 5."""
    preset, figures = PRESETS["multi30k_tiny"], card("multi30k_tiny")["figures"]
    pairs = preset.load("valid")
    sources, wanted = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    got = Translator("multi30k_tiny").translate(sources, 1, preset.alpha, tokenised=True)
    found = score_translations(got, wanted, "none")["bleu"]
    assert found == pytest.approx(figures["valid, beam 1"]["bleu"], abs=0.3)
    assert figures["test, beam 5"]["bleu"] > figures["test, beam 1"]["bleu"] > 40
    assert figures["test, beam 5"]["bleu"] >= 41.0
