"""Checkers for notebook 04, embeddings and positions."""

import math

import torch

from transformer_lib.checks.judging import exercise, expect, expect_choice, expect_number

__all__ = [
    "map_of_two_turns",
    "mended_input",
    "position_fifty",
    "sinusoids_at",
    "turned_vectors",
    "two_equal_words",
]


def _angles(positions, d_model, twice=2.0):
    """The angles (…, D/2), with 2i/D in the exponent, or another multiple of i/D."""
    exponents = twice * torch.arange(d_model // 2, dtype=torch.float64) / d_model
    return positions[..., None].double() / 10000**exponents


def _pairs(first, second):
    """Two tables (…, D/2) side by side, place by place: (…, D)."""
    return torch.stack([first, second], dim=-1).flatten(-2)


def _hands(angles):
    """Where hands at these angles (…, D/2) point: (…, D)."""
    return _pairs(angles.sin(), angles.cos())


def _encoding(positions, d_model):
    """The vectors (…, D) of positions (…)."""
    return _hands(_angles(positions, d_model))


@exercise(4, 1)
def position_fifty(answer):
    """The third number of position 50, with D = 4: the sine of the slow hand."""
    expect_number(
        answer,
        math.sin(0.5),
        {
            "that is its cosine, the fourth number": math.cos(0.5),
            "that is the sine of the fast hand, the first number": math.sin(50),
            "that is the cosine of the fast hand, the second number": math.cos(50),
            "0.5 is meant in radians; your calculator counts in degrees": math.sin(
                math.radians(0.5)
            ),
            "that is the angle; its sine is asked for": 0.5,
            "the exponent is 2i/D = 2/4, not i/D": math.sin(50 / 10000 ** (1 / 4)),
        },
        tolerance=0.006,
    )


@exercise(4, 2)
def two_equal_words(answer):
    """Whether a word that stands in a sentence twice gets the same output, without positions."""
    expect_choice(
        answer,
        "b",
        {
            "a": "without a mask, yes. With one, how many words does the first *the* see, and how "
            "many the second?",
            "c": "without a mask both see the same five words, and no order among them",
            "d": "it is the other way round: which of the two lets every word see every other?",
        },
    )


@exercise(4, 3)
def sinusoids_at(answer):
    """The vectors (…, D) of any positions (…)."""
    _expect_encoding("one hand, D = 2, at positions 0 to 4", answer, torch.arange(5), 2)
    _expect_encoding("three hands, D = 6, at positions 0 to 4", answer, torch.arange(5), 6)
    positions = torch.tensor([[0, 0, 1], [7, 2, 31]])
    _expect_encoding("a batch (2, 3) of positions in any order", answer, positions, 10)
    between = torch.tensor([0.5, -3.0, 1.25])
    _expect_encoding("positions that are fractions, or negative", answer, between, 4)


def _expect_encoding(what, answer, positions, d_model):
    """Compare vectors of positions with the right ones, or with those of the usual slips."""
    angles = _angles(positions, d_model)
    column = torch.arange(d_model, dtype=torch.float64)
    by_column = positions[..., None].double() / 10000 ** (column / d_model)
    slower = 10000 ** (2 * torch.arange(d_model // 2) / d_model)
    expect(
        what,
        answer(positions, d_model),
        _hands(angles),
        {
            "the cosine comes first; place 2i is a sine": _pairs(angles.cos(), angles.sin()),
            "the angles are in radians already": _hands(angles.deg2rad()),
            "all sines, then all cosines; each cosine belongs beside its sine: sin, cos, sin, …": (
                torch.cat([angles.sin(), angles.cos()], dim=-1)
            ),
            "each place has a pace of its own; a sine and its cosine share the exponent 2i/D": (
                torch.where(column % 2 == 0, by_column.sin(), by_column.cos())
            ),
            "the exponent is i/D; it should be 2i/D, with i = 0, 1, 2, … for the hands": (
                _hands(_angles(positions, d_model, 1))
            ),
            "the exponent is doubled twice: an i that runs 0, 2, 4, … is 2i already": (
                _hands(_angles(positions, d_model, 4))
            ),
            "multiplied by 10000^(2i/D) instead of divided: each hand is slower than the one "
            "before": _hands(positions[..., None].double() * slower),
            "these are the angles: their sines and cosines are missing": angles,
        },
        tolerance=1e-3,
    )


@exercise(4, 4)
def map_of_two_turns(answer):
    """In which head both the queries and the keys were turned."""
    expect_choice(
        answer,
        "b",
        {
            "a": "there each word looks two words ahead: the queries were turned, and the keys not",
            "c": "there each word looks two words back: the keys were turned, and the queries not",
        },
    )


@exercise(4, 5)
def mended_input(answer):
    """Words (B, T) to vectors (B, T, D): table row times √D, plus position from `start` on."""
    V, D = 11, 6
    tokens, table = torch.randint(1, V, (2, 5)), torch.randn(V, D)
    table[0] = 0
    root = math.sqrt(D)
    words = table[tokens] * root
    first, from_3 = _encoding(torch.arange(5), D), _encoding(torch.arange(3, 8), D)

    one = torch.zeros(1, 1, dtype=torch.long)
    expect(
        "a word whose vector is 0: only the first position is left",
        answer(one, table),
        first[None, :1],
        {"the factor √D multiplies the position, too; it is for the word": root * first[None, :1]},
    )
    expect(
        "a single word",
        answer(tokens[:1, :1], table),
        words[:1, :1] + first[:1],
        {
            "the factor √D is missing": words[:1, :1] / root + first[:1],
            "divided by √D instead of multiplied": words[:1, :1] / D + first[:1],
        },
    )
    by_sentence = "positions are counted by sentence, as x.size(0) does: the words are dimension 1"
    expect(
        "a sentence of five words",
        answer(tokens[:1], table),
        words[:1] + first,
        {by_sentence: words[:1] + first[:1]},
    )
    expect(
        "two sentences, whose words have the same positions",
        answer(tokens, table),
        words + first,
        {by_sentence: words + first[:2, None]},
    )
    expect(
        "two sentences that begin at position 3",
        answer(tokens, table, 3),
        words + from_3,
        {
            "start is forgotten: every sentence begins at position 0": words + first,
            "off by one: the first word stands at position `start` itself": (
                words + _encoding(torch.arange(4, 9), D)
            ),
            "start is added to the vectors; it belongs to the positions": words + first + 3,
        },
    )


@exercise(4, 6)
def turned_vectors(answer):
    """Each vector of (…, T, D) turned as far as its position goes."""
    _expect_turned("a single word, at position 0, is not turned", answer, torch.randn(1, 2))
    _expect_turned("one hand, D = 2", answer, torch.randn(5, 2))
    _expect_turned("three hands, D = 6", answer, torch.randn(5, 6))
    _expect_turned("with a batch and heads in front", answer, torch.randn(2, 3, 5, 10))


def _turn(x, angles):
    """Turn each pair of places of x (…, D) by its angle (…, D/2)."""
    a, b, sines, cosines = x[..., 0::2], x[..., 1::2], angles.sin(), angles.cos()
    return _pairs(a * cosines + b * sines, b * cosines - a * sines)


def _expect_turned(what, answer, x):
    """Compare turned vectors with the right ones, or with those of the usual slips."""
    positions, size = torch.arange(x.size(-2)), x.size(-1)
    angles = _angles(positions, size)
    right = _turn(x, angles)
    first, second = right[..., 0::2], right[..., 1::2]
    overwritten = x[..., 1::2] * angles.cos() - first * angles.sin()
    halves = _turn(_pairs(*x.chunk(2, dim=-1)), angles)
    mistakes = {
        "turned the other way round": _turn(x, -angles),
        "one place of each pair was overwritten before the other was computed": (
            _pairs(first, overwritten)
        ),
        "positions count from 0": _turn(x, _angles(positions + 1, size)),
        "every hand turns at the pace of the first": _turn(x, positions[:, None]),
        "the exponent is i/D; it should be 2i/D": _turn(x, _angles(positions, size, 1)),
        "the exponent is doubled twice: an i that runs 0, 2, 4, … is 2i already": (
            _turn(x, _angles(positions, size, 4))
        ),
        "a hand is made of places 2i and 2i + 1, not of a place in each half": (
            torch.cat([halves[..., 0::2], halves[..., 1::2]], dim=-1)
        ),
        "the turned pairs stand apart: put them back side by side": (
            torch.cat([first, second], dim=-1)
        ),
        "the positions are added; they should turn": x + _encoding(positions, size),
    }
    if x.dim() == 4:
        by_head = _turn(x, _angles(torch.arange(x.size(1)), size)[:, None])
        mistakes["positions are counted along dimension 1: words are dimension −2"] = by_head
    expect(what, answer(x), right, mistakes)
