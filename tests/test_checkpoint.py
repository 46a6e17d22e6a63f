"""What is saved comes back, and what was tampered with does not come in."""

import copy
import hashlib
import json
import os
import pickle
import re
import struct
from dataclasses import asdict
from pathlib import Path

import pytest
import safetensors.torch
import torch

from transformer_lib import Transformer, TransformerConfig, checkpoint
from transformer_lib.checkpoint import (
    course_models,
    load_checkpoint,
    load_training,
    load_weights,
    read_tensors,
    save_checkpoint,
    save_training,
    save_weights,
    weights,
    write_tensors,
)
from transformer_lib.data import SPECIAL_TOKENS, BPEVocabulary, Vocabulary

V_SRC, V_TGT = 17, 19
TYINGS = pytest.mark.parametrize("share_embeddings", [False, "target", True])


SOURCE = Vocabulary([*SPECIAL_TOKENS, *(f"word{n}" for n in range(V_SRC - 4))])
TARGET = BPEVocabulary([*SPECIAL_TOKENS, "Ö", "l", "Öl", *"abcdefghijkm"], [("Ö", "l")])
CASING = {"öl": "Öl", "b öl": "öl"}
CARD = {"data": "en_de", "figures": {"exact": 0.99}, "by": ["ä", None]}


def tiny(**changes):
    sizes = {"d_model": 14, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 2}
    sizes |= {"d_ff": 11, "max_len": 23, "dropout": 0.3, **changes}
    source = V_TGT if changes.get("share_embeddings") is True else V_SRC
    return Transformer(TransformerConfig(source, V_TGT, **sizes))


def sentences():
    return torch.randint(1, V_SRC, (3, 5)), torch.randint(1, V_TGT, (3, 7))


# --- There and back -------------------------------------------------------------------


@TYINGS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_saved_comes_back(tmp_path, randomise, share_embeddings, dtype):
    model = randomise(tiny(share_embeddings=share_embeddings)).to(dtype)
    source = TARGET if share_embeddings is True else SOURCE
    save_checkpoint(tmp_path / "a" / "b", model, source, TARGET, CARD, CASING)
    before = torch.get_rng_state()
    loaded, src_vocabulary, tgt_vocabulary, card, casing = load_checkpoint(tmp_path / "a" / "b")
    assert torch.equal(torch.get_rng_state(), before)

    assert loaded.config == model.config
    assert not any(module.training for module in loaded.modules())
    ours, theirs = loaded.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(ours[k].dtype == dtype and torch.equal(ours[k], theirs[k]) for k in theirs)
    src, tgt = sentences()
    assert torch.equal(loaded(src, tgt), model.eval()(src, tgt))
    assert all(parameter.requires_grad for parameter in loaded.parameters())

    assert (card, casing) == (CARD, CASING)
    for found, expected in ((src_vocabulary, source), (tgt_vocabulary, TARGET)):
        assert found.to_dict() == expected.to_dict()
    assert (type(src_vocabulary), type(tgt_vocabulary)) == (type(source), BPEVocabulary)
    assert (src_vocabulary is tgt_vocabulary) == (share_embeddings is True)


@TYINGS
def test_tied_weights_are_saved_once_and_tied_when_loaded(tmp_path, share_embeddings):
    model = tiny(share_embeddings=share_embeddings)
    source = TARGET if share_embeddings is True else SOURCE
    save_checkpoint(tmp_path, model, source, TARGET)
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert sum(tensor.numel() for tensor in saved.values()) == numbers
    loaded = load_checkpoint(tmp_path)[0]
    assert sum(parameter.numel() for parameter in loaded.parameters()) == numbers
    target = loaded.tgt_embedding.weight
    assert (loaded.output.weight.data_ptr() == target.data_ptr()) == bool(share_embeddings)
    assert (loaded.src_embedding.weight is target) == (share_embeddings is True)
    with torch.no_grad():
        target[3] += 1
    assert torch.equal(loaded.output.weight[3], target[3]) == bool(share_embeddings)


def test_a_checkpoint_is_two_files_that_people_can_read(tmp_path):
    save_checkpoint(tmp_path, tiny(), SOURCE, TARGET, CARD)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.json", "model.safetensors"]
    text = (tmp_path / "checkpoint.json").read_text("utf-8")
    assert "Öl" in text
    assert '"figures": {\n' in text
    assert json.loads(text)["version"] == 1
    assert load_checkpoint(tmp_path)[3] == CARD
    save_checkpoint(tmp_path, tiny(), SOURCE, TARGET)
    assert load_checkpoint(tmp_path)[3:] == ({}, None)
    change_json(tmp_path, casing=...)  # as files were before there was casing
    assert load_checkpoint(tmp_path).casing is None


@pytest.mark.parametrize("number", [1, 2])
def test_saving_that_is_cut_short_leaves_no_wrong_checkpoint(tmp_path, monkeypatch, number):
    old, new = tiny(), tiny()
    save_checkpoint(tmp_path, old, SOURCE, TARGET)
    calls, replace = [], os.replace

    def cut(*paths):
        calls.append(paths)
        if len(calls) == number:
            raise KeyboardInterrupt
        replace(*paths)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, new, SOURCE, TARGET)
    if number == 1:  # nothing was replaced yet
        assert torch.equal(load_checkpoint(tmp_path)[0].output.weight, old.output.weight)
    else:
        with pytest.raises(ValueError, match=r"not the file that checkpoint\.json was saved with"):
            load_checkpoint(tmp_path)


def test_half_a_file_is_never_in_the_right_place(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": torch.arange(5)}, {"step": 1})

    def full(descriptor):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_tensors(path, {"x": torch.arange(7)}, {"step": 2})
    assert read_tensors(path)[1] == {"step": 1}


# --- Models by name -------------------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course that comes with two models, and a working directory elsewhere."""
    for name in ("small", "large"):
        save_checkpoint(tmp_path / "data/checkpoints" / name, tiny(), SOURCE, TARGET, {"is": name})
    (tmp_path / "data/checkpoints/no_model").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setattr(checkpoint, "data_folder", lambda: tmp_path / "data")


def test_a_model_of_the_course_is_loaded_by_its_name(course):
    assert course_models() == ["large", "small"]
    assert [load_checkpoint(name)[3] for name in course_models()] == [
        {"is": "large"},
        {"is": "small"},
    ]


def test_a_folder_of_a_models_name_is_meant_where_a_path_is_given(course):
    save_checkpoint("small", tiny(), SOURCE, TARGET, {"is": "mine"})
    save_checkpoint("own", tiny(), SOURCE, TARGET, {"is": "own"})
    assert load_checkpoint("small")[3] == {"is": "small"}
    for path in ("./small", "small/", Path("small"), Path("small").absolute()):
        assert load_checkpoint(path)[3] == {"is": "mine"}
    assert load_checkpoint("own")[3] == {"is": "own"}  # no name of the course's: a path


@pytest.mark.parametrize("wrong", ["smal", "no_model", "./small", "", "large/checkpoint.json", "."])
def test_an_unknown_name_is_told_which_there_are(course, wrong):
    path = re.escape(str(Path(wrong, "checkpoint.json")))
    with pytest.raises(FileNotFoundError, match=f"no file {path}.* the course: large, small$"):
        load_checkpoint(wrong)


@pytest.mark.parametrize("name", course_models())
def test_the_models_of_the_course_can_be_loaded(name):
    model, *_ = load_checkpoint(name)
    assert all(parameter.isfinite().all() for parameter in model.parameters())


# --- What cannot be saved -------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (TARGET, TARGET, "src vocabulary has 19 tokens, but the model's src_vocab_size is 17"),
        (SOURCE, SOURCE, "tgt vocabulary has 17 tokens, but the model's tgt_vocab_size is 19"),
    ],
)
def test_vocabularies_must_fit_the_model(tmp_path, source, target, message):
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path, tiny(), source, target)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("card", [{"loss": float("nan")}, {"made": object()}, {"of": "\udce9"}])
def test_the_card_must_be_json(tmp_path, card):
    with pytest.raises(ValueError, match="JSON cannot hold the card or a vocabulary"):
        save_checkpoint(tmp_path, tiny(), SOURCE, TARGET, card)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("changes", "card", "message"),
    [
        ({}, ["a list"], r"the card must be a dictionary, got \['a list'\]"),
        ({"max_len": 100_001}, {}, "max_len=100,?001 is above 100,000"),
        ({"norm_first": 1}, {}, "norm_first=1.* of the wrong type"),
    ],
)
def test_what_could_not_be_loaded_is_not_saved(tmp_path, changes, card, message):
    with pytest.raises(ValueError, match=message):
        save_checkpoint(tmp_path, tiny(**changes), SOURCE, TARGET, card)
    assert os.listdir(tmp_path) == []


def test_casing_must_be_a_table_of_casing(tmp_path):
    for casing, message in (({"öl": "Gas"}, "'Gas' is not 'öl' in"), ([], "must be a dictionary")):
        with pytest.raises(ValueError, match=message):
            save_checkpoint(tmp_path, tiny(), SOURCE, TARGET, CARD, casing)
    assert os.listdir(tmp_path) == []


def test_weights_must_be_of_one_known_dtype(tmp_path):
    mixed = tiny()
    mixed.output.half()
    for model, found in ((tiny().double(), r"\['float64'\]"), (mixed, r"\['float16', 'float32'\]")):
        with pytest.raises(ValueError, match=f"float32, float16, bfloat16; got {found}"):
            save_checkpoint(tmp_path, model, SOURCE, TARGET)


# --- Damaged, foreign and malicious checkpoints ---------------------------------------


@pytest.fixture
def folder(tmp_path):
    save_checkpoint(tmp_path, tiny(), SOURCE, TARGET, CARD)
    return tmp_path


def change_json(folder, **changes):
    """Change entries of the JSON; `config__d_ff` is one of the config."""
    path = folder / "checkpoint.json"
    description = json.loads(path.read_text("utf-8"))
    for name, value in changes.items():
        part = description["config"] if name.startswith("config__") else description
        name = name.removeprefix("config__")
        if value is ...:
            del part[name]
        else:
            part[name] = value
    path.write_text(json.dumps(description), "utf-8")


def change_weights(folder, data):
    """Put other weights in, with the right checksum."""
    (folder / "model.safetensors").write_bytes(data)
    change_json(folder, weights_sha256=hashlib.sha256(data).hexdigest())


def refuse(folder, file, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(folder)
    assert str(caught.value).startswith(f"{folder / file}: ")


@pytest.mark.parametrize("file", ["checkpoint.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        load_checkpoint(folder)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("checkpoint.json", "damaged, or no JSON"),
        ("model.safetensors", "damaged, or no safetensors file"),
    ],
)
def test_a_truncated_file_is_refused(folder, file, message, part):
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[: int(part * len(data))])
    refuse(folder, file, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe\xfd", "damaged, or no JSON"),
        (b"[" * 200_000, "damaged, or no JSON"),
        (b"[1, 2]", "not a JSON object"),
        (b"{}", "not written by transformer_lib"),
        (b'{"format": "pt", "version": 1}', "not written by transformer_lib"),
        (b'{"d_model": 512, "num_heads": 8}', "not written by transformer_lib"),
        (b'{"format": "transformer_lib checkpoint", "version": 1, "card": {}}',
         "config, dtype, weights_sha256, src_vocabulary, tgt_vocabulary missing"),
    ],
)  # fmt: skip
def test_foreign_json_is_refused(folder, text, message):
    (folder / "checkpoint.json").write_bytes(text)
    refuse(folder, "checkpoint.json", message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "format version 2, but this transformer_lib reads version 1"),
        ({"version": ...}, "format version None, but"),
        ({"config": ...}, "config missing"),
        ({"config": [1]}, "config must have exactly the entries src_vocab_size, tgt_vocab_size"),
        ({"config__d_ff": ...}, "config must have exactly the entries"),
        ({"config__extra": 1}, "config must have exactly the entries"),
        ({"config__d_ff": "11"}, "d_ff='11' in the config is of the wrong type"),
        ({"config__d_ff": 11.0}, "d_ff=11.0 in the config is of the wrong type"),
        ({"config__num_heads": True}, "num_heads=True in the config is of the wrong type"),
        ({"config__norm_first": 1}, "norm_first=1 in the config is of the wrong type"),
        ({"config__dropout": None}, "dropout=None in the config is of the wrong type"),
        ({"config__share_embeddings": 1}, "share_embeddings=1 in the config is of the wrong type"),
        ({"config__share_embeddings": "src"}, "share_embeddings must be False, True or 'target'"),
        ({"config__num_heads": 3}, "d_model=14 must be even and divisible by num_heads=3"),
        ({"config__max_len": 100_001}, "max_len=100001 is above 100,000"),
        ({"dtype": "float64"}, "unknown dtype 'float64'"),
        ({"dtype": ["float32"]}, r"unknown dtype \['float32'\]"),
        ({"card": "card"}, "the card is not an object"),
        ({"casing": "card"}, "a casing table must be a dictionary, got str"),
        ({"casing": {"hello": "<script>"}}, "'<script>' is not 'hello' in another case"),
        ({"casing": {"hello": {"a": 1}}}, "is not 'hello' in another case"),
        ({"casing": {"": "x" * 10**6}}, "'x{40}' is not '' in another case"),
        ({"src_vocabulary": None}, "damaged vocabulary: TypeError"),
        ({"src_vocabulary": {"class": "os.system", "content": "ls"}}, "damaged vocabulary: KeyE"),
        ({"tgt_vocabulary": {"class": "Vocabulary", "content": {}}}, "damaged vocabulary: TypeE"),
        ({"tgt_vocabulary": {"class": "Vocabulary", "content": {"tokens": [*SPECIAL_TOKENS, "a"]}}},
         "the tgt vocabulary has 5 tokens, but the model's tgt_vocab_size is 19"),
        ({"tgt_vocabulary": None}, "the tgt vocabulary has 17 tokens"),
    ],
)  # fmt: skip
def test_json_that_was_changed_is_refused(folder, changes, message):
    change_json(folder, **changes)
    refuse(folder, "checkpoint.json", message)


def test_very_large_json_is_refused_unread(folder):
    with open(folder / "checkpoint.json", "r+b") as file:
        file.truncate(10**8 + 1)  # takes no room on the disk
    refuse(folder, "checkpoint.json", "larger than 100,000,000 bytes")


@pytest.mark.parametrize(
    "changes",
    [
        {"config__d_ff": 13},
        {"config__d_model": 16},
        {"config__d_model": 2 * 10**6},  # would take terabytes
        {"config__d_ff": 10**30},
        {"config__src_vocab_size": 10**9},
        {"config__tgt_vocab_size": 10**9},
        {"config__num_encoder_layers": 10**9},
        {"config__num_decoder_layers": 1},
        {"config__share_embeddings": "target"},
        {"config__norm_first": True},
    ],
)
def test_a_config_of_other_sizes_is_refused_before_memory_is_taken(folder, changes, monkeypatch):
    change_json(folder, **changes)
    monkeypatch.setattr(checkpoint, "Transformer", None)  # it is not even tried
    refuse(folder, "model.safetensors", "holds 6,193 numbers, but a model of this config has ")


@TYINGS
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize(("encoders", "decoders"), [(1, 2), (3, 1)])
def test_weights_are_counted_without_building(share_embeddings, norm_first, encoders, decoders):
    model = tiny(
        share_embeddings=share_embeddings,
        norm_first=norm_first,
        num_encoder_layers=encoders,
        num_decoder_layers=decoders,
    )
    assert checkpoint._count(model.config) == sum(p.numel() for p in model.parameters())


def swapped(tensors):
    """One weight renamed, one of another shape: as many numbers as before."""
    renamed = {name.replace("output", "outptu"): tensor for name, tensor in tensors.items()}
    turned = {name: t.T.contiguous() if "output" in name else t for name, t in tensors.items()}
    return renamed, turned


def test_weights_of_other_names_shapes_and_dtypes_are_refused(folder):
    renamed, turned = swapped(read_tensors(folder / "model.safetensors")[0])
    change_weights(folder, checkpoint._to_bytes(renamed, {}))
    refuse(folder, "model.safetensors", r"1 missing tensors: 'output\.weight' …")
    change_weights(folder, checkpoint._to_bytes(turned, {}))
    shapes = r"output\.weight is \(\(14, 19\), torch.float32\), but the model's is \(\(19, 14\)"
    refuse(folder, "model.safetensors", shapes)
    save_checkpoint(folder, tiny(), SOURCE, TARGET)
    change_json(folder, dtype="float16")
    refuse(folder, "model.safetensors", "torch.float32.*, but the model's is .*torch.float16")


class Attack:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("made_by", ["pickle", "torch"])
def test_a_pickle_is_refused_and_not_executed(folder, tmp_path, made_by):
    trap = tmp_path / "trap"
    path = tmp_path / "pickled"
    if made_by == "pickle":
        path.write_bytes(pickle.dumps(Attack(trap)))
    else:
        torch.save({"weights": Attack(trap)}, path)
    change_weights(folder, path.read_bytes())
    refuse(folder, "model.safetensors", "damaged, or no safetensors file")
    for read in (read_tensors, lambda path: load_training(path, tiny(), None, {})):
        with pytest.raises(ValueError, match="damaged, or no safetensors file"):
            read(path)
    assert not trap.exists()


def as_safetensors(header, body=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


OURS = {"format": "transformer_lib checkpoint", "version": "1", "extra": "{}"}
FOUR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<Q", 2**63) + b"{}", "damaged, or no safetensors file"),
        (as_safetensors({"x": {**FOUR, "shape": [2**40]}}, b"1234"), "damaged, or no safetensors"),
        (as_safetensors({"x": {**FOUR, "data_offsets": [0, 2**50]}}, b"1234"), "damaged, or no"),
        (as_safetensors({"x": {**FOUR, "dtype": "F99"}}, b"1234"), "damaged, or no safetensors"),
        (as_safetensors({}), "not written by transformer_lib"),
        (as_safetensors({"__metadata__": {"format": "pt"}, "x": FOUR}, b"1234"), "not written by"),
        (as_safetensors({"__metadata__": {**OURS, "version": "3"}}), "format version '3'"),
        (as_safetensors({"__metadata__": {**OURS, "extra": "{"}}), "damaged metadata"),
        (as_safetensors({"__metadata__": {**OURS, "extra": "[" * 200_000}}), "damaged metadata"),
        (as_safetensors({"__metadata__": OURS}), "holds 0 numbers, but"),
    ],
)
def test_malicious_weights_are_refused(folder, data, message):
    change_weights(folder, data)
    refuse(folder, "model.safetensors", message)


def test_each_changed_byte_is_noticed(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-7] ^= 1  # the lowest bits of one weight
    path.write_bytes(data)
    refuse(folder, "model.safetensors", "not the file that checkpoint.json was saved with")


def test_names_cannot_lead_out_of_the_folder(folder):
    tensors = read_tensors(folder / "model.safetensors")[0]
    tensors["../../escape"] = tensors.pop("output.weight")
    change_weights(folder, checkpoint._to_bytes(tensors, {}))
    before = set(folder.parent.rglob("*"))
    refuse(folder, "model.safetensors", "1 missing tensors: 'output.weight'")
    assert set(folder.parent.rglob("*")) == before


# --- Weights --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("output.weight"), "^a file: 1 missing tensors: 'output.weight' …"),
        (lambda t: t.update(more=t["output.weight"]), "^a file: 1 unknown tensors: 'more' …"),
        (lambda t: t.update({"output.weight": torch.zeros(V_TGT, 13)}),
         r"output.weight is \(\(19, 13\), torch.float32\), but the model's is \(\(19, 14\), torch"),
        (lambda t: t.update({"output.weight": torch.zeros(V_TGT, 14).half()}),
         "output.weight is .*torch.float16.*, but the model's is .*torch.float32"),
    ],
)  # fmt: skip
def test_weights_that_do_not_fit_change_nothing(change, message):
    model, other = tiny(), tiny()
    tensors = {name: tensor.clone() for name, tensor in weights(other).items()}
    change(tensors)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=message):
        load_weights(model, tensors, "a file")
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    with pytest.raises(ValueError, match=r"^(1 missing|1 unknown|output\.weight is)"):
        load_weights(model, tensors)


def test_a_weight_that_is_a_view_is_saved_as_it_looks(tmp_path):
    turned = torch.arange(6.0).view(2, 3).T
    write_tensors(tmp_path / "a", {"x": turned, "half": turned[1:]}, {"é": [1.5, None]})
    tensors, extra = read_tensors(tmp_path / "a")
    assert torch.equal(tensors["x"], turned)
    assert torch.equal(tensors["half"], turned[1:])
    assert extra == {"é": [1.5, None]}


def test_only_the_last_epochs_weights_are_kept(tmp_path):
    (tmp_path / "other.safetensors").touch()
    for epoch in (8, 9, 10, 11):
        save_weights(tmp_path, tiny(), epoch, keep=2)
    names = ["epoch-0010.safetensors", "epoch-0011.safetensors", "other.safetensors"]
    assert sorted(os.listdir(tmp_path)) == names
    save_weights(tmp_path, tiny(), 1, keep=2)  # begun again: those were another training's
    assert sorted(os.listdir(tmp_path)) == ["epoch-0001.safetensors", "other.safetensors"]


# --- Trainings ------------------------------------------------------------------------


def trained(**changes):
    model = tiny(**changes)
    adam = torch.optim.Adam(model.parameters(), lr=0.01, fused=True)
    for _ in range(2):
        model(*sentences()).square().sum().backward()
        adam.step()
    return model, adam


def test_a_training_with_frozen_weights_comes_back(tmp_path):
    model = tiny()
    model.src_embedding.requires_grad_(False)
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    model(*sentences()).square().sum().backward()
    adam.step()
    save_training(tmp_path / "state", model, adam, {"config": {}})
    again = tiny()
    again.src_embedding.requires_grad_(False)
    adam = torch.optim.Adam(again.parameters())
    load_training(tmp_path / "state", again, adam, {})
    assert len(adam.state) == len(list(again.parameters())) - 1


@pytest.mark.parametrize("share_embeddings", [False, "target"])
def test_a_training_comes_back_with_its_optimizer(tmp_path, share_embeddings):
    model, adam = trained(share_embeddings=share_embeddings)
    state = {"config": {"seed": 3}, "step": 2, "history": [{"loss": 0.1}]}
    save_training(tmp_path / "state", model, adam, state)
    other, its_adam = trained(share_embeddings=share_embeddings)
    assert load_training(tmp_path / "state", other, its_adam, {"seed": 3}) == state
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
        states = adam.state[one], its_adam.state[two]
        assert all(state.keys() == {"step", "exp_avg", "exp_avg_sq"} for state in states)
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert states[1]["exp_avg"].any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"optimizer.output.weight.exp_avg": None}, "state of output.weight: .'exp_avg_sq', 'st"),
        ({"optimizer.output.weight.exp_avg": torch.zeros(3)}, "not Adam's state of output.weight"),
        ({"optimizer.output.weight.momentum": torch.zeros(V_TGT, 14)}, "not Adam's state of outpu"),
        ({"model.output.weight": torch.zeros(V_TGT, 13)}, "output.weight is .*, but the model's"),
        ({"model.output.weight": None}, "1 missing tensors: 'output.weight'"),
    ],
)
def test_a_state_of_something_else_is_refused(tmp_path, changed, message):
    path = tmp_path / "state"
    model, adam = trained()
    save_training(path, model, adam, {"config": {}})
    tensors = {**read_tensors(path)[0], **changed}
    write_tensors(path, {k: v for k, v in tensors.items() if v is not None}, {"config": {}})
    with pytest.raises(ValueError, match=f"^{path}: .*{message}"):
        load_training(path, model, adam, {})


def test_a_training_with_another_config_changes_nothing(tmp_path):
    save_training(tmp_path / "state", *trained(), {"config": {"seed": 3}})
    model, adam = trained()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"state: of another training: seed=3, not 5\. Name"):
        load_training(tmp_path / "state", model, adam, {"seed": 5})
    assert all(torch.equal(before[name], now) for name, now in model.state_dict().items())
    write_tensors(tmp_path / "state", weights(model), {})
    with pytest.raises(ValueError, match=r"state: not the state of a training"):
        load_training(tmp_path / "state", model, adam, {})


def test_the_config_that_is_saved_has_the_types_that_are_checked():
    kinds = {name: type(value) for name, value in asdict(tiny().config).items()}
    assert set(kinds.values()) == {int, float, bool}
