"""Checkers for notebook 01, scaled dot-product attention."""

import math

import torch

from transformer_lib.checks.judging import exercise, expect, expect_choice, expect_number

__all__ = [
    "attention_in_blocks",
    "attention_weights",
    "map_without_scale",
    "mended_attention",
    "ten_times_the_queries",
    "weight_of_milk",
]

T, S, D_K, D_V = 3, 5, 7, 2
OVER_QUERIES = "your weights sum to 1 over queries (dim −2); softmax belongs over keys (dim −1)"


def _inputs(*batch):
    """Random query (…, T, d_k), key (…, S, d_k) and value (…, S, d_v)."""
    return tuple(torch.randn(*batch, *size) for size in ((T, D_K), (S, D_K), (S, D_V)))


def _weights(query, key, scale=None):
    """The right weights (…, T, S), or those of another scale."""
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    return (query @ key.mT * scale).softmax(dim=-1)


@exercise(1, 1)
def weight_of_milk(answer):
    """The weight of *milk* for *drinks*, once *fresh* has joined the sentence."""

    def share(scores):
        powers = [math.exp(score) for score in scores]
        return powers[2] / sum(powers)

    expect_number(
        answer,
        share([1, 0, 2, 1]),
        {
            "that is its weight without *fresh*: the new word takes its share, too": share(
                [1, 0, 2]
            ),
            "the scores were not divided by √d_k = 2": share([2, 0, 4, 2]),
            "the scores were divided by d_k = 4 instead of √d_k = 2": share([0.5, 0, 1, 0.5]),
            "a scaled score divided by their sum: the softmax raises e to each score first": 2 / 4,
            "that is e², not yet divided by the sum of the row": math.exp(2),
        },
        tolerance=0.006,
    )


@exercise(1, 2)
def ten_times_the_queries(answer):
    """What happens to the weights when all queries are multiplied by 10."""
    expect_choice(
        answer,
        "b",
        {
            "a": "each row sums to 1 before and after, but which word gets how much can change: "
            "compare e² : e¹ with e²⁰ : e¹⁰",
            "c": "equal shares come from equal scores; a factor of 10 drives scores apart",
            "d": "a query and a key are multiplied place by place, so a larger query makes every "
            "score larger, and e to the power of it",
        },
    )


@exercise(1, 3)
def attention_weights(answer):
    """Weights (T, S) from query (T, d_k) and key (S, d_k)."""
    query, key, _ = _inputs()
    scores = query @ key.T / math.sqrt(D_K)
    expect(
        "with a single key, each query gives it a weight of 1",
        answer(query, key[:1]),
        torch.ones(T, 1),
        {
            OVER_QUERIES: scores[:, :1].softmax(dim=-2),
            "these are scores: the softmax is missing": scores[:, :1],
            "these are scores, not scaled: the softmax is missing": query @ key[:1].T,
        },
    )
    expect(
        "the weights of 3 queries over 5 keys",
        answer(query, key),
        _weights(query, key),
        {
            OVER_QUERIES: scores.softmax(dim=-2),
            "your weights sum to 1 over the whole table; each row should do so": (
                scores.flatten().softmax(dim=0).view(T, S)
            ),
            "the scores are not divided by √d_k": _weights(query, key, 1),
            "the scores are divided by d_k; it should be √d_k": _weights(query, key, 1 / D_K),
            "divided by the root of the number of queries; d_k is the number of places, "
            "query.shape[-1]": _weights(query, key, 1 / math.sqrt(T)),
            "divided by the root of the number of keys; d_k is the number of places, "
            "key.shape[-1]": _weights(query, key, 1 / math.sqrt(S)),
            "multiplied by √d_k instead of divided": _weights(query, key, math.sqrt(D_K)),
            "the scores are divided by their sum; the softmax raises e to each of them first": (
                scores / scores.sum(dim=-1, keepdim=True)
            ),
            "rows and columns are swapped: a row belongs to a query": _weights(query, key).T,
        },
    )


@exercise(1, 4)
def mended_attention(answer):
    """Attention over any number of leading dimensions, mended."""
    query, key, value = _inputs()
    expect("a single sentence", answer(query, key, value), _weights(query, key) @ value)
    for batch in ((2,), (2, 3)):
        query, key, value = _inputs(*batch)
        scores = query @ key.mT
        expect(
            f"inputs with {len(batch)} dimension{'s' * (len(batch) > 1)} in front",
            answer(query, key, value),
            _weights(query, key) @ value,
            {
                "the softmax does not run over the keys: with a batch in front they are no longer "
                "dimension 1, but always dimension −1": (
                    (scores / math.sqrt(D_K)).softmax(dim=1) @ value
                ),
                "d_k is no longer dimension 1, but always dimension −1": (
                    _weights(query, key, 1 / math.sqrt(key.shape[1])) @ value
                ),
                "two slips are left: neither the softmax nor d_k may count dimensions from the "
                "front": (scores / math.sqrt(key.shape[1])).softmax(dim=1) @ value,
            },
        )


@exercise(1, 5)
def map_without_scale(answer):
    """Which of three maps comes from scores that were not divided by √d_k."""
    expect_choice(
        answer,
        "b",
        {
            "a": "its largest weights are the palest of the three: its scores lie closest together",
            "c": "compare its largest weight in each row with those of the other maps",
        },
    )


@exercise(1, 6)
def attention_in_blocks(answer):
    """Attention that sees keys and values (S, d_k), (S, d_v) one block at a time."""
    query, key, value = _inputs()
    expect(
        "all keys in one block",
        answer(query, [(key, value)]),
        _weights(query, key) @ value,
        {"the scores are not divided by √d_k": _weights(query, key, 1) @ value},
    )
    blocks = [(key[:2], value[:2]), (key[2:], value[2:])]
    parts = [_weights(query, k) @ v for k, v in blocks]
    own = [
        ((s - s.amax(dim=-1, keepdim=True)).exp(), v)
        for s, v in ((query @ k.T / math.sqrt(D_K), v) for k, v in blocks)
    ]
    sums = sum(w.sum(dim=-1, keepdim=True) for w, _ in own)
    expect(
        "keys in two blocks, of 2 and of 3",
        answer(query, blocks),
        _weights(query, key) @ value,
        {
            "a softmax within each block and the mean of the results: a block with larger scores "
            "must count for more": sum(parts) / 2,
            "a softmax within each block and the sum of the results": sum(parts),
            "only the last block counts": parts[-1],
            "each block was shifted by its own maximum: rescale what you have so far when a "
            "larger maximum comes": sum(w @ v for w, v in own) / sums,
        },
    )
    large = torch.tensor([[30.0]])
    blocks = [(large, torch.tensor([[1.0]])), (large * 2, torch.tensor([[2.0]]))]
    expect(
        "with scores of 900 and 1800, where e to the power of it is infinite: subtract a maximum",
        answer(large, blocks),
        torch.tensor([[2.0]]),
    )
