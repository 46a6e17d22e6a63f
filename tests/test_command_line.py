"""`python -m transformer_lib`: a tiny training, then its model translates and is scored."""

import dataclasses
import io
import json
import os
import subprocess
import sys

import pytest
import torch
from torch import distributed

from transformer_lib import Transformer
from transformer_lib import __main__ as command_line
from transformer_lib.checkpoint import load_checkpoint, weights
from transformer_lib.data import Pair
from transformer_lib.presets import PRESETS
from transformer_lib.training import TrainingConfig, average_checkpoints

PAIRS = [("a cat sleeps .", "eine Katze schläft ."), ("a dog sleeps .", "ein Hund schläft .")]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "pairs.tsv"
    path.write_text("".join(f"{src}\t{tgt}\n" for src, tgt in PAIRS), encoding="utf-8")
    return str(path)


SMALL = {
    "model": {"d_model": 14, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 1}
    | {"d_ff": 31, "dropout": 0.0, "max_len": 61},
    "training": TrainingConfig(epochs=150, warmup=20, factor=1.0, keep=1, precision="float32"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, pairs):
    """Train a model of a few numbers until it knows both sentences by heart."""
    out = str(tmp_path_factory.mktemp("model"))
    preset = dataclasses.replace(PRESETS["en_de_small"], **SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "en_de_small", preset)
        assert command_line.main(["train", "--out", out, "--train", pairs, "--valid", pairs]) == 0
    return out


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


ORDINARY = [("A cat sleeps.", "Eine Katze schläft."), ("A dog sleeps.", "Ein Hund schläft, oder?")]
CUT = [("a cat sleeps .", "eine katze schläft ."), ("a dog sleeps .", "ein hund schläft , oder ?")]


@pytest.fixture(scope="module")
def captions(tmp_path_factory):
    """Train a model like that of Multi30k, on two captions that stand for each split."""
    preset = dataclasses.replace(
        PRESETS["multi30k_tiny"],
        load=lambda split: [Pair(*sides) for sides in CUT],
        ordinary=lambda split: [Pair(*sides) for sides in ORDINARY],
        joint_bpe=60,
        again=None,
        **SMALL,
    )
    out = str(tmp_path_factory.mktemp("captions"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "multi30k_tiny", preset)
        assert command_line.main(["train", "--preset", "multi30k_tiny", "--out", out]) == 0
        yield out


def test_a_model_of_captions_reads_and_writes_ordinary_text(captions, tmp_path, capsys):
    assert load_checkpoint(captions).casing == {"hund": "Hund", "katze": "Katze"}
    capsys.readouterr()
    assert command_line.main(["translate", "--model", captions, *(src for src, _ in ORDINARY)]) == 0
    assert capsys.readouterr().out.splitlines() == [tgt for _, tgt in ORDINARY]

    evaluate = ["evaluate", "--preset", "multi30k_tiny", "--model", captions, "--split", "valid"]
    assert command_line.main(evaluate) == 0
    published, cut, _, ordinary, whole = capsys.readouterr().out.splitlines()
    assert published == ordinary == "2 pairs, exact match 100.0%, BLEU 100.00"
    assert ("tok:none" in cut, "tok:13a" in whole) == (True, True)

    own = tmp_path / "own.tsv"
    own.write_text("A dog sleeps.\tEin Hund schläft, oder?\n", encoding="utf-8")
    assert command_line.main(["evaluate", "--model", captions, "--data", str(own)]) == 0
    assert capsys.readouterr().out.startswith("1 pairs, exact match 100.0%, BLEU 100.00\n")


def test_ones_own_pairs_have_no_casing(captions, pairs, tmp_path):
    arguments = ["--preset", "multi30k_tiny", "--train", pairs, "--epochs", "1"]  # a small one
    assert command_line.main(["train", "--out", str(tmp_path / "own"), *arguments]) == 0
    assert load_checkpoint(tmp_path / "own").casing is None


def test_a_second_training_begins_with_the_mean_of_the_first(pairs, tmp_path, monkeypatch):
    first = dataclasses.replace(SMALL["training"], epochs=5, keep=3, seed=1)
    # The second one's rate moves hardly anything.
    again = TrainingConfig(epochs=2, factor=1e-9, keep=2, precision="float32", seed=7)
    stages = {"training": first, "again": again}
    preset = dataclasses.replace(PRESETS["en_de_small"], **SMALL | stages)
    monkeypatch.setitem(PRESETS, "en_de_small", preset)
    arguments = ["train", "--train", pairs, "--seed", "3", "--out", str(tmp_path)]
    assert command_line.main(arguments) == 0
    loaded = load_checkpoint(tmp_path)
    mean = average_checkpoints(sorted((tmp_path / "training").glob("epoch-*.safetensors")))
    for name, tensor in weights(loaded.model).items():
        torch.testing.assert_close(tensor, mean[name], rtol=0, atol=1e-6)
    assert [loaded.card[stage]["epochs"] for stage in stages] == [5, 2]
    assert [loaded.card[stage]["seed"] for stage in stages] == [4, 10]

    before = (tmp_path / "again" / "latest.safetensors").read_bytes()
    assert command_line.main(arguments) == 0  # both are finished, so nothing is trained
    assert (tmp_path / "again" / "latest.safetensors").read_bytes() == before
    for name, tensor in weights(load_checkpoint(tmp_path).model).items():
        assert torch.equal(tensor, weights(loaded.model)[name])

    once = [*arguments[:-1], str(tmp_path / "once"), "--epochs", "2"]
    assert command_line.main(once) == 0
    assert "again" not in load_checkpoint(tmp_path / "once").card


@pytest.mark.parametrize("command", ["translate", "evaluate"])
def test_beam_and_alpha_are_the_searchs(command, pairs, monkeypatch):
    asked_for = []

    class Remembers:
        casing = None

        def __init__(self, model):
            assert model == "en_de_small"

        def translate(self, text, beam, alpha, **kwargs):
            asked_for.append((beam, alpha))
            return text

    monkeypatch.setattr(command_line, "Translator", Remembers)
    what = ["hello"] if command == "translate" else ["--data", pairs]
    for options in ([], ["--beam", "5", "--alpha", "1.2"]):
        assert command_line.main([command, *what, *options]) == 0
    assert asked_for == [(4, 0.6), (5, 1.2)]


def test_a_wrong_length_penalty_is_one_line(trained, capsys):
    assert command_line.main(["translate", "--model", trained, "--alpha", "-1", "a dog"]) == 1
    assert "alpha at least 0, got 4 and -1.0\n" in capsys.readouterr().err


def test_the_group_of_processes_is_left_at_the_end(tmp_path, monkeypatch):
    """A group of this process alone: what torchrun makes, without torchrun."""

    def join():
        store = (tmp_path / "store").as_uri()
        distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
        raise ValueError("enough")

    monkeypatch.setattr(command_line, "join_processes", join)
    monkeypatch.setattr(command_line, "load_tsv", lambda path: [Pair("a", "b")])
    assert command_line.main(["train", "--train", "x", "--out", str(tmp_path)]) == 1
    assert not distributed.is_initialized()


def test_a_gpu_of_its_own_is_chosen_before_the_model_moves(tmp_path, monkeypatch):
    """Where there are GPUs: "meta" stands for them, as it holds no numbers."""
    order = []

    def to(model, device):
        order.append(device)
        raise ValueError("enough")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(command_line, "join_processes", lambda: order.append("join") or (0, 1))
    monkeypatch.setattr(Transformer, "to", to)
    monkeypatch.setattr(command_line, "load_tsv", lambda path: [Pair("a", "b")])
    assert command_line.main(["train", "--train", "x", "--out", str(tmp_path)]) == 1
    assert order == ["join", "cuda"]


@pytest.mark.slow
def test_torchrun_starts_two_processes_that_train_one_model(pairs, tmp_path):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    train = ["-m", "transformer_lib", "train", "--train", pairs, "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [*run, *train, "--epochs", "2"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == f"saved in {tmp_path / 'out'}\n"  # one process says so
    assert "epoch 2/2" in ended.stderr
    assert "arning" not in ended.stderr
    assert load_checkpoint(tmp_path / "out").card["training"]["epochs"] == 2


def test_the_card_says_how_the_model_was_made(trained):
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
        (["evaluate", "--preset", "multi30k_tiny"], "multi30k_tiny"),
        (["evaluate", "--preset", "multi30k-tiny"], "multi30k_tiny"),
        (["evaluate", "--preset", "multi30k_tiny", "--model", "mine"], "mine"),
    ],
)
def test_a_model_of_the_course_translates_unless_another_is_named(arguments, model, monkeypatch):
    asked_for = []

    def remember(name):
        asked_for.append(name)
        raise ValueError("enough")

    monkeypatch.setattr(command_line, "Translator", remember)
    for name, preset in PRESETS.items():
        silent = dataclasses.replace(preset, load=lambda split: [])
        monkeypatch.setitem(PRESETS, name, silent)
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


@pytest.mark.parametrize("side", ["--train", "--valid"])
def test_a_pair_too_long_for_the_model_is_named_before_training(side, pairs, tmp_path, capsys):
    long, out = tmp_path / "long.tsv", tmp_path / "out"
    long.write_text("a\tb\n" + "c " * 300 + "\td\n", encoding="utf-8")
    files = {"--train": pairs, "--valid": pairs, side: long}
    options = [str(part) for item in files.items() for part in item]
    assert command_line.main(["train", "--epochs", "1", "--out", str(out), *options]) == 1
    error = capsys.readouterr().err
    assert "pair 1 ('c c" in error
    assert "max_len=256" in error
    assert not out.exists()


def test_an_unknown_option_is_exit_code_2():
    with pytest.raises(SystemExit, match="2"):
        command_line.main(["train", "--preset", "huge", "--out", "x"])


def test_control_c_is_no_traceback(monkeypatch, capsys):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "Translator", interrupted)
    assert command_line.main(["translate", "--model", "x", "hello"]) == 130
    assert capsys.readouterr().err == "stopped\n"
