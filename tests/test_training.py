"""The schedule, the loss, and a loop that may be accumulated, shared, killed and resumed."""

import contextlib
import copy
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import transformer_lib
from transformer_lib import Transformer, TransformerConfig, training
from transformer_lib.checkpoint import load_weights, read_tensors, weights
from transformer_lib.data import Batches, Pair, Vocabulary
from transformer_lib.training import (
    TokenLoss,
    TrainingConfig,
    accumulate_gradients,
    arithmetic,
    average_checkpoints,
    join_processes,
    label_smoothed_loss,
    mean_loss,
    train,
    warmup_schedule,
)

PAD, V_SRC, V_TGT, D = 0, 17, 19, 14
CPU = torch.device("cpu")


def tiny(dropout=0.0, **changes):
    torch.manual_seed(3)
    sizes = {"d_model": D, "num_heads": 2, "num_encoder_layers": 1, "num_decoder_layers": 2}
    sizes |= {"d_ff": 11, "max_len": 23, "dropout": dropout, **changes}
    return Transformer(TransformerConfig(V_SRC, V_TGT, **sizes))


def batch(rows, generator):
    """Sentences of random words and lengths, right-padded; <s> is 1 and </s> is 2."""
    sides = []
    for size, first in ((V_SRC, []), (V_TGT, [1])):
        words = [
            torch.randint(3, size, (int(n),), generator=generator).tolist()
            for n in torch.randint(1, 8, (rows,), generator=generator)
        ]
        longest = max(map(len, words))
        lines = [first + line + [2] + [PAD] * (longest - len(line)) for line in words]
        sides.append(torch.tensor(lines))
    return tuple(sides)


def some_batches(epoch):
    """Seven batches of 1 to 5 sentences."""
    generator = torch.Generator().manual_seed(epoch)
    return [batch(rows, generator) for rows in (3, 5, 1, 4, 2, 5, 3)]


def joined(batches):
    """Make one batch of several."""
    sides = []
    for side in zip(*batches, strict=True):
        width = max(part.size(1) for part in side)
        sides.append(torch.cat([F.pad(p, (0, width - p.size(1)), value=PAD) for p in side]))
    return tuple(sides)


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def settings(**changes):
    few = {"epochs": 2, "warmup": 5, "precision": "float32", "save_every": 3, "keep": 2}
    return TrainingConfig(**{**few, **changes})


# --- The schedule ---------------------------------------------------------------------


# Equation 3, worked out with a pocket calculator: √512 = 22.627417, √4000 = 63.245553.
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (1, 1 / 22.627417 / 252982.2128),  # 4000^1.5 = 252982.2128
        (1000, 1000 / 22.627417 / 252982.2128),
        (4000, 1 / 22.627417 / 63.245553),
        (16000, 1 / 22.627417 / 126.491106),
        (100_000, 1 / 22.627417 / 316.227766),
    ],
)
def test_the_schedule_is_the_papers(step, expected):
    assert warmup_schedule(step, 512) == pytest.approx(expected, rel=1e-7)


@given(st.integers(1, 997), st.integers(1, 499), st.integers(1, 1009))
def test_the_schedule_rises_in_a_line_to_its_peak_and_falls(warmup, step, d_model):
    rates = [warmup_schedule(s, d_model, warmup) for s in (step, step + 1)]
    if step < warmup:
        assert rates[1] / rates[0] == pytest.approx((step + 1) / step)
    else:
        assert rates[1] / rates[0] == pytest.approx(math.sqrt(step / (step + 1)))
    peak = warmup_schedule(warmup, d_model, warmup)
    assert peak == pytest.approx(1 / math.sqrt(d_model * warmup))


def test_the_schedule_takes_a_factor():
    assert warmup_schedule(7, 13, 5, factor=2.5) == 2.5 * warmup_schedule(7, 13, 5)


@pytest.mark.parametrize(("step", "warmup"), [(0, 7), (-3, 7), (1, 0)])
def test_steps_count_from_one(step, warmup):
    with pytest.raises(ValueError, match=f"count from 1, got step={step} and warmup={warmup}"):
        warmup_schedule(step, 512, warmup)


# --- The loss -------------------------------------------------------------------------


def labels_and_logits():
    labels = torch.tensor([[4, 6, 2, PAD, PAD], [1, 2, PAD, PAD, PAD], [5, 3, 3, 6, 2]])
    return torch.randn(3, 5, 7), labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.37])
def test_the_loss_is_cross_entropy_against_softened_labels(smoothing):
    logits, labels = labels_and_logits()
    terms = []
    for sentence, right in zip(logits, labels, strict=True):
        for scores, label in zip(sentence, right, strict=True):
            if label != PAD:
                target = torch.full((7,), smoothing / 7)
                target[label] += 1 - smoothing
                terms.append(-(target * scores.log_softmax(-1)).sum())
    total = torch.stack(terms)
    torch.testing.assert_close(label_smoothed_loss(logits, labels, smoothing), total.mean())
    summed = label_smoothed_loss(logits, labels, smoothing, reduction="sum")
    torch.testing.assert_close(summed, total.sum())


def test_a_tenth_is_smoothed_by_default():
    logits, labels = labels_and_logits()
    assert label_smoothed_loss(logits, labels) == label_smoothed_loss(logits, labels, 0.1)
    assert label_smoothed_loss(logits, labels) != label_smoothed_loss(logits, labels, 0.0)


@pytest.mark.parametrize("pad_id", [0, 6])
def test_more_padding_does_not_change_the_loss(pad_id):
    logits, labels = labels_and_logits()
    labels = torch.where(labels == PAD, pad_id, labels)
    longer = F.pad(labels, (0, 4), value=pad_id)
    more = torch.cat([logits, 100 * torch.randn(3, 4, 7)], dim=1)
    expected = label_smoothed_loss(logits, labels, pad_id=pad_id)
    torch.testing.assert_close(label_smoothed_loss(more, longer, pad_id=pad_id), expected)


def test_logits_at_padding_get_no_gradient():
    logits, labels = labels_and_logits()
    logits.requires_grad_()
    label_smoothed_loss(logits, labels).backward()
    touched = (logits.grad != 0).any(dim=-1)
    assert torch.equal(touched, labels != PAD)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_of_a_sure_model_is_finite(dtype):
    logits = torch.full((2, 3, 7), -3e4, dtype=dtype)
    logits[..., 5] = 3e4
    labels = torch.tensor([[5, 4, PAD], [5, 5, 1]])
    assert label_smoothed_loss(logits, labels).isfinite()


def test_the_loss_of_nothing_is_an_error_as_a_mean_and_zero_as_a_sum():
    logits, labels = torch.randn(2, 3, 7), torch.full((2, 3), PAD)
    with pytest.raises(ValueError, match="no real position: all 6 labels are padding"):
        label_smoothed_loss(logits, labels)
    assert label_smoothed_loss(logits, labels, reduction="sum") == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_models_loss_is_that_of_its_logits_one_token_ahead(smoothing):
    model, (src, tgt) = tiny(), some_batches(0)[1]
    logits = model(src, tgt[:, :-1])
    expected = label_smoothed_loss(logits, tgt[:, 1:], smoothing, reduction="sum")
    torch.testing.assert_close(TokenLoss(model, smoothing)(src, tgt), expected)


def test_the_output_layer_sees_real_positions_only():
    model, (src, tgt) = tiny(), some_batches(0)[1]
    seen = []
    model.output.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
    TokenLoss(model)(src, tgt)
    real = int((tgt[:, 1:] != PAD).sum())
    assert seen == [(real, V_TGT)]
    assert real < tgt[:, 1:].numel()


def test_the_slices_of_the_output_layer_make_no_difference():
    model, rows = tiny(), 131  # 131 sentences of 8 real target tokens: more than two slices
    src, tgt = torch.randint(3, V_SRC, (rows, 5)), torch.randint(3, V_TGT, (rows, 9))
    sizes = []
    hook = model.output.register_forward_hook(
        lambda layer, inputs, output: sizes.append(len(output))
    )
    loss = TokenLoss(model, 0.1)(src, tgt)
    loss.backward()
    hook.remove()
    assert len(sizes) > 2
    assert sum(sizes) == rows * 8
    sliced = gradients(model)
    model.zero_grad()
    expected = label_smoothed_loss(model(src, tgt[:, :-1]), tgt[:, 1:], 0.1, reduction="sum")
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(sliced, gradients(model), rtol=1e-4, atol=1e-4)


def test_a_model_that_knows_nothing_loses_ln_v_per_token():
    model = tiny()
    nn.init.zeros_(model.output.weight)
    assert mean_loss(model, some_batches(0)) == pytest.approx(math.log(V_TGT))


def test_the_mean_loss_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="no batches to measure the loss on"):
        mean_loss(tiny(), [])


@pytest.mark.parametrize("mode", [True, False])
def test_the_mean_loss_is_per_token_without_dropout_and_gradient(mode):
    model, batches = tiny(dropout=0.5).train(mode), some_batches(0)
    tokens = sum(int((tgt[:, 1:] != PAD).sum()) for _, tgt in batches)
    measured = mean_loss(model, batches, smoothing=0.2)
    assert [module.training for module in model.modules()] == [mode] * len(list(model.modules()))
    assert all(parameter.grad is None for parameter in model.parameters())
    sums = [TokenLoss(model.eval(), 0.2)(src, tgt).item() for src, tgt in batches]
    assert measured == pytest.approx(sum(sums) / tokens)
    assert mean_loss(model, [joined(batches)], smoothing=0.2) == pytest.approx(measured)


# --- Gradients ------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_small_batches_together_are_one_large_batch(dtype, close):
    batches = some_batches(0)
    found = []
    for chosen in (batches, [joined(batches)]):
        model = tiny().to(dtype)
        loss = accumulate_gradients(TokenLoss(model, 0.1), chosen)
        found.append({"loss": loss, **gradients(model)})
    for name, value in found[0].items():
        assert (value - found[1][name]).abs().max() < close, name


def test_gradients_add_up_to_what_was_there():
    model, batches = tiny(), some_batches(0)[:2]
    accumulate_gradients(TokenLoss(model), batches)
    once = gradients(model)
    accumulate_gradients(TokenLoss(model), batches)
    torch.testing.assert_close(gradients(model), {name: 2 * grad for name, grad in once.items()})


@pytest.mark.parametrize("clip", [0.013, 1e9])
def test_a_training_is_the_papers_adam_on_clipped_gradients_of_large_batches(clip):
    ours, theirs, batches = tiny().double(), tiny().double(), some_batches(0)
    config = settings(epochs=1, clip=clip, accumulate=2, label_smoothing=0.2, factor=0.7)
    history = train(ours, lambda epoch: batches, config, progress=False)

    adam = torch.optim.Adam(theirs.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9)
    expected = []
    for step in (1, 2, 3, 4):
        src, tgt = joined(batches[2 * step - 2 : 2 * step])
        adam.zero_grad()
        loss = label_smoothed_loss(theirs(src, tgt[:, :-1]), tgt[:, 1:], 0.2)
        loss.backward()
        norm = torch.cat([p.grad.flatten() for p in theirs.parameters()]).norm()
        for parameter in theirs.parameters():
            parameter.grad *= min(1.0, clip / norm)
        rate = adam.param_groups[0]["lr"] = warmup_schedule(step, D, 5, 0.7)
        adam.step()
        row = {"step": step, "epoch": 0, "loss": loss.item()}
        expected.append({**row, "gradient_norm": norm.item(), "learning_rate": rate})

    assert [list(row) for row in history] == [list(row) for row in expected]
    for row, other in zip(history, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    torch.testing.assert_close(weights(ours), weights(theirs), rtol=0, atol=1e-7)


# --- The loop -------------------------------------------------------------------------


def test_the_rate_cools_down_in_a_line_over_the_last_epochs():
    config = settings(epochs=3, cooldown=2, accumulate=1)
    history = train(tiny(), some_batches, config, progress=False)
    per_epoch = len(some_batches(0))
    for row in history:
        to_go = 3 - (row["step"] - 1) / per_epoch  # epochs, this step included
        expected = warmup_schedule(row["step"], D, config.warmup, config.factor) * min(1, to_go / 2)
        assert row["learning_rate"] == pytest.approx(expected)
    assert history[-1]["learning_rate"] > 0


def test_training_lowers_the_loss():
    model, batches = tiny(), some_batches(0)
    before = mean_loss(model, batches)
    train(model, lambda epoch: batches, settings(epochs=15, factor=0.15), progress=False)
    assert mean_loss(model, batches) < 0.7 * before


def test_the_same_seed_trains_the_same_and_another_does_not():
    results = []
    for seed in (5, 5, 7):
        torch.rand(seed)  # what was drawn before does not matter
        model = tiny(dropout=0.3)
        train(model, some_batches, settings(seed=seed), progress=False)
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_dropout_draws_anew_at_each_step():
    model, batches = tiny(dropout=0.3), some_batches(0)
    config = settings(epochs=1, factor=1e-30)  # so small that no weight changes
    history = train(model, lambda epoch: batches[:1] * 3, config, progress=False)
    assert len({row["loss"] for row in history}) == 3


def test_nothing_but_the_model_is_changed():
    torch.manual_seed(11)
    before = torch.get_rng_state(), torch.get_float32_matmul_precision()
    model = tiny(dropout=0.3)
    torch.set_rng_state(before[0])
    train(model, some_batches, settings(precision="auto"), progress=False)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_float32_matmul_precision() == before[1]
    assert not torch.is_autocast_enabled("cpu")
    assert not any(module.training for module in model.modules())


def test_each_step_is_in_training_mode_whatever_came_between():
    model, modes = tiny(), []
    model.encoder.register_forward_pre_hook(lambda layer, _: modes.append(layer.training))

    def look(row):
        model.train(row["step"] % 2 == 0)

    def validate(model):
        modes.append("validation")
        assert not model.training
        model.encoder(torch.zeros(1, 2, D))
        return {"bleu": 7.0, "exact": 0.5}

    history = train(
        model, lambda epoch: some_batches(0)[:2], settings(), validate, on_step=look, progress=False
    )
    assert modes == [True, True, "validation", False] * 2
    assert ["bleu" in row for row in history] == [False, True, False, True]
    assert history[-1]["exact"] == 0.5


def test_the_loss_of_validation_batches_is_measured_after_each_epoch():
    model, valid, seen = tiny(dropout=0.3), some_batches(9), []
    history = train(
        model,
        some_batches,
        settings(accumulate=3),
        valid,
        on_step=lambda row: seen.append(row["step"]),
        progress=False,
    )
    assert seen == [1, 2, 3, 4, 5, 6]
    assert [row["epoch"] for row in history] == [0, 0, 0, 1, 1, 1]
    assert ["valid_loss" in row for row in history] == [False, False, True] * 2
    assert history[-1]["valid_loss"] == pytest.approx(mean_loss(model, valid))
    assert history[2]["valid_loss"] != history[5]["valid_loss"]


def test_batches_of_the_data_module_train_and_validate():
    pairs = [Pair("a b c", "x y"), Pair("b", "y y x"), Pair("c a", "x")] * 2
    sides = [Vocabulary.from_sentences(side) for side in (["a b c"], ["x y"])]
    batches, valid = Batches(pairs, *sides, tokens=11), Batches(pairs[:2], *sides, tokens=13)
    model = tiny()
    history = train(model, batches, settings(epochs=3), valid, progress=False)
    assert len(history) == 3 * len(batches)
    assert history[-1]["valid_loss"] == pytest.approx(mean_loss(model, valid(0)))


@pytest.mark.parametrize("progress", [True, False])
def test_the_bar_tells_precision_and_loss_and_can_be_switched_off(progress, capsys):
    train(tiny(), some_batches, settings(epochs=1), progress=progress)
    output = capsys.readouterr()
    assert output.out == ""
    assert ("epoch 1/1 in float32 on cpu" in output.err) == progress
    assert ("loss=" in output.err) == progress


def test_an_epoch_without_batches_is_an_error():
    batches = [some_batches(0), []]
    with pytest.raises(ValueError, match="epoch 1 has no batches"):
        train(tiny(), lambda epoch: batches[epoch], settings(), progress=False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"warmup": 0}, "warmup must be at least 1, got 0"),
        ({"accumulate": -1}, "accumulate must be at least 1, got -1"),
        ({"save_every": 0}, "save_every must be at least 1, got 0"),
        ({"keep": 0}, "keep must be at least 1, got 0"),
        ({"factor": 0.0}, "factor must be above 0, got 0.0"),
        ({"cooldown": -1}, "cooldown must be at least 0 and at most epochs=10, got -1"),
        ({"cooldown": 4, "epochs": 3}, "cooldown must be at least 0 and at most epochs=3, got 4"),
        ({"clip": math.nan}, "clip must be above 0, got nan"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1, got 1.0"),
        ({"label_smoothing": -0.1}, "label_smoothing must be at least 0 and below 1, got -0.1"),
    ],
)
def test_settings_out_of_range_are_errors(changes, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**changes)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's memory, on Linux")
def test_freed_memory_is_kept_for_the_next_step():
    script = """
import ctypes, resource, sys
if sys.argv[1] == "keep":
    from transformer_lib.training import keep_freed_memory
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(3):  # three "steps" with five blocks of 29 MB each
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [libc.malloc(29 * 2**20) for _ in range(5)]
    for block in blocks:
        ctypes.memset(block, 1, 29 * 2**20)
    for block in blocks:
        libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {}
    for mode in ("keep", "default"):
        command = [sys.executable, "-c", script, mode]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        faults[mode] = int(run.stdout)  # pages that the system had to bring in the last step
    assert faults["keep"] < 100 < faults["default"]


# --- When numbers go wrong ------------------------------------------------------------


class Explodes(nn.Module):
    """An output layer whose third result, or its gradient, is not finite."""

    def __init__(self, layer, bad_gradient):
        super().__init__()
        self.layer, self.bad_gradient, self.calls = layer, bad_gradient, 0

    @property
    def weight(self):
        return self.layer.weight

    def forward(self, x):
        self.calls += 1
        logits = self.layer(x)
        if self.calls == 6:
            if self.bad_gradient:
                logits.register_hook(lambda gradient: gradient * math.inf)
            else:
                logits = logits * math.nan
        return logits


@pytest.mark.parametrize("bad_gradient", [False, True])
def test_a_loss_that_is_not_finite_stops_and_spoils_nothing(tmp_path, bad_gradient):
    model = tiny()
    model.output = Explodes(model.output, bad_gradient)
    batches = some_batches(0)
    kept = []

    def keep(row):
        kept[:] = [copy.deepcopy(weights(model))]
        if row["step"] == 2:
            kept.append((tmp_path / "latest.safetensors").read_bytes())

    config = settings(save_every=2, accumulate=2)
    shapes = [(tuple(src.shape), tuple(tgt.shape)) for src, tgt in batches[4:6]]
    message = f"at step 3: epoch 0, batch 4 and on, (src, tgt) of shapes {shapes}"
    with pytest.raises(FloatingPointError, match=re.escape(message)) as caught:
        train(model, lambda epoch: batches, config, folder=tmp_path, on_step=keep, progress=False)
    assert str(caught.value).startswith("loss nan, " if not bad_gradient else "loss 2.")
    assert same(weights(model), kept[0])
    assert (tmp_path / "latest.safetensors").read_bytes() == kept[1]
    assert read_tensors(tmp_path / "latest.safetensors")[1]["step"] == 2


# --- Precision ------------------------------------------------------------------------


@pytest.fixture
def setting():
    before = torch.get_float32_matmul_precision()
    yield torch.set_float32_matmul_precision
    torch.set_float32_matmul_precision(before)


@pytest.mark.parametrize("before", ["highest", "high"])
@pytest.mark.parametrize(
    ("precision", "within"), [("float32", None), ("medium", "medium"), ("bfloat16", "medium")]
)
def test_float32_products_are_fast_within_and_as_before_after(setting, before, precision, within):
    setting(before)
    with contextlib.suppress(KeyError), arithmetic(precision, CPU) as chosen:
        assert chosen == precision
        assert torch.get_float32_matmul_precision() == (within or before)
        raise KeyError
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    ("device", "capabilities", "expected"),
    [
        ("cpu", {"avx512_bf16": True, "amx_bf16": False}, "bfloat16"),
        ("cpu", {"avx512_bf16": False, "amx_bf16": True}, "bfloat16"),
        ("cpu", {"avx512_bf16": False, "amx_bf16": False}, "medium"),
        ("cpu", {}, "medium"),
        ("cpu", None, "medium"),
        ("cuda", True, "bfloat16"),
        ("cuda", False, "medium"),
        ("mps", {"avx512_bf16": True}, "medium"),
    ],
)
def test_auto_takes_what_the_machine_is_fast_in(monkeypatch, device, capabilities, expected):
    if capabilities is None:  # an older PyTorch
        monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    elif device == "cuda":
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation: capabilities
        )
    else:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    with arithmetic("auto", torch.device(device)) as chosen:
        assert chosen == expected


def test_an_unknown_precision_is_an_error():
    message = "precision must be float32, medium, bfloat16 or auto, got 'float16'"
    with pytest.raises(ValueError, match=message):
        train(tiny(), some_batches, settings(precision="float16"), progress=False)


def test_bfloat16_multiplies_in_bfloat16_and_keeps_float32_weights():
    found = {}
    for precision in ("float32", "bfloat16"):
        model, dtypes = tiny(), set()
        model.output.register_forward_hook(lambda _, __, logits, d=dtypes: d.add(logits.dtype))
        history = train(
            model, some_batches, settings(precision=precision), some_batches(9), progress=False
        )
        assert dtypes == {getattr(torch, precision)}  # in training and in validation
        assert {weight.dtype for weight in weights(model).values()} == {torch.float32}
        found[precision] = [row["loss"] for row in history]
    assert found["bfloat16"] == pytest.approx(found["float32"], rel=0.02)
    assert found["bfloat16"] != found["float32"]


# --- Averaging ------------------------------------------------------------------------


def test_the_last_epochs_weights_are_kept_and_averaged(tmp_path):
    model, kept = tiny(share_embeddings="target"), []
    config = settings(epochs=4, keep=3)

    def validate(model):
        kept.append(copy.deepcopy(weights(model)))
        return {}

    train(model, some_batches, config, validate, folder=tmp_path, progress=False)
    paths = sorted(tmp_path.glob("epoch-*"))
    names = [f"epoch-000{epoch}.safetensors" for epoch in (2, 3, 4)]
    assert [path.name for path in paths] == names
    assert sorted(os.listdir(tmp_path)) == [*names, "latest.safetensors"]
    average = average_checkpoints(paths)
    for name, tensor in average.items():
        expected = sum(weights[name].double() for weights in kept[1:]) / 3
        torch.testing.assert_close(tensor, expected.float(), rtol=1e-7, atol=0)
    assert average.keys() == weights(model).keys()
    load_weights(model, average)
    assert same(weights(model), average)
    assert model.output.weight is model.tgt_embedding.weight
    assert same(average_checkpoints(paths[:1]), kept[1])


def test_averages_of_nothing_or_of_different_models_are_errors(tmp_path):
    with pytest.raises(ValueError, match="no checkpoints to average"):
        average_checkpoints([])
    for name, model in (
        ("a", tiny()),
        ("b", tiny(d_ff=13)),
        ("c", tiny(share_embeddings="target")),
    ):
        train(model, some_batches, settings(epochs=1), folder=tmp_path / name, progress=False)
    paths = {name: tmp_path / name / "epoch-0001.safetensors" for name in "abc"}
    for other in "bc":
        message = "b/epoch-0001.* and .*a/epoch" if other == "b" else "c/epoch-0001.* and .*a/epoch"
        with pytest.raises(ValueError, match=f"{message}.* are not of the same model"):
            average_checkpoints([paths["a"], paths[other]])


# --- Killed and resumed ---------------------------------------------------------------


class Stop(Exception):
    pass


def stopping_at(step):
    def stop(row):
        if row["step"] == step:
            raise Stop

    return stop


def undisturbed(folder=None, **changes):
    model = tiny(dropout=0.3)
    history = train(
        model, some_batches, settings(**changes), some_batches(9), folder, progress=False
    )
    return weights(model), history


@pytest.mark.parametrize(("accumulate", "precision"), [(1, "float32"), (2, "bfloat16")])
def test_stopped_anywhere_and_resumed_it_ends_the_same(tmp_path, accumulate, precision):
    changes = {"accumulate": accumulate, "precision": precision}
    expected, history = undisturbed(**changes)
    for step in range(1, len(history) + 1, 2):
        folder = tmp_path / str(step)
        arguments = some_batches, settings(**changes), some_batches(9), folder
        with pytest.raises(Stop):
            train(tiny(dropout=0.3), *arguments, stopping_at(step), progress=False)
        torch.rand(step)
        model = tiny(dropout=0.3)
        if (folder / "latest.safetensors").exists():
            nn.init.zeros_(model.output.weight)  # what was there before is replaced
        assert train(model, *arguments, progress=False) == history
        assert same(weights(model), expected)


def test_a_training_resumes_where_it_was_and_not_from_the_start(tmp_path):
    with pytest.raises(Stop):
        train(
            tiny(), some_batches, settings(), folder=tmp_path, on_step=stopping_at(11),
            progress=False,
        )  # fmt: skip
    steps, epochs = [], []

    def batches(epoch):
        epochs.append(epoch)
        return some_batches(epoch)

    train(
        tiny(), batches, settings(), folder=tmp_path, progress=False,
        on_step=lambda row: steps.append(row["step"]),
    )  # fmt: skip
    assert steps == [10, 11, 12, 13, 14]  # saved after step 9, the second of epoch 1
    assert epochs == [0, 1]  # 0 only to see that it is the same corpus


def test_a_state_saved_before_the_validation_still_gets_it(tmp_path):
    expected, history = undisturbed()
    changes = {"save_every": 7}  # the last step of the first epoch
    arguments = some_batches, settings(**changes), some_batches(9), tmp_path
    with pytest.raises(Stop):
        train(tiny(dropout=0.3), *arguments, stopping_at(7), progress=False)
    assert os.listdir(tmp_path) == ["latest.safetensors"]
    found, rows = undisturbed(tmp_path, **changes)
    assert rows == history
    assert same(found, expected)


def test_a_finished_training_can_go_on_for_more_epochs(tmp_path):
    expected, history = undisturbed(epochs=3)
    undisturbed(tmp_path, epochs=2)
    for _ in range(2):  # the second time there is nothing left to do
        found, rows = undisturbed(tmp_path, epochs=3, save_every=5, keep=1)
        assert rows == history
        assert same(found, expected)


def test_with_a_cooldown_the_end_is_fixed_from_the_start(tmp_path):
    undisturbed(tmp_path, epochs=2, cooldown=1)
    with pytest.raises(ValueError, match=r"of another training: epochs=2, not 3\. Name"):
        undisturbed(tmp_path, epochs=3, cooldown=1)


@pytest.mark.parametrize(
    "changes",
    [{"seed": 1}, {"warmup": 7}, {"accumulate": 2}, {"label_smoothing": 0.2}, {"cooldown": 1}],
)
def test_a_folder_holds_one_kind_of_training(tmp_path, changes):
    undisturbed(tmp_path)
    [(name, new)] = changes.items()
    with pytest.raises(
        ValueError, match=rf"latest\.safetensors: of another .*{name}=.*, not {new}"
    ):
        undisturbed(tmp_path, **changes)


def test_a_folder_holds_one_model_on_one_corpus(tmp_path):
    undisturbed(tmp_path)
    same_shapes = tiny(dropout=0.3, num_heads=7)
    with pytest.raises(ValueError, match=r"another training: num_heads=2, not 7\. Name"):
        train(same_shapes, some_batches, settings(), folder=tmp_path, progress=False)
    others = [some_batches(epoch + 5) for epoch in range(3)]
    with pytest.raises(ValueError, match=r"training: batches='\w{16}', not '\w{16}'\. Name"):
        train(tiny(dropout=0.3), others.__getitem__, settings(), folder=tmp_path, progress=False)


def test_a_training_begun_again_keeps_none_of_the_old_weights(tmp_path):
    undisturbed(tmp_path, epochs=5, keep=3)
    (tmp_path / "latest.safetensors").unlink()
    expected, _ = undisturbed(tmp_path, epochs=2, keep=3)
    files = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert files == ["epoch-0001.safetensors", "epoch-0002.safetensors"]
    assert same(read_tensors(tmp_path / files[-1])[0], expected)


def test_frozen_weights_stay_and_the_training_can_go_on(tmp_path):
    def freeze(model):
        model.src_embedding.requires_grad_(False)
        return model

    frozen = tiny().src_embedding.weight.clone()
    expected = freeze(tiny())
    train(expected, some_batches, settings(epochs=2), progress=False)
    for epochs in (1, 2):
        model = freeze(tiny())
        train(model, some_batches, settings(epochs=epochs), folder=tmp_path, progress=False)
    assert same(weights(model), weights(expected))
    assert torch.equal(model.src_embedding.weight, frozen)


def test_figures_of_the_validation_may_be_tensors(tmp_path):
    figures = {"tensor": torch.tensor(0.5), "whole": 3}
    config = settings(epochs=1)
    arguments = some_batches, config, lambda model: figures, tmp_path
    history = train(tiny(), *arguments, progress=False)
    assert (history[-1]["tensor"], history[-1]["whole"]) == (0.5, 3)
    assert train(tiny(), *arguments, progress=False) == history


@pytest.mark.parametrize("precision", ["float32", "medium", "bfloat16"])
def test_precision_set_by_newer_switches_stays(precision):
    old_switch = torch.backends.cuda.matmul.fp32_precision
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        with arithmetic(precision, CPU) as chosen:
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert chosen == precision
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = old_switch


SCRIPT = """
import os, signal, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
import test_training as t
from transformer_lib import checkpoint

assert t.transformer_lib.__file__ == {library!r}
"""

KILLED = """
moment, folder = sys.argv[1], sys.argv[2]
replace = os.replace

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def on_step(row):
    if moment == f"after step {row['step']}":
        kill()
    if moment == f"saving step {row['step'] + 1}":
        os.replace = kill  # the new file is written, but not yet in the old one's place

t.train(t.tiny(dropout=0.3), t.some_batches, t.settings(), t.some_batches(9), folder, on_step,
        progress=False)
"""


def start(code, *arguments, **environment):
    """Run code in a process of its own, with this file and this library at hand."""
    library = transformer_lib.__file__
    script = SCRIPT.format(tests=str(Path(__file__).parent), library=library) + code
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(library).parents[1]),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    command = [sys.executable, "-P", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_is_resumed_to_the_same_weights(tmp_path):
    expected, history = undisturbed()
    last_saved = {"after step 5": 3, "saving step 12": 9}
    processes = {moment: start(KILLED, moment, tmp_path / moment) for moment in last_saved}
    for moment, process in processes.items():
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL, errors
        saved = read_tensors(tmp_path / moment / "latest.safetensors")[1]
        assert saved["step"] == last_saved[moment]
        found, rows = undisturbed(tmp_path / moment)
        assert rows == history
        assert same(found, expected)
    assert not any(tmp_path.rglob("*.part"))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_process_killed_at_any_moment_is_resumed_to_the_same_weights(tmp_path):
    expected, history = undisturbed(epochs=13, save_every=1)
    code = KILLED.replace("t.settings()", "t.settings(epochs=13, save_every=1)")
    process = start(code, "never", tmp_path)
    while latest_step(tmp_path) == 0 and process.poll() is None:
        time.sleep(0.002)
    time.sleep(0.03 + time.time() % 0.05)
    process.send_signal(signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert 0 < latest_step(tmp_path) < len(history)
    found, rows = undisturbed(tmp_path, epochs=13, save_every=1)
    assert rows == history
    assert same(found, expected)


def latest_step(folder):
    path = folder / "latest.safetensors"
    return read_tensors(path)[1]["step"] if path.exists() else 0


# --- Several processes ----------------------------------------------------------------


SHARED = """
rank = int(os.environ["RANK"])
folder, draws, saves = sys.argv[1], [], []
save = t.training.save_training
t.training.save_training = lambda *rest: (saves.append(rest[0]), save(*rest))
config = t.settings(accumulate=2, clip=0.5)

def model():
    tiny = t.tiny().double()
    with torch.no_grad():
        tiny.output.weight += rank  # the first process's weights are everyone's
    return tiny

def on_step(row):
    draws.append(torch.rand(()).item())
    if len(draws) == 5:
        raise t.Stop

arguments = t.some_batches, config, t.some_batches(9), folder
try:
    t.train(model(), *arguments, on_step)
except t.Stop:
    trained = model()
    history = t.train(trained, *arguments)

broken = model()
if rank == 1:
    broken.output.register_forward_hook(lambda layer, inputs, logits: logits * torch.nan)
try:
    t.train(broken, t.some_batches, config)
except FloatingPointError as error:
    report = {"history": history, "draws": draws, "saves": len(saves), "error": str(error)}
    checkpoint.write_tensors(f"{folder}/{rank}.safetensors", t.weights(trained), report)
t.training.distributed.destroy_process_group()
"""


def test_two_processes_train_as_one(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    where = where if sys.platform == "linux" else {**where, "GLOO_SOCKET_IFNAME": "lo0"}
    processes = [start(SHARED, tmp_path, WORLD_SIZE="2", RANK=rank, **where) for rank in "01"]
    try:
        errors = [process.communicate(timeout=90)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    assert "Warning" not in errors[0]

    alone = tiny().double()  # its third batch has a single sentence, so a process gets nothing
    config = settings(accumulate=2, clip=0.5)
    history = train(alone, some_batches, config, some_batches(9), progress=False)
    results = [read_tensors(tmp_path / f"{rank}.safetensors") for rank in "01"]
    for tensors, report in results:
        torch.testing.assert_close(tensors, weights(alone), rtol=0, atol=1e-8)
        for row, expected in zip(report["history"], history, strict=True):
            assert row == pytest.approx(expected, rel=1e-6)
        assert report["error"].startswith("loss nan, gradient norm nan at step 1")
    assert same(results[0][0], results[1][0])

    first, second = (report for _, report in results)
    assert not set(first["draws"]) & set(second["draws"])  # each its own dropout
    assert first["saves"] == 1 + 1 + 1 + 1  # step 3, epoch 1; then step 6, epoch 2
    assert second["saves"] == 0
    assert ["epoch 1/2" in error for error in errors] == [True, False]


@pytest.fixture
def as_one_of_two(monkeypatch):
    """Have this process play one of two; what they would sum is kept in the list it returns."""

    def play(rank):
        sums = []
        monkeypatch.setattr(training, "join_processes", lambda: (rank, 2))
        monkeypatch.setattr(training.distributed, "all_reduce", sums.append)
        return sums

    return play


def test_the_shares_of_two_processes_add_up_to_the_whole(as_one_of_two):
    alone, batches = tiny().double(), some_batches(0)[:3]
    loss = accumulate_gradients(TokenLoss(alone, 0.1), batches)
    shares, losses = [], []
    for rank in (0, 1):
        sums, model = as_one_of_two(rank), tiny().double()
        accumulate_gradients(TokenLoss(model, 0.1), batches)
        shares.append(gradients(model))
        losses += sums
    torch.testing.assert_close(sum(losses), loss)
    means = {name: (grad + shares[1][name]) / 2 for name, grad in shares[0].items()}
    torch.testing.assert_close(means, gradients(alone))  # the mean is DistributedDataParallel's


def test_only_the_first_of_two_processes_saves_and_each_draws_its_own(
    as_one_of_two, monkeypatch, tmp_path
):
    def wrap(loss, broadcast_buffers):
        wrapped.append(loss)
        return loss

    monkeypatch.setattr(training, "DistributedDataParallel", wrap)
    batches, draws, wrapped = some_batches(0)[:2], {}, []  # of at least two sentences
    for rank in (0, 1):
        as_one_of_two(rank)
        draws[rank] = []
        train(
            tiny(),
            lambda epoch: batches,
            settings(),
            folder=tmp_path / str(rank),
            on_step=lambda row, drawn=draws[rank]: drawn.append(torch.rand(()).item()),
            progress=False,
        )
    assert len(wrapped) == 2
    assert latest_step(tmp_path / "0") == len(draws[0]) == 4
    assert not (tmp_path / "1").exists()
    assert not set(draws[0]) & set(draws[1])


def test_one_process_is_alone(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes() == (0, 1)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert join_processes() == (0, 1)
    monkeypatch.setattr(training.distributed, "is_available", lambda: False)
    assert join_processes() == (0, 1)
