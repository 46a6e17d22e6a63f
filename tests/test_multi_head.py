"""Properties of multi-head attention, parity with PyTorch's, and the fused path's equality."""

import math

import pytest
import torch
from torch import nn

from transformer_lib import MultiHeadAttention, causal_mask, scaled_dot_product_attention
from transformer_lib.parity import compare, compare_gradients, copy_weights

B, H, D_K, T, S = 2, 3, 5, 7, 11
D = H * D_K
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def some_mask(*shape):
    """A random mask in which every query may attend to its first key at least."""
    mask = torch.rand(shape) < 0.5
    mask[..., 0] = True
    return mask


MASKS = {
    "no mask": lambda: None,
    "padding": lambda: (torch.arange(S) < torch.tensor([[5], [S]]))[:, None, None],
    "causal": lambda: causal_mask(S)[:, :, :T],
    "padding and causal": lambda: MASKS["padding"]() & MASKS["causal"](),
    "per head": lambda: some_mask(B, H, T, S),
}


def query_and_memory(dtype=torch.float32):
    return (
        torch.randn(B, T, D, dtype=dtype, requires_grad=True),
        torch.randn(B, S, D, dtype=dtype, requires_grad=True),
    )


def fused(attention):
    """Let `attention` take the fused path at any length."""
    attention.fused_length = 1
    return attention


def formula(attention):
    """Let `attention` take the formula at any length."""
    attention.fused_length = math.inf
    return attention


PATHS = pytest.mark.parametrize("path", [formula, fused])


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_parity_with_pytorch(mask, bias, randomise):
    theirs = randomise(nn.MultiheadAttention(D, H, bias=bias, batch_first=True))
    ours = MultiHeadAttention(D, H, bias=bias)
    copy_weights(theirs, ours)
    query, memory = query_and_memory()
    mask = MASKS[mask]()

    output, weights = ours(query, memory, memory, mask, need_weights=True)
    ignore = None if mask is None else ~mask.expand(B, H, T, S).flatten(0, 1)  # True = ignore!
    their_query, their_memory = (x.detach().clone().requires_grad_() for x in (query, memory))
    their_output, their_weights = theirs(
        their_query, their_memory, their_memory, attn_mask=ignore, average_attn_weights=False
    )
    assert compare("output", output, their_output) < 1e-5
    assert compare("weights", weights, their_weights) < 1e-5

    direction = torch.randn_like(output)
    output.backward(direction)
    their_output.backward(direction)
    assert compare("gradient of query", query.grad, their_query.grad) < 1e-4
    assert compare("gradient of memory", memory.grad, their_memory.grad) < 1e-4
    assert compare_gradients("gradients", ours, theirs) < 1e-4


def test_key_and_value_may_be_different_tensors(randomise):
    theirs = randomise(nn.MultiheadAttention(D, H, batch_first=True))
    ours = MultiHeadAttention(D, H)
    copy_weights(theirs, ours)
    query, key, value = torch.randn(B, T, D), torch.randn(B, S, D), torch.randn(B, S, D)
    output, _ = ours(query, key, value)
    assert compare("output", output, theirs(query, key, value)[0]) < 1e-5


def test_each_head_is_an_attention_of_its_own_on_a_slice_of_the_projections(randomise):
    attention = randomise(MultiHeadAttention(D, H))
    query, memory = query_and_memory()
    q, k, v = attention.w_q(query), attention.w_k(memory), attention.w_v(memory)
    heads = []
    for h in range(H):
        piece = slice(h * D_K, (h + 1) * D_K)
        heads.append(scaled_dot_product_attention(q[..., piece], k[..., piece], v[..., piece]))
    output, weights = attention(query, memory, memory, need_weights=True)
    concatenated = torch.cat([output for output, _ in heads], dim=-1)
    torch.testing.assert_close(output, attention.w_o(concatenated))
    torch.testing.assert_close(weights, torch.stack([weights for _, weights in heads], dim=1))


@PATHS
def test_weights_come_per_head_and_only_when_asked_for(path):
    attention = path(MultiHeadAttention(D, H))
    query, memory = query_and_memory()
    output, weights = attention(query, memory, memory)
    same, asked_for = attention(query, memory, memory, need_weights=True)
    assert weights is None
    assert asked_for.shape == (B, H, T, S)
    torch.testing.assert_close(output, same)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("mask", MASKS)
def test_fused_path_equals_the_formula_in_output_and_gradients(mask, training, randomise):
    slow = formula(randomise(MultiHeadAttention(D, H))).train(training)
    fast = fused(MultiHeadAttention(D, H)).train(training)
    fast.load_state_dict(slow.state_dict())
    query, memory = query_and_memory()
    mask, direction = MASKS[mask](), torch.randn(B, T, D)

    results = []
    for attention in (slow, fast):
        query.grad = memory.grad = None
        output, _ = attention(query, memory, memory, mask)
        output.backward(direction)
        parameters = [p.grad for p in attention.parameters()]
        results.append([output, query.grad, memory.grad, *parameters])
    for of_slow, of_fast in zip(*results, strict=True):
        assert compare("formula and fused", of_slow, of_fast) < 1e-5


LONG = 521  # more than two slices of the fused path
LONG_MASKS = {
    "causal": lambda: causal_mask(LONG),
    "padding": lambda: (torch.arange(LONG) < torch.tensor([[401], [LONG]]))[:, None, None],
    "per head": lambda: torch.rand(B, H, LONG, LONG) < 0.5,
    "one column": lambda: (torch.arange(LONG) % 3 > 0)[None, None, :, None],
    "nothing for the first slice": lambda: causal_mask(LONG) & (torch.arange(LONG) >= 300)[:, None],
}


@pytest.mark.parametrize("mask", LONG_MASKS)
def test_fused_path_equals_the_formula_over_several_slices(mask):
    slow, fast = formula(MultiHeadAttention(D, H)), fused(MultiHeadAttention(D, H))
    fast.load_state_dict(slow.state_dict())
    x, mask = torch.randn(B, LONG, D, requires_grad=True), LONG_MASKS[mask]()
    direction, results = torch.randn(B, LONG, D), []
    for attention in (slow, fast):
        x.grad = None
        output, _ = attention(x, x, x, mask)
        output.backward(direction)
        results.append([output, x.grad])
    for of_slow, of_fast in zip(*results, strict=True):
        assert compare("formula and fused", of_slow, of_fast) < 1e-4


def test_fused_path_is_taken_for_long_inputs_unless_weights_are_needed(monkeypatch):
    attention = MultiHeadAttention(D, H)
    calls = []
    monkeypatch.setattr(attention, "fused_attention", lambda q, *rest: calls.append(q.size(2)) or q)
    long, short = torch.randn(1, 512, D), torch.randn(1, 511, D)
    attention(short, short, short)
    attention(long, long, long, need_weights=True)
    assert calls == []
    attention(long, long, long)
    assert calls == [512]


@PATHS
@pytest.mark.parametrize("dtype", DTYPES)
def test_fully_masked_rows_are_zero_with_finite_gradients(dtype, path):
    attention = path(MultiHeadAttention(D, H, bias=False)).to(dtype)
    query, memory = query_and_memory(dtype)
    mask = some_mask(B, 1, T, S)
    mask[0, :, 2] = False  # one query of the first sentence
    mask[1] = False  # all queries of the second sentence
    output, _ = attention(query, memory, memory, mask)
    assert output.dtype == dtype
    assert output.isfinite().all()
    assert (output[0, 2] == 0).all()
    assert (output[1] == 0).all()
    assert (output[0, 3] != 0).any()

    output.sum().backward()
    for x in (query, memory, *attention.parameters()):
        assert x.grad.isfinite().all()
    assert (query.grad[0, 2] == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_fully_masked_rows_are_zero(dtype):
    attention = MultiHeadAttention(D, H).to(dtype)
    query, memory = query_and_memory(dtype)
    mask = torch.ones(B, 1, T, S, dtype=torch.bool)
    mask[0, :, 2] = False
    _, weights = attention(query, memory, memory, mask, need_weights=True)
    assert (weights[0, :, 2] == 0).all()
    assert (weights[0, :, 3].sum(dim=-1) - 1).abs().max() < 0.01


@PATHS
@pytest.mark.parametrize("mask", ["no mask", "padding"])
def test_dropout_acts_in_training_only(path, mask):
    attention = path(MultiHeadAttention(D, H, dropout=0.5))
    query, memory = query_and_memory()
    inputs = query, memory, memory, MASKS[mask]()
    first, second = (attention(*inputs)[0] for _ in range(2))
    assert not torch.allclose(first, second)
    attention.eval()
    first, second = (attention(*inputs)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_returned_weights_are_before_dropout():
    attention = MultiHeadAttention(D, H, dropout=0.5)
    query, memory = query_and_memory()
    _, weights = attention(query, memory, memory, need_weights=True)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, H, T))


@PATHS
@pytest.mark.parametrize("training", [True, False])
def test_with_a_causal_mask_nothing_leaks_from_the_future(training, path):
    attention = path(MultiHeadAttention(D, H)).train(training)
    x = torch.randn(B, T, D)
    before, _ = attention(x, x, x, causal_mask(T))
    for t in range(T):
        changed = x.clone()
        changed[:, t] += 1
        after, _ = attention(changed, changed, changed, causal_mask(T))
        torch.testing.assert_close(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@PATHS
def test_masked_keys_do_not_matter(path):
    attention = path(MultiHeadAttention(D, H))
    query, memory = query_and_memory()
    mask = MASKS["padding"]()
    before, _ = attention(query, memory, memory, mask)
    changed = memory.masked_fill(~mask[:, 0, 0, :, None], 1e3)
    after, _ = attention(query, changed, changed, mask)
    torch.testing.assert_close(before, after)


def test_self_attention_without_a_mask_knows_no_order():
    attention = MultiHeadAttention(D, H)
    x, order = torch.randn(B, T, D), torch.randperm(T)
    in_order, _ = attention(x, x, x)
    permuted, _ = attention(x[:, order], x[:, order], x[:, order])
    torch.testing.assert_close(permuted, in_order[:, order])


def test_sentences_of_a_batch_do_not_mix():
    attention = MultiHeadAttention(D, H)
    x = torch.randn(B, T, D)
    together, _ = attention(x, x, x)
    alone, _ = attention(x[1:], x[1:], x[1:])
    torch.testing.assert_close(together[1:], alone)


def test_every_parameter_gets_a_gradient():
    attention = MultiHeadAttention(D, H)
    query, memory = query_and_memory()
    attention(query, memory, memory)[0].square().sum().backward()
    for name, parameter in attention.named_parameters():
        assert parameter.grad is not None, name
        # The same number added to all scores changes no weight: the key's bias has no effect.
        assert parameter.grad.abs().max() > 1e-4 or name == "w_k.bias", name


@pytest.mark.parametrize(("bias", "expected"), [(True, 4 * (D * D + D)), (False, 4 * D * D)])
def test_number_of_parameters(bias, expected):
    attention = MultiHeadAttention(D, H, bias=bias)
    assert sum(p.numel() for p in attention.parameters()) == expected


def test_projections_start_xavier_uniform_without_bias():
    attention = MultiHeadAttention(D, H)
    bound = math.sqrt(6 / (D + D))
    for projection in (attention.w_q, attention.w_k, attention.w_v, attention.w_o):
        assert 0.9 * bound < projection.weight.abs().max() <= bound
        assert (projection.bias == 0).all()


def test_projections_start_different():
    attention = MultiHeadAttention(D, H)
    weights = [p for name, p in attention.named_parameters() if name.endswith("weight")]
    for i, first in enumerate(weights):
        for second in weights[:i]:
            assert not torch.equal(first, second)


@PATHS
def test_a_cache_provides_the_keys_and_values(path):
    attention = path(MultiHeadAttention(D, H))
    query, memory = query_and_memory()
    longer = torch.randn(B, S + 2, D)
    seen = []

    def cache(asking, key, value):
        seen.extend([asking, key, value])
        return asking.keys_values(longer, longer)

    output, _ = attention(query, memory, 2 * memory, cache=cache)
    expected, _ = attention(query, longer, longer)
    torch.testing.assert_close(output, expected)
    assert seen[0] is attention
    assert seen[1] is memory
    torch.testing.assert_close(seen[2], 2 * memory)


@PATHS
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_dtype_follows_the_inputs(dtype, path):
    attention = path(MultiHeadAttention(D, H)).to(dtype)
    query, memory = query_and_memory(dtype)
    assert attention(query, memory, memory)[0].dtype == dtype


@pytest.mark.parametrize("heads", [2, 0, -3])
def test_heads_must_divide_d_model(heads):
    with pytest.raises(ValueError, match=f"d_model=15 is not divisible by num_heads={heads}"):
        MultiHeadAttention(D, heads)


@PATHS
def test_a_mask_that_is_not_bool_is_an_error(path):
    attention = path(MultiHeadAttention(D, H))
    query, memory = query_and_memory()
    with pytest.raises(TypeError, match=r"bool \(True = may attend\), not torch.float32"):
        attention(query, memory, memory, torch.ones(B, 1, T, S))


@PATHS
@pytest.mark.parametrize(
    "shape",
    [
        *[(1, 1), (T, S), (B, T, S), (1, B, H, T, S)],  # of another rank
        *[(B, 1, S, T), (H, 1, T, S), (1, B, T, S)],  # of another size
    ],
)
def test_a_mask_that_does_not_fit_is_an_error(shape, path):
    attention = path(MultiHeadAttention(D, H))
    query, memory = query_and_memory()
    numbers = ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=rf"mask \({numbers}\) does not fit"):
        attention(query, memory, memory, torch.ones(shape, dtype=torch.bool))


@PATHS
def test_keys_and_values_of_different_lengths_are_an_error(path):
    attention = path(MultiHeadAttention(D, H))
    query, key, value = torch.randn(B, T, D), torch.randn(B, S, D), torch.randn(B, S + 2, D)
    with pytest.raises((ValueError, RuntimeError), match=r"11.*13"):
        attention(query, key, value)


@PATHS
@pytest.mark.parametrize("shape", [(T, D), (1, B, T, D)])
def test_inputs_that_are_not_batches_of_sequences_are_an_error(shape, path):
    attention = path(MultiHeadAttention(D, H))
    numbers = ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=rf"\({numbers}\)"):
        attention(*[torch.randn(shape)] * 3)


@PATHS
@pytest.mark.parametrize(("queries", "keys"), [(0, S), (T, 0)])
def test_an_empty_sequence_is_an_error(queries, keys, path):
    attention = path(MultiHeadAttention(D, H))
    query, memory = torch.randn(B, queries, D), torch.randn(B, keys, D)
    with pytest.raises(ValueError, match=rf"empty.*\(2, 3, {queries}, 5\).*\(2, 3, {keys}, 5\)"):
        attention(query, memory, memory)
