"""Checkers for notebook 05, feed-forward, residuals and norms."""

import math
from itertools import permutations

import torch
from torch.nn import functional as F

from transformer_lib.checks.judging import (
    NotRight,
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
    unpack,
)

__all__ = [
    "add_then_norm",
    "mended_norm",
    "pre_norm_stack",
    "sorted_pair",
    "sorting_layers",
    "twice_and_minus",
]

B, T, D = 2, 3, 5
NAMES = ("w_1", "b_1", "w_2", "b_2")
OVER_ALL = "a norm runs over all numbers together: each word's vector has a mean of its own, dim=-1"


def _norm(x, eps=1e-5):
    """Layer norm with a gain of 1 and a bias of 0."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


@exercise(5, 1)
def add_then_norm(answer):
    """The first number of LayerNorm(x + f(x)) with x = (2, 1, 0, 1), f(x) = (6, 1, 2, −1)."""
    expect_number(
        answer,
        5 / 3,
        {
            "the variance was divided by n − 1 = 3; layer norm divides by n = 4": 5 / math.sqrt(12),
            "that is LayerNorm(f(x)): the residual is missing": 4 / math.sqrt(6.5),
            "the mean, 3, was not subtracted": 8 / 3,
            "that was divided by the variance, 9; take its root": 5 / 9,
            "the mean is gone; now divide by the root of the variance": 5,
            "that is only the sum; now the norm": 8,
            "x was normalised before the addition; the paper normalises the sum": (
                6 + 1 / math.sqrt(0.5)
            ),
            "that is x + LayerNorm(f(x)): add first, then normalise": 2 + 4 / math.sqrt(6.5),
        },
    )


@exercise(5, 2)
def twice_and_minus(answer):
    """Whether f(2x) = 2 f(x), and f(−x) = −f(x), in a network with biases of 0."""
    expect_choice(
        answer,
        "b",
        {
            "a": "with both, the network could do no more than one matrix: compare the ReLU "
            "of −3 with minus the ReLU of 3",
            "c": "the ReLU of −3 is 0, minus the ReLU of 3 is −3",
            "d": "twice a positive number is still positive, twice a negative one negative: "
            "which units pass something on?",
        },
    )


def _layers(came, places):
    """Take networks apart, each (w_1, b_1, w_2, b_2), and see that their shapes fit."""
    layers = []
    for layer in came:
        parts = dict(zip(NAMES, unpack(layer, *NAMES), strict=True))
        tensors = [_table(name, part) for name, part in parts.items()]
        units = tensors[1].numel()
        shapes = [(places, units), (units,), (units, places), (places,)]
        for name, tensor, shape in zip(NAMES, tensors, shapes, strict=True):
            expect_true(
                tensor.shape == shape,
                f"the shape of {name}\n  expected  {shape}\n  came      {tuple(tensor.shape)}",
            )
        layers.append(tensors)
    return layers


def _table(name, came):
    """Make a tensor of a learner's numbers."""
    try:
        return torch.as_tensor(came, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        raise NotRight(f"{name} should be a tensor, or a list of numbers") from None


def _run(layers, x):
    """Send x (N, places) through the networks, each with its residual connection."""
    for w_1, b_1, w_2, b_2 in layers:
        x = x + (x @ w_1 + b_1).relu() @ w_2 + b_2
    return x


def _expect_sorted_pairs(what, layers, x):
    """Sort pairs (N, 2), or name the mistake."""
    x = torch.tensor(x)
    more = (x[:, :1] - x[:, 1:]).relu()  # by how much the first one is larger
    less = (x[:, 1:] - x[:, :1]).relu()
    first, second = torch.eye(2)
    expect(
        what,
        _run(layers, x),
        x.sort().values,
        {
            "nothing changes: the hidden unit must be above 0 where the first is larger": x,
            "the larger one is first now; it should be last": x.sort(descending=True).values,
            "the two are pulled apart: the first should lose what it is too large by, and the "
            "second get it": x + more * (first - second),
            "these were in order and are pulled apart: the hidden unit should be 0 here": (
                x + less * (second - first)
            ),
            "only the first moves; the second should get what the first loses": x - more * first,
            "only the second moves; the first should lose what the second gets": x + more * second,
            "they meet half way: move each by the whole difference": (
                x + more / 2 * (second - first)
            ),
        },
    )


@exercise(5, 3)
def sorted_pair(answer):
    """A network with one hidden unit that, with its residual connection, sorts two numbers."""
    layers = _layers([answer], 2)
    units = layers[0][0].shape[1]
    expect_true(units == 1, f"one hidden unit is enough; yours has {units}")
    ordered = [[1.0, 2.0], [-3.0, 5.0], [-4.0, -1.0]]
    _expect_sorted_pairs("pairs in order stay as they are", layers, ordered)
    swapped = [[5.0, -3.0], [2.0, 1.0], [-1.0, -4.0]]
    _expect_sorted_pairs("pairs in the wrong order change places", layers, swapped)


@exercise(5, 4)
def mended_norm(answer):
    """Layer norm of x (…, D) with a gain (D), a bias (D) and eps, mended."""
    one, zero = torch.ones(3), torch.zeros(3)
    x = torch.tensor([[[0.0, 3.0, 6.0]]])
    expect(
        "0, 3, 6, with a gain of 1 and a bias of 0",
        answer(x, one, zero),
        _norm(x),
        {
            "the variance is divided by n − 1; layer norm divides by n": x / 3 - 1,
            "divided by the variance; it should be its root": (x - 3) / 6,
            "the mean is taken over the words, here one; take it over the places: dim=-1": 0 * x,
        },
    )
    expect(
        "7, 7, 7, where the variance is 0",
        answer(torch.full((1, 1, 3), 7.0), one, zero),
        torch.zeros(1, 1, 3),
        {"eps is not used, and 0 is divided by 0": torch.full((1, 1, 3), torch.nan)},
    )
    small = 0.001 * x
    expect(
        "0, 0.003, 0.006, where eps = 10⁻⁵ is larger than the variance",
        answer(small, one, zero),
        _norm(small),
        {
            "eps is added after the root; it belongs to the variance, under the root": (
                _norm(small, eps=0)
            ),
        },
        tolerance=0.02,
    )
    x, gain, bias = torch.randn(B, T, D), torch.randn(D), torch.randn(D)
    one, zero = torch.ones(D), torch.zeros(D)
    centred = x - x.mean(dim=-1, keepdim=True)
    deviation = x.std(dim=-1, keepdim=True, correction=0)
    expect(
        "a batch of 2 sentences of 3 words, with a gain of 1 and a bias of 0",
        answer(x, one, zero),
        _norm(x),
        {
            "the mean is that of all numbers; each word's vector has its own: dim=-1": (
                (x - x.mean()) / deviation
            ),
            "the mean is taken over the words; take it over the places: dim=-1": (
                (x - x.mean(dim=1, keepdim=True)) / deviation
            ),
            "the mean is that of a sentence; each word's vector has its own: dim=-1": (
                (x - x.mean(dim=(1, 2), keepdim=True)) / deviation
            ),
            "the variance is that of all numbers; each word's vector has its own: dim=-1": (
                centred / x.std(correction=0)
            ),
            OVER_ALL: (x - x.mean()) / x.std(correction=0),
            "each sentence is normalised as a whole; each word's vector should be: dim=-1": (
                F.layer_norm(x, x.shape[1:])
            ),
        },
        tolerance=0.001,
    )
    expect(
        "the same batch with another gain and bias",
        answer(x, gain, bias),
        _norm(x) * gain + bias,
        {
            "gain and bias are not used": _norm(x),
            "the gain is not used": _norm(x) + bias,
            "the bias is not used": _norm(x) * gain,
            "the bias is multiplied by the gain: multiply first, then add": (
                (_norm(x) + bias) * gain
            ),
        },
        tolerance=0.001,
    )


@exercise(5, 5)
def pre_norm_stack(answer):
    """Pre-norm around any number of sub-layers, with the norm at the end."""
    x = 3 * torch.randn(B, T, D) + 1
    expect(
        "with a single sub-layer that says 0, only the norm at the end is left",
        answer(x, [torch.zeros_like]),
        _norm(x),
        {
            "the last sum is not normalised": x,
            "the straight path is missing: x is not added": torch.zeros_like(x),
            "the norm divides by n − 1; layer norm divides by n (correction=0)": (
                (x - x.mean(dim=-1, keepdim=True)) / x.std(dim=-1, keepdim=True)
            ),
            "each sentence is normalised as a whole; each word's vector should be: dim=-1": (
                F.layer_norm(x, x.shape[1:])
            ),
            OVER_ALL: F.layer_norm(x, x.shape),
        },
        tolerance=0.001,
    )
    matrices = torch.randn(3, D, D)
    f, g, h = (lambda y, m=m: (y @ m).sin() for m in matrices)
    once = x + f(_norm(x))
    straight = _norm(x) + f(_norm(x))
    expect(
        "two sub-layers",
        answer(x, [f, g]),
        _norm(once + g(_norm(once))),
        {
            "that is post-norm, which normalises the sum; pre-norm normalises what goes into a "
            "sub-layer": _norm(_norm(x + f(x)) + g(_norm(x + f(x)))),
            "the sub-layers get x as it is; normalise what goes into them": (
                _norm(x + f(x) + g(x + f(x)))
            ),
            "the straight path is normalised, too: add to x itself, and keep norm(x) for the "
            "sub-layer": _norm(_norm(straight) + g(_norm(straight))),
            "the straight path is missing: x is not added": _norm(g(_norm(f(_norm(x))))),
            "only the first sub-layer's input is normalised": _norm(once + g(once)),
            "only x itself is normalised, once, at the start": (_norm(straight + g(straight))),
            "each sub-layer starts from the first x: pass the sum on": (
                _norm(x + f(_norm(x)) + g(_norm(x)))
            ),
            "the last sub-layer's output is added to the first x: pass the sum on": (
                _norm(x + g(_norm(once)))
            ),
            "only the first sub-layer is used: is the return inside the loop?": _norm(once),
            "only the last sub-layer is used": _norm(x + g(_norm(x))),
            "the sub-layers run in reverse order": _norm(
                x + g(_norm(x)) + f(_norm(x + g(_norm(x))))
            ),
        },
        tolerance=0.001,
    )
    twice = once + g(_norm(once))
    expect(
        "three sub-layers",
        answer(x, [f, g, h]),
        _norm(twice + h(_norm(twice))),
        {"only two sub-layers are used": _norm(twice)},
        tolerance=0.001,
    )


@exercise(5, 6)
def sorting_layers(answer):
    """A list of networks that, each with its residual connection, sort n numbers."""
    for n in (2, 3, 5):
        came = answer(n)
        is_list = isinstance(came, list | tuple) and len(came) > 0
        expect_true(is_list, "a list of layers is expected, each (w_1, b_1, w_2, b_2)")
        layers = _layers(came, n)
        if n == 2:
            _expect_sorted_pairs("two numbers", layers, [[1.0, 2.0], [5.0, -3.0], [-1.0, -4.0]])
        else:
            _expect_sorted(layers, n)


def _expect_sorted(layers, n):
    """Sort n numbers in all their orders, or name the mistake in those that go wrong."""
    x = torch.tensor(list(permutations([8.0, 3.0, 1.0, -2.0, -7.0][:n])))
    wrong = ((_run(layers, x) - x.sort().values).abs() > 0.01).any(dim=1)
    x = x[wrong] if wrong.any() else x
    came, right = _run(layers, x), x.sort().values
    example = ", ".join(f"{number:g}" for number in x[0].tolist())
    expect_true(
        torch.allclose(came.sort().values, right, atol=0.01),
        f"{n} numbers, for example {example}: the numbers themselves have changed\n"
        "  likely    a number is in two comparisons of one layer, which do not see each other's "
        "changes",
    )
    expect(
        f"{n} numbers, for example {example}",
        came,
        right,
        {
            "the largest is first; it should be last": right.flip(-1),
            "one round from left to right brings the largest to the end, not yet the others": (
                _one_round(x)
            ),
            "one round from right to left brings the smallest to the front, not yet the others": (
                -_one_round(-x.flip(-1)).flip(-1)
            ),
        },
        tolerance=0.01,
    )


def _one_round(x):
    """Compare neighbours from left to right, once."""
    x = x.clone()
    for i in range(x.shape[1] - 1):
        x[:, i : i + 2] = x[:, i : i + 2].sort().values
    return x
