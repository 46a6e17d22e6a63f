"""Properties of the encoder, and parity with PyTorch's."""

import copy

import pytest
import torch
from torch import nn

from transformer_lib import Encoder, EncoderLayer, causal_mask
from transformer_lib.parity import compare, compare_gradients, copy_weights

B, H, D_K, S, D_FF, N = 2, 3, 5, 7, 11, 2
D = H * D_K
NORMS = pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])

MASKS = {
    "no mask": lambda: None,
    "padding": lambda: (torch.arange(S) < torch.tensor([[5], [S]]))[:, None, None],
    "causal": lambda: causal_mask(S),
    "padding and causal": lambda: MASKS["padding"]() & MASKS["causal"](),
}


def pytorch_encoder(norm_first):
    layer = nn.TransformerEncoderLayer(
        D, H, D_FF, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    norm = nn.LayerNorm(D) if norm_first else None
    return nn.TransformerEncoder(layer, N, norm, enable_nested_tensor=False)


@NORMS
@pytest.mark.parametrize("mask", MASKS)
def test_parity_with_pytorch(mask, norm_first, randomise):
    theirs = randomise(pytorch_encoder(norm_first))
    ours = Encoder(N, D, H, D_FF, norm_first=norm_first)
    copy_weights(theirs, ours)
    x, mask = torch.randn(B, S, D, requires_grad=True), MASKS[mask]()
    their_x = x.detach().clone().requires_grad_()
    # PyTorch: True = ignore, one mask per head and sentence.
    ignore = None if mask is None else ~mask.expand(B, H, S, S).flatten(0, 1)

    output, expected = ours(x, mask), theirs(their_x, ignore)
    assert compare("output", output, expected) < 1e-5
    assert compare("output in eval mode", ours.eval()(x, mask), expected) < 1e-5

    direction = torch.randn_like(output)
    output.backward(direction)
    expected.backward(direction)
    assert compare("gradient of x", x.grad, their_x.grad) < 1e-4
    assert compare_gradients("gradients", ours, theirs) < 1e-4


@NORMS
def test_more_padding_changes_nothing(norm_first):
    encoder = Encoder(N, D, H, D_FF, norm_first=norm_first)
    x, padding = torch.randn(B, S, D), torch.randn(B, 6, D)
    mask = torch.ones(B, 1, 1, S, dtype=torch.bool)
    longer = torch.cat([mask, torch.zeros(B, 1, 1, 6, dtype=torch.bool)], dim=-1)
    after = encoder(torch.cat([x, padding], dim=1), longer)
    torch.testing.assert_close(after[:, :S], encoder(x, mask))


@NORMS
def test_without_positions_the_encoder_knows_no_order(norm_first):
    encoder = Encoder(N, D, H, D_FF, norm_first=norm_first)
    x, order = torch.randn(B, S, D), torch.randperm(S)
    torch.testing.assert_close(encoder(x[:, order]), encoder(x)[:, order])


@NORMS
def test_every_token_sees_every_other(norm_first):
    encoder, x = Encoder(1, D, H, D_FF, norm_first=norm_first), torch.randn(B, S, D)
    before = encoder(x)
    for s in range(S):
        changed = x.clone()
        changed[:, s] += torch.randn(D)
        moved = (encoder(changed) - before).abs().amax(dim=-1)
        assert (moved > 1e-6).all()


@NORMS
def test_number_of_parameters(norm_first):
    attention, feed_forward, norm = 4 * (D * D + D), 2 * D * D_FF + D_FF + D, 2 * D
    expected = N * (attention + feed_forward + 2 * norm) + norm_first * norm
    encoder = Encoder(N, D, H, D_FF, norm_first=norm_first)
    assert sum(p.numel() for p in encoder.parameters()) == expected


def test_layers_start_different():
    first, second = Encoder(2, D, H, D_FF).layers
    for (name, p), q in zip(first.named_parameters(), second.parameters(), strict=True):
        if p.dim() == 2:  # biases start at 0 and norms at 1
            assert not torch.allclose(p, q), name


@NORMS
def test_every_parameter_gets_a_gradient(norm_first):
    encoder = Encoder(N, D, H, D_FF, norm_first=norm_first)
    encoder(torch.randn(B, S, D)).pow(3).sum().backward()
    for name, parameter in encoder.named_parameters():
        # The same number added to all scores changes no weight: the key's bias has no effect.
        assert parameter.grad.abs().max() > 1e-4 or name.endswith("w_k.bias"), name


@NORMS
def test_the_stack_ends_normalised(norm_first):
    output = Encoder(N, D, H, D_FF, norm_first=norm_first)(torch.randn(B, S, D))
    torch.testing.assert_close(output.mean(dim=-1), torch.zeros(B, S), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        output.var(dim=-1, correction=0), torch.ones(B, S), atol=1e-3, rtol=0
    )


def test_layers_run_in_their_order():
    encoder, x = Encoder(N, D, H, D_FF), torch.randn(B, S, D)
    first, second = encoder.layers
    torch.testing.assert_close(encoder(x), second(first(x)))


def test_every_dropout_has_the_rate_that_was_asked_for():
    layer = EncoderLayer(D, H, D_FF, dropout=0.25)
    rates = {name: m.p for name, m in layer.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {
        "self_attention_residual.dropout": 0.25,
        "feed_forward.dropout": 0.25,
        "feed_forward_residual.dropout": 0.25,
    }
    assert layer.self_attention.dropout == 0.25


@NORMS
def test_dropout_acts_in_training_only(norm_first):
    encoder = Encoder(N, D, H, D_FF, dropout=0.5, norm_first=norm_first)
    x = torch.randn(B, S, D)
    assert not torch.allclose(encoder(x), encoder(x))
    encoder.eval()
    assert torch.equal(encoder(x), encoder(x))


@NORMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_all_padding_sentence_stays_finite(dtype, norm_first):
    encoder = Encoder(N, D, H, D_FF, norm_first=norm_first).to(dtype)
    x = torch.randn(B, S, D, dtype=dtype, requires_grad=True)
    mask = torch.ones(B, 1, 1, S, dtype=torch.bool)
    mask[0] = False
    output = encoder(x, mask)
    assert output.dtype == dtype
    assert output.isfinite().all()
    output.pow(2).sum().backward()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in encoder.parameters())


def test_a_deep_copy_computes_the_same_and_shares_nothing():
    encoder, x = Encoder(N, D, H, D_FF), torch.randn(B, S, D)
    twin, before = copy.deepcopy(encoder), encoder(x)
    assert torch.equal(twin(x), before)
    nn.init.zeros_(twin.layers[0].feed_forward.w_1.weight)
    assert torch.equal(encoder(x), before)


def test_heads_must_divide_d_model():
    with pytest.raises(ValueError, match="d_model=15 is not divisible by num_heads=2"):
        Encoder(N, D, 2, D_FF)
