"""Checkers for notebook 03, multi-head attention."""

import copy
import math

import torch

from transformer_lib.checks.judging import (
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
    guard,
    unpack,
)
from transformer_lib.multi_head import MultiHeadAttention

__all__ = [
    "grouped_attention",
    "map_of_one_question",
    "mended_multi_head",
    "narrow_head",
    "one_place_changed",
    "silenced_head",
]

B, T, S = 2, 7, 11


def _projections(*sizes):
    """Random matrices (D, size), one for each size."""
    return [torch.randn(sizes[0], size) / math.sqrt(sizes[0]) for size in sizes]


def _split(x, num_heads):
    """(B, T, D) → (B, H, T, d_k)."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def _cut_the_sentence(x, num_heads):
    """The classic slip: the right shape (B, H, T, d_k), the wrong numbers."""
    return x.reshape(x.size(0), num_heads, x.size(1), -1)


def _heads(q, k, v, scale=None):
    """What every head (B, H, T, d_k) gives, with the right scale or another one."""
    scale = 1 / math.sqrt(q.size(-1)) if scale is None else scale
    return (q @ k.mT * scale).softmax(dim=-1) @ v


def _merge(heads):
    """(B, H, T, d_k) → (B, T, D)."""
    return heads.transpose(1, 2).flatten(-2)


@exercise(3, 1)
def narrow_head(answer):
    """The weight that *milk* gives to *cat* in a head that sees one place alone."""

    def share(scores, scale=1.0):
        powers = [math.exp(score * scale) for score in scores]
        return powers[0] / sum(powers)

    expect_number(
        answer,
        share([2, 0, 0]),
        {
            "divided by √4; a head has one of the four places, so √d_k = 1": (
                share([2, 0, 0], 1 / 2)
            ),
            "divided by √2; with four heads, each has one of the four places": (
                share([2, 0, 0], 1 / math.sqrt(2))
            ),
            "that is a head with two places, *doer* and *action*; this one has *doer* alone": (
                share([2, 2, 0], 1 / math.sqrt(2))
            ),
            "that is one head with all four places": share([2, 2, 0], 1 / 2),
            "*milk* asks for an action, too, but this head does not see that": share([2, 2, 0]),
            "a score divided by the sum of the scores: the softmax raises e to each first": 1,
            "that is the power, not yet divided by the sum of the row": math.exp(2),
        },
        tolerance=0.006,
    )


@exercise(3, 2)
def one_place_changed(answer):
    """Whose weights can change when one place of the word vectors does."""
    expect_choice(
        answer,
        "b",
        {
            "a": "it is queries, keys and values that are cut, not x: each head makes its own of "
            "all six places",
            "c": "W^O comes after the weights and cannot reach back; but is it needed?",
            "d": "and what are the queries and keys made of?",
        },
    )


@exercise(3, 3)
def map_of_one_question(answer):
    """In which head all words ask the same question."""
    expect_choice(
        answer,
        "a",
        {
            "b": "its rows differ, so the words ask different questions",
            "c": "there the words may ask what they like: all keys are the same, so all scores of "
            "a row are, too",
        },
    )


@exercise(3, 4)
def mended_multi_head(answer):
    """Multi-head attention of a query (B, T, D) over a memory (B, S, D), mended."""
    D, H = 15, 3
    query, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    w_q, w_k, w_v, w_o = matrices = _projections(D, D, D, D)

    q, k, v = query @ w_q, memory @ w_k, memory @ w_v
    expect(
        "with one head, one word and one word to look at, the output is memory @ w_v @ w_o",
        answer(query[:, :1], memory[:, :1], *matrices, 1),
        v[:, :1] @ w_o,
        {
            "the values are made with w_q": memory[:, :1] @ w_q @ w_o,
            "the values are made with w_k": memory[:, :1] @ w_k @ w_o,
            "the values are made of the query": query[:, :1] @ w_v @ w_o,
            "w_o is missing": v[:, :1],
        },
    )
    expect(
        "one head",
        answer(query, memory, *matrices, 1),
        _heads(q, k, v) @ w_o,
        {
            "the scores are not divided by √d_k": _heads(q, k, v, 1) @ w_o,
            "the keys are made with w_q": _heads(q, memory @ w_q, v) @ w_o,
            "the queries are made with w_k": _heads(query @ w_k, k, v) @ w_o,
        },
    )
    q, k, v = _split(q, H), _split(k, H), _split(v, H)
    k_cut, v_cut = _cut_the_sentence(memory @ w_k, H), _cut_the_sentence(memory @ w_v, H)
    cut = "the sentence is cut instead of the vectors: unflatten, then transpose"
    one = q[:, :, :1]
    expect(
        "three heads, and queries of one word",
        answer(query[:, :1], memory, *matrices, H),
        _merge(_heads(one, k, v)) @ w_o,
        {
            cut: _merge(_heads(one, k_cut, v_cut)) @ w_o,
            "the scores are divided by √D; each head has d_k = D/H places": (
                _merge(_heads(one, k, v, 1 / math.sqrt(D))) @ w_o
            ),
            "the scores are divided by √H; each head has d_k = D/H places": (
                _merge(_heads(one, k, v, 1 / math.sqrt(H))) @ w_o
            ),
        },
    )
    expect(
        "three heads",
        answer(query, memory, *matrices, H),
        _merge(_heads(q, k, v)) @ w_o,
        {
            "the heads are merged without a transpose, which mixes up the words": (
                _heads(q, k, v).reshape(B, T, D) @ w_o
            ),
            cut: _merge(_heads(_cut_the_sentence(query @ w_q, H), k, v)) @ w_o,
        },
    )


@exercise(3, 5)
def silenced_head(answer):
    """A copy of a MultiHeadAttention in which one head, counted from 0, writes nothing."""
    D, H = 15, 3
    attention = MultiHeadAttention(D, H)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    before = copy.deepcopy(attention)
    x = torch.randn(B, T, D)
    for head in (1, 0, 2):
        came = answer(attention, head)
        same = all(map(torch.equal, attention.state_dict().values(), before.state_dict().values()))
        expect_true(same, "the attention itself has changed: work on copy.deepcopy(attention)")
        expect_true(callable(came), "a copy of the attention is expected, to be called like it")
        output, _ = unpack(guard(came)(x, x, x), "output", "weights")
        _expect_silent(f"the output when head {head} is silent", output, attention, head, x)


def _expect_silent(what, came, attention, head, x):
    """Compare an output with that of the other heads alone, or with one of the usual slips."""
    d_k = attention.w_o.weight.size(0) // attention.num_heads
    own = slice(head * d_k, (head + 1) * d_k)
    one_before = slice(max(head - 1, 0) * d_k, head * d_k)

    def with_zeros(*places):
        twin = copy.deepcopy(attention)
        with torch.no_grad():
            for name, index in places:
                twin.get_parameter(name)[index] = 0
        return twin(x, x, x)[0].detach()

    columns = (slice(None), own)
    expect(
        what,
        came,
        with_zeros(("w_o.weight", columns)),
        {
            "nothing is silent: is it the copy that you changed and return?": with_zeros(),
            "nn.Linear stores W^O transposed: head h owns columns of w_o.weight, and you cleared "
            "rows": with_zeros(("w_o.weight", own)),
            "the bias of w_o belongs to no head: leave it": (
                with_zeros(("w_o.weight", columns), ("w_o.bias", slice(None)))
            ),
            "its bias in w_v is left: without a weight the head still writes that": (
                with_zeros(("w_v.weight", own))
            ),
            "without a query or a key a head is not silent: its weights are all alike, and it "
            "writes the mean of its values": with_zeros(("w_q.weight", own), ("w_q.bias", own)),
            "its query's weight is 0; that changes where the head looks, not whether it writes": (
                with_zeros(("w_q.weight", own))
            ),
            "another head is silent: they count from 0": (
                with_zeros(("w_o.weight", (slice(None), one_before)))
            ),
            "nn.Linear stores matrices transposed: head h owns rows of w_v.weight, and you "
            "cleared columns": with_zeros(("w_v.weight", columns)),
        },
    )


@exercise(3, 6)
def grouped_attention(answer):
    """Attention whose heads share keys and values, as many heads to each as to any other."""
    D, H = 30, 6
    query, memory = torch.randn(B, T, D), torch.randn(B, S, D)
    for groups, what in (
        (H, "a key and a value for each head: the attention you know"),
        (1, "one key and one value for all heads"),
        (2, "six heads in two groups"),
        (3, "six heads in three groups"),
    ):
        w_q, w_o, w_k, w_v = _projections(D, D, D // H * groups, D // H * groups)
        q = _split(query @ w_q, H)
        k, v = _split(memory @ w_k, groups), _split(memory @ w_v, groups)

        def output(q, *key_value, scale=None, w_o=w_o):
            return _merge(_heads(q, *key_value, scale)) @ w_o

        k_each, v_each = (x.repeat_interleave(H // groups, dim=1) for x in (k, v))
        k_dealt, v_dealt = (x.repeat(1, H // groups, 1, 1) for x in (k, v))
        expect(
            what,
            answer(query, memory, w_q, w_k, w_v, w_o, H, groups),
            output(q, k_each, v_each),
            {
                "the groups are dealt out one head at a time; heads side by side should share, "
                "the first H/G of them the first key": output(q, k_dealt, v_dealt),
                "the keys are right, the values dealt out one head at a time": (
                    output(q, k_each, v_dealt)
                ),
                "all heads use the first group": output(q, k[:, :1], v[:, :1]),
                "all heads use the mean of the groups": (
                    output(q, k.mean(1, keepdim=True), v.mean(1, keepdim=True))
                ),
                "w_o is missing": _merge(_heads(q, k_each, v_each)),
                "the scores are not divided by √d_k": output(q, k_each, v_each, scale=1),
                "the scores are divided by √D; each head has d_k = D/H places": (
                    output(q, k_each, v_each, scale=1 / math.sqrt(D))
                ),
                "the heads are merged without a transpose, which mixes up the words": (
                    _heads(q, k_each, v_each).reshape(B, T, D) @ w_o
                ),
            },
        )
