"""Properties of scaled dot-product attention, and parity with PyTorch's."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from transformer_lib import causal_mask, scaled_dot_product_attention
from transformer_lib.parity import compare

B, H, T, S, D_K, D_V = 2, 3, 5, 7, 11, 13  # different primes: a swapped axis cannot pass
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def queries_keys_values(dtype=torch.float32):
    return (
        torch.randn(B, H, T, D_K, dtype=dtype, requires_grad=True),
        torch.randn(B, H, S, D_K, dtype=dtype, requires_grad=True),
        torch.randn(B, H, S, D_V, dtype=dtype, requires_grad=True),
    )


def some_mask(*shape):
    """A random mask in which every query may attend to its first key at least."""
    mask = torch.rand(shape) < 0.5
    mask[..., 0] = True
    return mask


MASKS = {
    "no mask": lambda: None,
    "per key": lambda: some_mask(B, 1, 1, S),
    "per query and key": lambda: some_mask(1, 1, T, S),
    "per head": lambda: some_mask(B, H, T, S),
}


def test_a_query_equal_to_one_of_two_keys_prefers_that_key():
    query = torch.tensor([[1.0, 0.0]])
    key = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    value = torch.tensor([[10.0], [20.0]])
    output, weights = scaled_dot_product_attention(query, key, value)
    first = math.exp(1 / math.sqrt(2)) / (math.exp(1 / math.sqrt(2)) + 1)
    torch.testing.assert_close(weights, torch.tensor([[first, 1 - first]]))
    torch.testing.assert_close(output, torch.tensor([[10 * first + 20 * (1 - first)]]))


def test_shapes():
    output, weights = scaled_dot_product_attention(*queries_keys_values())
    assert output.shape == (B, H, T, D_V)
    assert weights.shape == (B, H, T, S)


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("mask", MASKS)
def test_parity_with_pytorch_in_output_and_gradients(mask, scale):
    ours, mask = queries_keys_values(), MASKS[mask]()
    theirs = [x.detach().clone().requires_grad_() for x in ours]
    output, _ = scaled_dot_product_attention(*ours, mask, scale=scale)
    expected = F.scaled_dot_product_attention(*theirs, mask, scale=scale)
    assert compare("output", output, expected) < 1e-5

    direction = torch.randn_like(output)
    output.backward(direction)
    expected.backward(direction)
    for name, x, y in zip(("query", "key", "value"), ours, theirs, strict=True):
        assert compare(f"gradient of {name}", x.grad, y.grad) < 1e-4


@given(
    queries=st.integers(1, 6),
    keys=st.integers(1, 6),
    spread=st.floats(0.1, 100),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_sum_to_one_where_something_may_be_attended_to(queries, keys, spread, seed):
    torch.manual_seed(seed)
    query, key = spread * torch.randn(queries, D_K), torch.randn(keys, D_K)
    mask = torch.rand(queries, keys) < 0.5
    _, weights = scaled_dot_product_attention(query, key, key, mask)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=-1), mask.any(dim=-1).float())


def test_masked_keys_get_weight_zero_and_the_others_more():
    query, key, value = queries_keys_values()
    mask = some_mask(B, 1, T, S).expand(B, H, T, S)
    _, weights = scaled_dot_product_attention(query, key, value, mask)
    assert torch.equal(weights > 0, mask)


def test_masked_keys_and_values_do_not_matter():
    query, key, value = queries_keys_values()
    mask = torch.arange(S) < 3
    before, _ = scaled_dot_product_attention(query, key, value, mask[None, None, None])
    hidden = ~mask[:, None]
    key, value = key.masked_fill(hidden, 1e3), value.masked_fill(hidden, -1e3)
    after, _ = scaled_dot_product_attention(query, key, value, mask[None, None, None])
    assert torch.equal(before, after)


def test_a_masked_key_stays_hidden_however_low_the_other_scores():
    query, key = torch.full((1, 1), 1e6), torch.tensor([[-1e6], [1.0]])
    mask = torch.tensor([[True, False]])
    _, weights = scaled_dot_product_attention(query, key, key, mask)
    assert weights.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_fully_masked_rows_are_zero_with_finite_gradients(dtype):
    query, key, value = queries_keys_values(dtype)
    mask = some_mask(B, 1, T, S)
    mask[0, :, 2] = False  # one query of the first sentence
    mask[1] = False  # all queries of the second sentence
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    for result in (output, weights):
        assert result.dtype == dtype
        assert result.isfinite().all()
        assert (result[0, :, 2] == 0).all()
        assert (result[1] == 0).all()
    assert (weights[0, :, 3].sum(dim=-1) - 1).abs().max() < 0.01  # its neighbour is in order

    (output.sum() + weights.square().sum()).backward()
    for x in (query, key, value):
        assert x.grad.isfinite().all()
    assert (query.grad[0, :, 2] == 0).all()
    assert (query.grad[0, :, 3] != 0).any()


@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_no_nan_arises_on_the_way_back_from_a_fully_masked_row():
    query, key, value = queries_keys_values()
    mask = torch.zeros(1, 1, T, 1, dtype=torch.bool)
    with torch.autograd.detect_anomaly():  # raises where a gradient is NaN
        output, _ = scaled_dot_product_attention(query, key, value, mask)
        output.sum().backward()
    assert (query.grad == 0).all()


@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64])
def test_dtype_follows_the_inputs(dtype):
    output, weights = scaled_dot_product_attention(*queries_keys_values(dtype))
    assert output.dtype == weights.dtype == dtype


@pytest.mark.parametrize("axes", [2, 3, 4])
def test_any_number_of_leading_axes(axes):
    query, key, value = queries_keys_values()
    full, _ = scaled_dot_product_attention(query, key, value)
    last = (0,) * (4 - axes)
    output, _ = scaled_dot_product_attention(query[last], key[last], value[last])
    torch.testing.assert_close(output, full[last])


def test_a_query_of_zeros_averages_the_values():
    _, key, value = queries_keys_values()
    output, _ = scaled_dot_product_attention(torch.zeros(B, H, T, D_K), key, value)
    torch.testing.assert_close(output, value.mean(dim=-2, keepdim=True).expand_as(output))


def test_the_order_of_keys_with_their_values_does_not_matter():
    query, key, value = queries_keys_values()
    before, _ = scaled_dot_product_attention(query, key, value)
    order = torch.randperm(S)
    after, _ = scaled_dot_product_attention(query, key[..., order, :], value[..., order, :])
    torch.testing.assert_close(before, after)


def test_dropout_drops_and_rescales_weights_on_their_way_to_the_output():
    query, key, _ = queries_keys_values()
    value = torch.eye(S).expand(B, H, S, S)  # makes the output the weights that were used
    used, weights = scaled_dot_product_attention(query, key, value, dropout=0.2)
    dropped = used == 0
    assert 0.1 < dropped.float().mean() < 0.3
    torch.testing.assert_close(used, (weights / 0.8).masked_fill(dropped, 0.0))


def test_returned_weights_are_before_dropout():
    _, weights = scaled_dot_product_attention(*queries_keys_values(), dropout=0.5)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(B, H, T))


def test_the_mask_itself_is_left_alone():
    mask = causal_mask(T)
    query, _, _ = queries_keys_values()
    scaled_dot_product_attention(query, query, query, mask)
    assert torch.equal(mask, causal_mask(T))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64, torch.uint8])
def test_a_mask_that_is_not_bool_is_an_error(dtype):
    with pytest.raises(TypeError, match=rf"bool \(True = may attend\), not {dtype}"):
        scaled_dot_product_attention(*queries_keys_values(), torch.ones(B, H, T, S, dtype=dtype))


@pytest.mark.parametrize(
    "shape", [(T, S), (1, 1), (B, H, T, S, 1), (B, H, S, T), (H, B, 1, 1), (1, 1, 1, S + 1)]
)
def test_a_mask_that_does_not_fit_is_an_error_with_both_shapes(shape):
    numbers = ", ".join(map(str, shape))
    with pytest.raises(ValueError, match=rf"mask \({numbers}\).*scores \(2, 3, 5, 7\)"):
        scaled_dot_product_attention(*queries_keys_values(), torch.ones(shape, dtype=torch.bool))


@pytest.mark.parametrize(("queries", "keys"), [(0, S), (T, 0), (0, 0)])
def test_an_empty_sequence_is_an_error(queries, keys):
    query, key = torch.ones(B, queries, D_K), torch.ones(B, keys, D_K)
    with pytest.raises(
        ValueError, match=rf"empty.*query \(2, {queries}, 11\), key \(2, {keys}, 11\)"
    ):
        scaled_dot_product_attention(query, key, key)
