"""The two masks, cell by cell, and together."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from transformer_lib import causal_mask, padding_mask, scaled_dot_product_attention

token_batches = st.tuples(st.integers(1, 5), st.integers(1, 7)).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 3), min_size=size[1], max_size=size[1]),
        min_size=size[0],
        max_size=size[0],
    )
)


@given(tokens=token_batches, pad_id=st.integers(0, 3))
def test_padding_mask_is_true_where_a_token_is_real(tokens, pad_id):
    mask = padding_mask(torch.tensor(tokens), pad_id)
    assert mask.dtype == torch.bool
    assert mask.shape == (len(tokens), 1, 1, len(tokens[0]))
    assert mask[:, 0, 0].tolist() == [[token != pad_id for token in row] for row in tokens]


@given(length=st.integers(1, 11))
def test_causal_mask_lets_position_i_see_0_to_i(length):
    mask = causal_mask(length)
    assert mask.dtype == torch.bool
    assert mask.shape == (1, 1, length, length)
    assert mask[0, 0].tolist() == [[j <= i for j in range(length)] for i in range(length)]


@given(tokens=token_batches)
def test_combined_masks_hide_padding_and_the_future(tokens):
    mask = padding_mask(torch.tensor(tokens), 0) & causal_mask(len(tokens[0]))
    length = len(tokens[0])
    expected = [
        [[row[j] != 0 and j <= i for j in range(length)] for i in range(length)] for row in tokens
    ]
    assert mask.shape == (len(tokens), 1, length, length)
    assert mask[:, 0].tolist() == expected


@given(tokens=token_batches, heads=st.integers(1, 5))
def test_combined_masks_broadcast_over_heads(tokens, heads):
    tokens = torch.tensor(tokens)
    mask = padding_mask(tokens, 0) & causal_mask(tokens.size(1))
    x = torch.ones(tokens.size(0), heads, tokens.size(1), 3)
    _, weights = scaled_dot_product_attention(x, x, x, mask)
    assert torch.equal(weights > 0, mask.expand_as(weights))


def test_causal_mask_is_pytorchs_causal_attention():
    x = torch.randn(2, 3, 5, 7)
    output, _ = scaled_dot_product_attention(x, x, x, causal_mask(5))
    expected = F.scaled_dot_product_attention(x, x, x, is_causal=True)
    torch.testing.assert_close(output, expected)


def test_causal_mask_is_true_where_pytorchs_additive_mask_is_zero():
    additive = nn.Transformer.generate_square_subsequent_mask(7)
    assert torch.equal(causal_mask(7)[0, 0], additive == 0)


def test_masks_live_on_the_device_that_was_asked_for():
    assert causal_mask(5, device="meta").device.type == "meta"
    assert padding_mask(torch.ones(2, 3, device="meta"), 0).device.type == "meta"


@pytest.mark.parametrize(("shape", "text"), [((5,), r"\(5,\)"), ((2, 3, 5), r"\(2, 3, 5\)")])
def test_padding_mask_wants_a_batch_of_sequences(shape, text):
    with pytest.raises(ValueError, match=rf"\(B, S\), got shape {text}"):
        padding_mask(torch.ones(shape, dtype=torch.long), 0)


@pytest.mark.parametrize("length", [0, -3])
def test_causal_mask_wants_at_least_one_token(length):
    with pytest.raises(ValueError, match=f"at least 1, got {length}"):
        causal_mask(length)
