"""Plausible wrong answers to notebook 04: label → (answer, part of the verdict)."""

import math

import torch
from torch.nn import functional as F

from transformer_lib.embeddings import sinusoidal_encoding

# --- sinusoids at any position ----------------------------------------------------------


def hands(*, exponent=lambda i, d: 2 * i / d, join=None, unit=1.0, first=torch.sin, rest=torch.cos):
    """The encoding, with slips of choice."""

    def sinusoids(positions, d_model):
        i = torch.arange(d_model // 2)
        angles = positions[..., None] / 10000 ** exponent(i, d_model) * unit
        if join is not None:
            return torch.cat([first(angles), rest(angles)], dim=-1)
        return torch.stack([first(angles), rest(angles)], dim=-1).flatten(-2)

    return sinusoids


def by_column(positions, d_model):
    columns = torch.arange(d_model)
    angles = positions[..., None] / 10000 ** (columns / d_model)
    return torch.where(columns % 2 == 0, angles.sin(), angles.cos())


def only_angles(positions, d_model):
    return positions[..., None] / 10000 ** (torch.arange(0, d_model, 2) / d_model)


def multiplied(positions, d_model):
    angles = positions[..., None] * 10000 ** (torch.arange(0, d_model, 2) / d_model)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def first_dimension(positions, d_model):
    return sinusoidal_encoding(len(positions), d_model)


def looked_up(positions, d_model):
    return sinusoidal_encoding(50, d_model)[positions]


# --- words and positions ----------------------------------------------------------------


def broken(tokens, table, start=0):
    x = table[tokens]
    positions = sinusoidal_encoding(x.size(0), x.size(-1))
    return (x + positions[:, None]) * math.sqrt(x.size(-1))


def factor_mended(tokens, table, start=0):
    x = table[tokens] * math.sqrt(table.size(-1))
    return x + sinusoidal_encoding(x.size(0), x.size(-1))[:, None]


def start_forgotten(tokens, table, start=0):
    x = table[tokens] * math.sqrt(table.size(-1))
    return x + sinusoidal_encoding(x.size(1), x.size(-1))


def start_added(tokens, table, start=0):
    return start_forgotten(tokens, table) + start


def off_by_one(tokens, table, start=0):
    x = table[tokens] * math.sqrt(table.size(-1))
    later = start + 1 if start else 0
    return x + sinusoidal_encoding(later + x.size(1), x.size(-1))[later:]


def no_factor(tokens, table, start=0):
    return table[tokens] + sinusoidal_encoding(start + tokens.size(1), table.size(-1))[start:]


def divided(tokens, table, start=0):
    return no_factor(tokens, table / math.sqrt(table.size(-1)), start)


def table_not_cut(tokens, table, start=0):
    x = table[tokens] * math.sqrt(table.size(-1))
    return x + sinusoidal_encoding(start + x.size(1), x.size(-1))


def in_place(tokens, table, start=0):
    table *= math.sqrt(table.size(-1))
    return no_factor(tokens, table, start)


# --- turned vectors ---------------------------------------------------------------------


def turn(*, exponent=lambda i, d: 2 * i / d, way=1, first=0, words=-2):
    """Turned vectors, with slips of choice."""

    def turned(x):
        positions, d = torch.arange(x.shape[words]) + first, x.shape[-1]
        angles = positions[:, None] / 10000 ** exponent(torch.arange(d // 2), d) * way
        if words == 1:
            angles = angles[:, None]
        a, b = x[..., 0::2], x[..., 1::2]
        new_a = a * angles.cos() + b * angles.sin()
        new_b = b * angles.cos() - a * angles.sin()
        return torch.stack([new_a, new_b], dim=-1).flatten(-2)

    return turned


def turned_from_dimension_1(x):
    return turn(words=1)(x) if x.dim() == 4 else turn()(x)


def overwritten(x):
    angles = torch.arange(x.shape[-2])[:, None] / 10000 ** (
        torch.arange(0, x.shape[-1], 2) / x.shape[-1]
    )
    x = x.clone()
    x[..., 0::2] = x[..., 0::2] * angles.cos() + x[..., 1::2] * angles.sin()
    x[..., 1::2] = x[..., 1::2] * angles.cos() - x[..., 0::2] * angles.sin()
    return x


def place_in_each_half(x):
    paired = torch.stack(x.chunk(2, dim=-1), dim=-1).flatten(-2)
    right = turn()(paired)
    return torch.cat([right[..., 0::2], right[..., 1::2]], dim=-1)


def pairs_apart(x):
    right = turn()(x)
    return torch.cat([right[..., 0::2], right[..., 1::2]], dim=-1)


def added(x):
    return x + sinusoidal_encoding(x.shape[-2], x.shape[-1])


def changed_in_place(x):
    angles = torch.arange(x.shape[-2])[:, None] / 10000 ** (
        torch.arange(0, x.shape[-1], 2) / x.shape[-1]
    )
    x[..., 0::2], x[..., 1::2] = (
        x[..., 0::2] * angles.cos() + x[..., 1::2] * angles.sin(),
        x[..., 1::2] * angles.cos() - x[..., 0::2] * angles.sin(),
    )
    return x


WRONG = {
    "position_fifty": {
        "the cosine": (0.88, "the fourth number"),
        "the fast hand": (-0.26, "the first number"),
        "the fast cosine": (0.96, "the second number"),
        "degrees": (0.0087, "counts in degrees"),
        "the angle": (0.5, "its sine is asked for"),
        "i/D": (-0.96, "not i/D"),
    },
    "two_equal_words": {
        "equal in both": ("a", "how many words does the first"),
        "other neighbours": ("c", "no order among them"),
        "the other way round": ("d", "the other way round"),
        "a word": ("both", "is expected"),
    },
    "sinusoids_at": {
        "cosine first": (hands(first=torch.cos, rest=torch.sin), "the cosine comes first"),
        "degrees": (hands(unit=math.pi / 180), "in radians already"),
        "halves": (hands(join="halves"), "all sines, then all cosines"),
        "each column its own pace": (by_column, "share the exponent 2i/D"),
        "i/D": (hands(exponent=lambda i, d: i / d), "the exponent is i/D"),
        "4i/D": (hands(exponent=lambda i, d: 4 * i / d), "doubled twice"),
        "multiplied": (multiplied, "multiplied by 10000"),
        "angles": (only_angles, "their sines and cosines are missing"),
        "a table of the first": (first_dimension, "shape (2, 3, 10)"),
        "looked up": (looked_up, "stopped with IndexError"),
    },
    "map_of_two_turns": {
        "ahead": ("a", "two words ahead"),
        "back": ("c", "two words back"),
        "a number": (2, "is expected"),
    },
    "mended_input": {
        "as it was": (broken, "multiplies the position, too"),
        "one slip mended": (factor_mended, "counted by sentence"),
        "start forgotten": (start_forgotten, "start is forgotten"),
        "start added": (start_added, "start is added to the vectors"),
        "off by one": (off_by_one, "off by one"),
        "no factor": (no_factor, "the factor √D is missing"),
        "divided": (divided, "divided by √D"),
        "table not cut": (table_not_cut, "stopped with RuntimeError"),
        "table changed": (in_place, "changed its input"),
    },
    "turned_vectors": {
        "the other way round": (turn(way=-1), "the other way round"),
        "from 1": (turn(first=1), "positions count from 0"),
        "one pace": (turn(exponent=lambda i, d: 0 * i), "at the pace of the first"),
        "i/D": (turn(exponent=lambda i, d: i / d), "the exponent is i/D"),
        "4i/D": (turn(exponent=lambda i, d: 4 * i / d), "doubled twice"),
        "dimension 1": (turned_from_dimension_1, "words are dimension −2"),
        "overwritten": (overwritten, "overwritten before the other"),
        "halves": (place_in_each_half, "not of a place in each half"),
        "pairs apart": (pairs_apart, "put them back side by side"),
        "added": (added, "they should turn"),
        "in place": (changed_in_place, "changed its input"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def by_loops(positions, d_model):
    if positions.dim() > 0:
        return torch.stack([by_loops(p, d_model) for p in positions])
    row = []
    for i in range(0, d_model, 2):
        angle = float(positions) / 10000 ** (i / d_model)
        row += [math.sin(angle), math.cos(angle)]
    return torch.tensor(row)


def by_assignment(positions, d_model):
    encoding = torch.zeros(*positions.shape, d_model)
    rates = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
    encoding[..., 0::2] = torch.sin(positions.unsqueeze(-1) * rates)
    encoding[..., 1::2] = torch.cos(positions.unsqueeze(-1) * rates)
    return encoding


def one_word_at_a_time(tokens, table, start=0):
    d = table.size(-1)
    rows = []
    for t in range(tokens.size(1)):
        position = sinusoidal_encoding(start + t + 1, d)[-1]
        rows.append(table[tokens[:, t]] * d**0.5 + position)
    return torch.stack(rows, dim=1)


def one_hot(tokens, table, start=0):
    words = F.one_hot(tokens, len(table)).float() @ (table * table.size(1) ** 0.5)
    return words + sinusoidal_encoding(start + words.size(1), words.size(2))[None, start:]


def matrices(x):
    d = x.size(-1)
    rows = []
    for t in range(x.size(-2)):
        matrix = torch.zeros(d, d)
        for i in range(0, d, 2):
            b = t / 10000 ** (i / d)
            block = [[math.cos(b), math.sin(b)], [-math.sin(b), math.cos(b)]]
            matrix[i : i + 2, i : i + 2] = torch.tensor(block)
        rows.append(x[..., t, :] @ matrix.T)
    return torch.stack(rows, dim=-2)


def complex_numbers(x):
    d = x.size(-1)
    angles = torch.arange(x.size(-2))[:, None] / 10000 ** (torch.arange(0, d, 2) / d)
    pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * torch.polar(torch.ones_like(angles), -angles)).flatten(-2)


ALSO_RIGHT = {
    "position_fifty": {"two digits": 0.48, "more digits": 0.47943},
    "sinusoids_at": {"loops": by_loops, "even and odd places": by_assignment},
    "mended_input": {"one word at a time": one_word_at_a_time, "one-hot": one_hot},
    "turned_vectors": {"matrices": matrices, "complex numbers": complex_numbers},
}
