"""`python -m transformer_lib`: a tiny training, then its model translates and is scored."""

import dataclasses
import io
import json

import pytest

from transformer_lib import __main__ as command_line
from transformer_lib.training import TrainingConfig

PAIRS = [("a cat sleeps .", "eine Katze schläft ."), ("a dog sleeps .", "ein Hund schläft .")]


@pytest.fixture
def pairs(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{src}\t{tgt}\n" for src, tgt in PAIRS), encoding="utf-8")
    return str(path)


@pytest.fixture
def trained(tmp_path, pairs, monkeypatch):
    """Train a model of a few numbers until it knows both sentences by heart."""
    preset = dataclasses.replace(
        command_line.PRESETS["en-de-small"],
        model={"d_model": 14, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
        | {"d_ff": 31, "dropout": 0.0, "max_len": 61},
        training=TrainingConfig(epochs=150, warmup=20, factor=1.0, keep=1, precision="float32"),
    )
    monkeypatch.setitem(command_line.PRESETS, "en-de-small", preset)
    out = tmp_path / "model"
    assert command_line.main(["train", "--out", str(out), "--train", pairs, "--valid", pairs]) == 0
    return str(out)


def test_a_trained_model_translates_and_is_scored(trained, pairs, capsys, monkeypatch):
    capsys.readouterr()
    assert command_line.main(["translate", "--model", trained, *(src for src, _ in PAIRS)]) == 0
    assert capsys.readouterr().out.splitlines() == [tgt for _, tgt in PAIRS]

    monkeypatch.setattr("sys.stdin", io.StringIO("a dog sleeps .\n"))
    assert command_line.main(["translate", "--model", trained, "--beam", "1"]) == 0
    assert capsys.readouterr().out == "ein Hund schläft .\n"

    assert command_line.main(["evaluate", "--model", trained, "--data", pairs]) == 0
    out = capsys.readouterr().out
    assert "2 pairs, exact match 100.0%, BLEU 100.00" in out
    assert "tok:none" in out


def test_the_card_says_how_the_model_was_made(trained, pairs):
    card = json.loads((command_line.Path(trained) / "checkpoint.json").read_text("utf-8"))["card"]
    assert card["pairs"] == 2
    assert card["data"] == "pairs.tsv"
    assert card["training"]["epochs"] == 150
    assert card["validation"]["valid_loss"] < 1


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        (["translate", "hello"], "en_de_small"),
        (["translate", "hello", "--model", "mine"], "mine"),
        (["evaluate"], "en_de_small"),
        (["evaluate", "--preset", "multi30k-tiny"], "multi30k_tiny"),
        (["evaluate", "--preset", "multi30k-tiny", "--model", "mine"], "mine"),
    ],
)
def test_a_model_of_the_course_translates_unless_another_is_named(arguments, model, monkeypatch):
    asked_for = []

    def remember(name):
        asked_for.append(name)
        raise ValueError("enough")

    monkeypatch.setattr(command_line, "Translator", remember)
    for name, preset in command_line.PRESETS.items():
        silent = dataclasses.replace(preset, load=lambda split: [])
        monkeypatch.setitem(command_line.PRESETS, name, silent)
    assert command_line.main(arguments) == 1
    assert asked_for == [model]


@pytest.mark.parametrize("command", ["translate", "evaluate"])
def test_help_says_which_models_there_are(command, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "course_models", lambda: ["large", "small"])
    with pytest.raises(SystemExit, match="0"):
        command_line.main([command, "--help"])
    assert "large, small" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["translate", "train", "evaluate"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        command_line.main([command, "--help"])
    assert "usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["translate", "--model", "no_such_model", "hello"], "come with the course: "),
        (["translate", "--model", "no_such_model", "hello"], "no_such_model"),
        (["evaluate", "--model", "x", "--data", "no_such_file.tsv"], "no_such_file.tsv"),
        (["train", "--out", "x", "--train", "no_such_file.tsv"], "no_such_file.tsv"),
        (["evaluate", "--model", "x", "--split", "nonsense"], "got 'nonsense'"),
    ],
)
def test_an_error_is_one_line_and_exit_code_1(arguments, message, capsys):
    assert command_line.main(arguments) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_option_is_exit_code_2():
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["train", "--preset", "huge", "--out", "x"])


def test_control_c_is_no_traceback(monkeypatch, capsys):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "Translator", interrupted)
    assert command_line.main(["translate", "--model", "x", "hello"]) == 130
    assert capsys.readouterr().err == "stopped\n"
