"""The helpers of the "Check against PyTorch" cells must not call different things equal."""

import copy
import math

import pytest
import torch
from torch import nn

from transformer_lib import Decoder, Encoder, MultiHeadAttention, Transformer, TransformerConfig
from transformer_lib.parity import compare, compare_gradients, copy_weights

H, D, D_FF = 3, 6, 7


def attention(bias=True):
    return nn.MultiheadAttention(D, H, bias=bias, batch_first=True)


def encoder(layers=2):
    return nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D, H, D_FF, batch_first=True, norm_first=True),
        layers,
        nn.LayerNorm(D),
        enable_nested_tensor=False,
    )


def decoder():
    return nn.TransformerDecoder(
        nn.TransformerDecoderLayer(D, H, D_FF, batch_first=True, norm_first=True),
        2,
        nn.LayerNorm(D),
    )


def transformer():
    return nn.Transformer(D, H, 2, 3, D_FF, batch_first=True, norm_first=True)


def our_transformer():
    sizes = {"num_encoder_layers": 2, "num_decoder_layers": 3, "norm_first": True}
    return Transformer(TransformerConfig(5, 11, d_model=D, num_heads=H, d_ff=D_FF, **sizes))


PAIRS = {
    "attention": (attention, lambda: MultiHeadAttention(D, H)),
    "attention without bias": (
        lambda: attention(bias=False),
        lambda: MultiHeadAttention(D, H, bias=False),
    ),
    "encoder": (encoder, lambda: Encoder(2, D, H, D_FF, norm_first=True)),
    "decoder": (decoder, lambda: Decoder(2, D, H, D_FF, norm_first=True)),
    "transformer": (transformer, our_transformer),
    "linear": (lambda: nn.Linear(D, D_FF), lambda: nn.Linear(D, D_FF)),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # nn.Transformer, pre-norm
@pytest.mark.parametrize("pair", PAIRS)
def test_every_number_is_copied_exactly_once(pair):
    theirs, ours = (make() for make in PAIRS[pair])
    with torch.no_grad():  # Give each of their numbers a value of its own.
        count = 1
        for parameter in theirs.parameters():
            parameter.copy_(torch.arange(count, count + parameter.numel()).view_as(parameter))
            count += parameter.numel()
        for parameter in ours.parameters():
            parameter.fill_(0)
    copy_weights(theirs, ours)
    copied = torch.cat([p.detach().flatten() for p in ours.parameters()])
    assert torch.equal(copied[copied != 0].sort().values, torch.arange(1.0, count))


def test_copying_leaves_theirs_alone():
    theirs, ours = attention(), MultiHeadAttention(D, H)
    before = copy.deepcopy(theirs.state_dict())
    copy_weights(theirs, ours)
    nn.init.zeros_(ours.w_q.weight)
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_different_number_of_layers_is_an_error():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        copy_weights(encoder(layers=3), Encoder(2, D, H, D_FF, norm_first=True))


def test_a_different_size_is_an_error():
    with pytest.raises(RuntimeError, match=r"15.*6"):
        copy_weights(attention(), MultiHeadAttention(15, H))


def test_a_different_number_of_heads_is_an_error():
    with pytest.raises(ValueError, match="ours has 1 heads, theirs 3"):
        copy_weights(attention(), MultiHeadAttention(D, 1))


def test_a_final_norm_that_ours_does_not_have_is_an_error():
    with pytest.raises(RuntimeError, match="weight"):
        copy_weights(encoder(), Encoder(2, D, H, D_FF, norm_first=False))


def test_compare_returns_and_prints_the_largest_difference(capsys):
    ours, theirs = torch.zeros(2, 3), torch.tensor([[0.0, 0.25, 0.0], [0.0, -0.5, 0.0]])
    assert compare("a name", ours, theirs) == 0.5
    assert compare("a name", theirs, ours) == 0.5
    printed = capsys.readouterr().out
    assert "a name" in printed
    assert "(2, 3)" in printed
    assert "5e-01" in printed


def test_compare_says_nan_when_there_is_one():
    result = compare("nan", torch.tensor([0.0, math.nan]), torch.zeros(2))
    assert math.isnan(result)


def test_compare_does_not_broadcast():
    with pytest.raises(ValueError, match=r"name: ours is \(2, 3\), theirs \(3,\)"):
        compare("name", torch.zeros(2, 3), torch.zeros(3))


@pytest.mark.parametrize("pair", [name for name in PAIRS if name != "transformer"])
def test_compare_gradients_sees_a_difference_in_any_parameter(pair):
    theirs, ours = (make() for make in PAIRS[pair])
    for parameter in (*theirs.parameters(), *ours.parameters()):
        parameter.grad = torch.zeros_like(parameter)
    assert compare_gradients("no difference", ours, theirs) == 0
    for parameter in ours.parameters():
        parameter.grad.view(-1)[-1] = -0.5
        assert compare_gradients("one difference", ours, theirs) == 0.5
        parameter.grad.zero_()
    next(theirs.parameters()).grad.view(-1)[0] = math.nan
    assert math.isnan(compare_gradients("one NaN", ours, theirs))


def test_compare_gradients_leaves_both_modules_alone(capsys):
    theirs, ours = attention(), MultiHeadAttention(D, H)
    before = []
    for module in (theirs, ours):
        x = torch.randn(2, 5, D)
        module(x, x, x)[0].square().sum().backward()
        before += [(p, p.detach().clone(), p.grad.clone()) for p in module.parameters()]
    difference = compare_gradients("a name", ours, theirs)
    for parameter, weight, gradient in before:
        assert torch.equal(parameter, weight)
        assert torch.equal(parameter.grad, gradient)
    printed = capsys.readouterr().out
    assert "a name" in printed
    assert "168 weights" in printed  # 4 · (6 · 6 + 6)
    assert f"{difference:.0e}" in printed
