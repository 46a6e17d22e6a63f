"""Checkers for notebook 02, masks."""

import math

import torch
from torch import Tensor

from transformer_lib.attention import scaled_dot_product_attention
from transformer_lib.checks.judging import (
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
)
from transformer_lib.masks import causal_mask

__all__ = [
    "future_leaks",
    "map_of_the_wrong_side",
    "mended_masking",
    "packed_mask",
    "share_of_padding",
    "words_ahead",
]

T, S, D_K, D_V = 3, 5, 7, 2


@exercise(2, 1)
def share_of_padding(answer):
    """What three tokens of padding take of the attention of *cat*, all together."""
    e = math.e
    expect_number(
        answer,
        3 / (2 * e + 3),
        {
            "that is the share of a single <pad>; there are three": 1 / (2 * e + 3),
            "that is the share of <pad> when there is only one": 1 / (2 * e + 1),
            "that is what the words keep: take it from 1": 2 * e / (2 * e + 3),
            "a score of 0 is not nothing: e⁰ is 1": 0,
            "that would be the share if all five scores were equal": 3 / 5,
            "the scores of 1 are scaled already; they are not 2": 3 / (2 * e**2 + 3),
        },
        tolerance=0.006,
    )


@exercise(2, 2)
def words_ahead(answer):
    """How far three layers see whose mask is off by one."""
    expect_choice(
        answer,
        "c",
        {
            "a": "the diagonal is there, and one more cell to the right of it",
            "b": "that is one layer. The second reads outputs of the first, and those of word 2 "
            "know something of word 3 already",
            "d": "each layer adds one word, and there are only three layers",
        },
    )


@exercise(2, 3)
def map_of_the_wrong_side(answer):
    """Which map of cross-attention was made with the mask of the target."""
    expect_choice(
        answer,
        "c",
        {
            "a": "its zeros stand below both <pad> of the source and nowhere else: that is the "
            "mask of the source, and right",
            "b": "the padding of the source is hidden as it should be. What is hidden besides is "
            "a row; a mask made by padding_mask hides columns",
        },
    )


@exercise(2, 4)
def packed_mask(answer):
    """The mask (B, 1, T, T) of several sentences in one row, from their numbers (B, T)."""
    one = torch.ones(1, T, dtype=torch.long)
    _expect_mask("one sentence without padding: a causal mask", answer(one), one)
    two = torch.tensor([[1, 1, 1, 2, 2]])
    _expect_mask("two sentences in a row", answer(two), two)
    padded = torch.tensor([[1, 1, 2, 0, 0]])
    _expect_mask("two sentences and padding", answer(padded), padded)
    batch = torch.tensor([[1, 2, 2, 2, 3, 0, 0], [7, 7, 4, 4, 9, 9, 9]])
    _expect_mask("two rows with other numbers", answer(batch), batch)


def _expect_mask(what, came, sentence):
    """Compare a mask of packed sentences with the right one, or with one of the usual slips."""
    same = sentence[:, None, :, None] == sentence[:, None, None, :]  # (B, 1, T, T)
    real = (sentence != 0)[:, None, None, :]
    causal = causal_mask(sentence.size(1))
    right = same & real & causal
    expect(
        what,
        came,
        right,
        {
            "True means may attend; yours is the other way round": ~right,
            "the axis for the heads is missing: (B, 1, T, T)": right[:, 0],
            "a word sees those after it: the causal mask is missing, or joined with | (or) "
            "where & (and) is needed": same & real,
            "each word sees only those after it and itself: rows ask, columns answer": right.mT,
            "a sentence looks at the one before it: compare their numbers": causal & real,
            "padding looks at padding, since 0 equals 0: hide the keys that are 0, too": (
                same & causal
            ),
        },
    )


@exercise(2, 5)
def mended_masking(answer):
    """Attention of a (T, d_k) query with a mask (T, S) that means what ours means."""
    query, key, value = torch.randn(T, D_K), torch.randn(S, D_K), torch.randn(S, D_V)
    everything = torch.ones(T, S, dtype=torch.bool)
    inputs = query, key, value, everything
    _expect_masked("a mask that hides nothing", answer(*inputs), *inputs)
    some = torch.tensor([[1, 0, 0, 1, 1], [0, 1, 0, 0, 0], [1, 1, 0, 1, 0]]).bool()
    inputs = query, key, value, some
    _expect_masked("a mask that hides some keys", answer(*inputs), *inputs)
    none = some & torch.tensor([[True], [False], [True]])
    inputs = query, key, value, none
    _expect_masked("a second query that may look at nothing", answer(*inputs), *inputs)
    _expect_finite_gradients(answer, *inputs)


def _expect_masked(what, came, query, key, value, mask):
    """Compare an output with the right one, or with one of the usual slips."""
    scores = query @ key.T / math.sqrt(D_K)
    infinite = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    expect(
        what,
        came,
        scaled_dot_product_attention(query, key, value, mask)[0],
        {
            "masked_fill writes where its mask is True, and there your keys may be seen: "
            "it needs ~mask": scores.masked_fill(mask, -math.inf).softmax(dim=-1) @ value,
            "the mask is the other way round: True means may attend": (
                scores.masked_fill(mask, -1e9).softmax(dim=-1) @ value
            ),
            "nothing is hidden": scores.softmax(dim=-1) @ value,
            "masked after the softmax: rows no longer sum to 1": (
                (scores.softmax(dim=-1) * mask) @ value
            ),
            "the mask is added to the scores: that raises some and hides none": (
                (scores + mask).softmax(dim=-1) @ value
            ),
            "a score of 0 is not hidden, since e⁰ is 1": (
                scores.masked_fill(~mask, 0).softmax(dim=-1) @ value
            ),
            "a row of −∞ is 0/0 in the softmax: NaN": infinite @ value,
            "a row of equal scores looks at everything it must not see": (
                scores.masked_fill(~mask, -1e9).softmax(dim=-1) @ value
            ),
        },
    )


def _expect_finite_gradients(answer, query, key, value, mask):
    """Demand gradients without NaN, also where a query may look at nothing."""
    inputs = [x.clone().requires_grad_() for x in (query, key, value)]
    output = answer(*inputs, mask)
    expect_true(
        isinstance(output, Tensor) and output.requires_grad,
        "the output carries no gradient: compute it from the inputs with tensors alone",
    )
    output.sum().backward()
    expect_true(
        all(x.grad is not None and x.grad.isfinite().all() for x in inputs),
        "the output is right, but its gradient is NaN\n"
        "  likely    a NaN arises on the way and is overwritten at the end; 0 · NaN on the way "
        "back is NaN again: let none arise",
    )


@exercise(2, 6)
def future_leaks(answer):
    """Whether the outputs of an attention depend on words that come later."""
    words, matrices = torch.randn(S, D_K), torch.randn(3, D_K, D_K) / math.sqrt(D_K)
    everything = torch.ones(S, S, dtype=torch.bool)
    right = everything.tril()

    def masked(mask):
        return lambda x: scaled_dot_product_attention(*(x @ m for m in matrices), mask)[0]

    def masked_late(x):
        query, key, value = (x @ m for m in matrices)
        return ((query @ key.T / math.sqrt(D_K)).softmax(dim=-1) * right) @ value

    def expect_alarm(what, attention, alarm, hint):
        hints = {hint: torch.tensor(not alarm)}
        expect(what, answer(attention, words), torch.tensor(alarm), hints)

    closer = "try every word in turn, look at every output before it, and compare closely"
    expect_alarm(
        "attention with a causal mask leaks nothing",
        masked(right),
        False,
        "the changed word's own output may move, and so may those after it: look at those before. "
        "And change it to finite numbers, since 0 · NaN is NaN",
    )
    window, too_far = right.triu(diagonal=-1), everything.tril(diagonal=1)
    forgets = "that it forgets older words is no leak"
    expect_alarm("each word sees itself and the one before", masked(window), False, forgets)
    expect_alarm("attention without a mask leaks", masked(None), True, closer)
    expect_alarm("a triangle that is off by one leaks", masked(too_far), True, closer)
    for i, j in (~right).nonzero().tolist():
        leak = right.clone()
        leak[i, j] = True
        what = f"word {i + 1} of {S} sees word {j + 1}; all else is causal"
        expect_alarm(what, masked(leak), True, closer)
    expect_alarm(
        "attention that is masked after the softmax leaks",
        masked_late,
        True,
        "its leak is small: the later words' scores still count in the sum that everyone is "
        "divided by. Change a word by enough, and compare closely",
    )
