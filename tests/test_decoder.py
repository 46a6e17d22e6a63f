"""Properties of the decoder, parity with PyTorch's, and decoding with a cache."""

import pytest
import torch
from torch import nn

from transformer_lib import Decoder, DecoderLayer, causal_mask
from transformer_lib.parity import compare, compare_gradients, copy_weights

B, H, D_K, T, S, D_FF, N = 3, 2, 7, 5, 11, 13, 2
D = H * D_K
NORMS = pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])

TGT_MASKS = {
    "no mask": lambda: None,
    "causal": lambda: causal_mask(T),
    "padding and causal": lambda: (
        (torch.arange(T) < torch.tensor([[3], [T], [4]]))[:, None, None] & causal_mask(T)
    ),
}
MEMORY_MASKS = {
    "no mask": lambda: None,
    "padding": lambda: (torch.arange(S) < torch.tensor([[7], [S], [2]]))[:, None, None],
}


def pytorch_decoder(norm_first):
    layer = nn.TransformerDecoderLayer(
        D, H, D_FF, dropout=0.0, batch_first=True, norm_first=norm_first
    )
    return nn.TransformerDecoder(layer, N, nn.LayerNorm(D) if norm_first else None)


def ignore(mask):
    """Turn our mask into PyTorch's: True = ignore, one per head and sentence."""
    return None if mask is None else ~mask.expand(B, H, T, -1).flatten(0, 1)


@NORMS
@pytest.mark.parametrize("memory_mask", MEMORY_MASKS)
@pytest.mark.parametrize("tgt_mask", TGT_MASKS)
def test_parity_with_pytorch(tgt_mask, memory_mask, norm_first, randomise):
    theirs = randomise(pytorch_decoder(norm_first))
    ours = Decoder(N, D, H, D_FF, norm_first=norm_first)
    copy_weights(theirs, ours)
    x, memory = torch.randn(B, T, D, requires_grad=True), torch.randn(B, S, D, requires_grad=True)
    their_x, their_memory = (y.detach().clone().requires_grad_() for y in (x, memory))
    masks = TGT_MASKS[tgt_mask](), MEMORY_MASKS[memory_mask]()

    output = ours(x, memory, *masks)
    expected = theirs(their_x, their_memory, *map(ignore, masks))
    assert compare("output", output, expected) < 1e-5
    assert compare("output in eval mode", ours.eval()(x, memory, *masks), expected) < 1e-5

    direction = torch.randn_like(output)
    output.backward(direction)
    expected.backward(direction)
    assert compare("gradient of x", x.grad, their_x.grad) < 1e-4
    assert compare("gradient of memory", memory.grad, their_memory.grad) < 1e-4
    assert compare_gradients("gradients", ours, theirs) < 1e-4


@NORMS
@MODES
def test_nothing_leaks_from_the_future(training, norm_first):
    decoder = Decoder(N, D, H, D_FF, norm_first=norm_first).train(training)
    x, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    before = decoder(x, memory, causal_mask(T))
    for t in range(T):
        changed = x.clone()
        changed[:, t] += torch.randn(D)
        after = decoder(changed, memory, causal_mask(T))
        torch.testing.assert_close(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@NORMS
def test_no_gradient_flows_from_an_output_to_a_later_input(norm_first):
    decoder = Decoder(N, D, H, D_FF, norm_first=norm_first)
    x, memory = torch.randn(B, T, D, requires_grad=True), torch.randn(B, S, D)
    output = decoder(x, memory, causal_mask(T))
    for t in range(T):
        (gradient,) = torch.autograd.grad(output[:, t].pow(3).sum(), x, retain_graph=True)
        reached = gradient.abs().amax(dim=(0, 2)) > 0
        assert reached.tolist() == [True] * (t + 1) + [False] * (T - t - 1)


@NORMS
def test_every_target_token_sees_the_whole_source(norm_first):
    decoder = Decoder(1, D, H, D_FF, norm_first=norm_first)
    x, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    before = decoder(x, memory, causal_mask(T))
    for s in range(S):
        changed = memory.clone()
        changed[:, s] += torch.randn(D)
        moved = (decoder(x, changed, causal_mask(T)) - before).abs().amax(dim=-1)
        assert (moved > 1e-6).all()


def test_masked_source_tokens_do_not_matter():
    decoder = Decoder(N, D, H, D_FF)
    x, memory, mask = torch.randn(B, T, D), torch.randn(B, S, D), MEMORY_MASKS["padding"]()
    before = decoder(x, memory, causal_mask(T), mask)
    changed = memory.masked_fill(~mask[:, 0, 0, :, None], 1e3)
    torch.testing.assert_close(decoder(x, changed, causal_mask(T), mask), before)


def test_the_memory_has_no_order_of_its_own():
    decoder, order = Decoder(N, D, H, D_FF), torch.randperm(S)
    x, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    torch.testing.assert_close(decoder(x, memory[:, order]), decoder(x, memory))


@NORMS
def test_number_of_parameters(norm_first):
    attention, feed_forward, norm = 4 * (D * D + D), 2 * D * D_FF + D_FF + D, 2 * D
    expected = N * (2 * attention + feed_forward + 3 * norm) + norm_first * norm
    decoder = Decoder(N, D, H, D_FF, norm_first=norm_first)
    assert sum(p.numel() for p in decoder.parameters()) == expected


def test_layers_start_different():
    first, second = Decoder(2, D, H, D_FF).layers
    for (name, p), q in zip(first.named_parameters(), second.parameters(), strict=True):
        if p.dim() == 2:  # biases start at 0 and norms at 1
            assert not torch.allclose(p, q), name


@NORMS
def test_every_parameter_gets_a_gradient(norm_first):
    decoder = Decoder(N, D, H, D_FF, norm_first=norm_first)
    output = decoder(torch.randn(B, T, D), torch.randn(B, S, D), causal_mask(T))
    output.pow(3).sum().backward()
    for name, parameter in decoder.named_parameters():
        # The same number added to all scores changes no weight: the key's bias has no effect.
        assert parameter.grad.abs().max() > 1e-4 or name.endswith("w_k.bias"), name


def test_layers_run_in_their_order():
    decoder, x, memory = Decoder(N, D, H, D_FF), torch.randn(B, T, D), torch.randn(B, S, D)
    first, second = decoder.layers
    torch.testing.assert_close(decoder(x, memory), second(first(x, memory), memory))


def test_every_dropout_has_the_rate_that_was_asked_for():
    layer = DecoderLayer(D, H, D_FF, dropout=0.25)
    rates = {name: m.p for name, m in layer.named_modules() if isinstance(m, nn.Dropout)}
    assert rates == {
        "self_attention_residual.dropout": 0.25,
        "cross_attention_residual.dropout": 0.25,
        "feed_forward.dropout": 0.25,
        "feed_forward_residual.dropout": 0.25,
    }
    assert layer.self_attention.dropout == layer.cross_attention.dropout == 0.25


@NORMS
def test_dropout_acts_in_training_only(norm_first):
    decoder = Decoder(N, D, H, D_FF, dropout=0.5, norm_first=norm_first)
    x, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    assert not torch.allclose(decoder(x, memory), decoder(x, memory))
    decoder.eval()
    assert torch.equal(decoder(x, memory), decoder(x, memory))


@NORMS
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_all_padding_source_stays_finite(dtype, norm_first):
    decoder = Decoder(N, D, H, D_FF, norm_first=norm_first).to(dtype)
    x = torch.randn(B, T, D, dtype=dtype, requires_grad=True)
    memory = torch.randn(B, S, D, dtype=dtype, requires_grad=True)
    mask = torch.ones(B, 1, 1, S, dtype=torch.bool)
    mask[1] = False
    output = decoder(x, memory, causal_mask(T), mask)
    assert output.dtype == dtype
    assert output.isfinite().all()
    output.pow(2).sum().backward()
    assert x.grad.isfinite().all()
    assert (memory.grad[1] == 0).all()
    assert all(p.grad.isfinite().all() for p in decoder.parameters())


# --- Decoding with caches (they stand in conftest.py) ---------------------------------


@NORMS
def test_step_by_step_with_caches_gives_the_same_as_all_at_once(
    norm_first, randomise, empty_caches
):
    decoder = randomise(Decoder(N, D, H, D_FF, norm_first=norm_first)).eval()
    x, memory, mask = torch.randn(B, T, D), torch.randn(B, S, D), MEMORY_MASKS["padding"]()
    at_once = decoder(x, memory, causal_mask(T), mask)
    caches = empty_caches(N)
    for t in range(T):
        memory_now = memory if t == 0 else torch.full_like(memory, torch.nan)  # not read again
        step = decoder(x[:, t : t + 1], memory_now, None, mask, caches)
        assert compare(f"step {t}", step, at_once[:, t : t + 1]) < 1e-5


def test_one_cache_for_each_layer_or_an_error(empty_caches):
    decoder = Decoder(N, D, H, D_FF)
    caches = empty_caches(N + 1)
    with pytest.raises(ValueError, match=r"shorter|longer"):
        decoder(torch.randn(B, 1, D), torch.randn(B, S, D), caches=caches)


def test_heads_must_divide_d_model():
    with pytest.raises(ValueError, match="d_model=14 is not divisible by num_heads=3"):
        Decoder(N, D, 3, D_FF)
