"""Plausible wrong answers to notebook 05: label → (answer, part of the verdict)."""

import torch
from torch import nn
from torch.nn import functional as F

from transformer_lib.feed_forward import ResidualConnection


def normalise(x):
    return F.layer_norm(x, x.shape[-1:])


# --- the mended norm --------------------------------------------------------------------


def untouched(x, gain, bias, eps=1e-5):
    return (x - x.mean()) / x.std(dim=-1, keepdim=True) * gain + bias


def no_eps(x, gain, bias, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / x.std(dim=-1, keepdim=True, correction=0) * gain + bias


def eps_after_the_root(x, gain, bias, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (x.std(dim=-1, keepdim=True, correction=0) + eps) * gain + bias


def no_root(x, gain, bias, eps=1e-5):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (x.var(dim=-1, keepdim=True, correction=0) + eps) * gain + bias


def mean_of_all(x, gain, bias, eps=1e-5):
    variance = x.var(dim=-1, keepdim=True, correction=0)
    return (x - x.mean()) / (variance + eps).sqrt() * gain + bias


def mean_of_words(x, gain, bias, eps=1e-5):
    variance = x.var(dim=-1, keepdim=True, correction=0)
    return (x - x.mean(dim=-2, keepdim=True)) / (variance + eps).sqrt() * gain + bias


def words_and_places(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, x.shape[1:], eps=eps) * gain + bias


def bias_first(x, gain, bias, eps=1e-5):
    return (F.layer_norm(x, x.shape[-1:], eps=eps) + bias) * gain


def no_gain(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def no_keepdim(x, gain, bias, eps=1e-5):
    centred = x - x.mean(dim=-1)
    return centred / (x.var(dim=-1, correction=0) + eps).sqrt() * gain + bias


def norm_in_place(x, gain, bias, eps=1e-5):
    x -= x.mean(dim=-1, keepdim=True)
    return x / (x.var(dim=-1, keepdim=True, correction=0) + eps).sqrt() * gain + bias


# --- the pre-norm stack -----------------------------------------------------------------


def no_last_norm(x, sublayers):
    for f in sublayers:
        x = x + f(normalise(x))
    return x


def post_norm(x, sublayers):
    for f in sublayers:
        x = normalise(x + f(x))
    return x


def residual_only(x, sublayers):
    for f in sublayers:
        x = x + f(x)
    return normalise(x)


def straight_path_normalised(x, sublayers):
    for f in sublayers:
        x = normalise(x)
        x = x + f(x)
    return normalise(x)


def no_residual(x, sublayers):
    for f in sublayers:
        x = f(normalise(x))
    return normalise(x)


def from_the_first(x, sublayers):
    total = x
    for f in sublayers:
        total = total + f(normalise(x))
    return normalise(total)


def return_in_the_loop(x, sublayers):
    for f in sublayers:
        x = x + f(normalise(x))
        return normalise(x)


def added_in_place(x, sublayers):
    for f in sublayers:
        x += f(normalise(x))
    return normalise(x)


# --- sorting ----------------------------------------------------------------------------


def comparison(n, i):
    """Weights that compare the numbers i and i + 1."""
    w_1 = torch.zeros(n, 1)
    w_1[i], w_1[i + 1] = 1, -1
    return w_1, torch.zeros(1), -w_1.T, torch.zeros(n)


def one_round(n):
    return [comparison(n, i) for i in range(n - 1)]


def one_round_back(n):
    return one_round(n)[::-1]


def downwards(n):
    return [(-w_1, b_1, -w_2, b_2) for w_1, b_1, w_2, b_2 in n * one_round(n)]


def all_in_one_layer(n):
    w_1, b_1, w_2, b_2 = zip(*one_round(n), strict=True)
    return n * [(torch.cat(w_1, dim=1), torch.cat(b_1), torch.cat(w_2), b_2[0])]


def pulled_apart(n):
    return [(w_1, b_1, -w_2, b_2) for w_1, b_1, w_2, b_2 in one_round(n)]


def transposed(n):
    return [(w_1.T, b_1, w_2.T, b_2) for w_1, b_1, w_2, b_2 in n * one_round(n)]


def too_few_rounds(n):
    return 2 * one_round(n)


WRONG = {
    "add_then_norm": {
        "divided by n − 1": (1.44, "n − 1"),
        "no residual": (1.57, "the residual is missing"),
        "mean not subtracted": (2.67, "was not subtracted"),
        "divided by the variance": (0.56, "take its root"),
        "not divided": (5, "now divide"),
        "the sum": (8, "now the norm"),
        "pre-norm": (7.41, "before the addition"),
        "norm, then add": (3.57, "add first"),
        "a vector": ([1.67, -0.33, -0.33, -1], "a number is expected"),
    },
    "twice_and_minus": {
        "both": ("a", "no more than one matrix"),
        "only the second": ("c", "the ReLU of −3 is 0"),
        "neither": ("d", "still positive"),
        "no letter": (True, "is expected"),
    },
    "sorted_pair": {
        "downwards": (([[-1], [1]], [0], [[1, -1]], [0, 0]), "the larger one is first"),
        "pulled apart": (([[1], [-1]], [0], [[1, -1]], [0, 0]), "the first should lose"),
        "pulled apart when in order": (
            ([[-1], [1]], [0], [[-1, 1]], [0, 0]),
            "the hidden unit should be 0 here",
        ),
        "only the first moves": (([[1], [-1]], [0], [[-1, 0]], [0, 0]), "only the first moves"),
        "only the second moves": (([[1], [-1]], [0], [[0, 1]], [0, 0]), "only the second moves"),
        "half the way": (([[1], [-1]], [0], [[-0.5, 0.5]], [0, 0]), "meet half way"),
        "zeros": (([[0], [0]], [0], [[0, 0]], [0, 0]), "nothing changes"),
        "as nn.Linear keeps it": (([[1, -1]], [0], [[-1], [1]], [0, 0]), "expected  (2, 1)"),
        "two units": (
            ([[1, -1], [-1, 1]], [0, 0], [[-1, 1], [0, 0]], [0, 0]),
            "one hidden unit is enough",
        ),
        "no second bias": (([[1], [-1]], [0], [[-1, 1]], [0]), "the shape of b_2"),
        "three things": (([[1], [-1]], [[-1, 1]]), "a tuple (w_1, b_1, w_2, b_2) is expected"),
        "a word": (("minus", [0], [[-1, 1]], [0, 0]), "w_1 should be a tensor"),
    },
    "mended_norm": {
        "nothing mended": (untouched, "n − 1"),
        "no eps": (no_eps, "eps is not used"),
        "eps after the root": (eps_after_the_root, "under the root"),
        "no root": (no_root, "it should be its root"),
        "mean of all numbers": (mean_of_all, "the mean is that of all numbers"),
        "mean of the words": (mean_of_words, "the mean is taken over the words"),
        "words and places": (words_and_places, "each sentence is normalised as a whole"),
        "bias before gain": (bias_first, "multiply first, then add"),
        "no gain, no bias": (no_gain, "gain and bias are not used"),
        "no keepdim": (no_keepdim, "stopped with RuntimeError"),
        "x changed": (norm_in_place, "changed its input"),
    },
    "pre_norm_stack": {
        "no last norm": (no_last_norm, "the last sum is not normalised"),
        "post-norm": (post_norm, "that is post-norm"),
        "residual only": (residual_only, "normalise what goes into them"),
        "straight path normalised": (straight_path_normalised, "straight path is normalised, too"),
        "no residual": (no_residual, "x is not added"),
        "always the first x": (from_the_first, "starts from the first x"),
        "return in the loop": (return_in_the_loop, "is the return inside the loop?"),
        "x changed": (added_in_place, "changed its input"),
    },
    "sorting_layers": {
        "one round": (one_round, "brings the largest to the end"),
        "one round back": (one_round_back, "brings the smallest to the front"),
        "downwards": (downwards, "the larger one is first"),
        "all comparisons in one layer": (all_in_one_layer, "in two comparisons of one layer"),
        "pulled apart": (pulled_apart, "pulled apart"),
        "transposed": (transposed, "the shape of w_1"),
        "too few rounds": (too_few_rounds, "5 numbers, for example"),
        "sorted numbers": (lambda n: list(range(n)), "a tuple (w_1, b_1, w_2, b_2) is expected"),
        "no list": (lambda n: n, "a list of layers"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def loops(x, gain, bias, eps=1e-5):
    def one(word):
        mean = sum(word) / len(word)
        variance = sum((number - mean) ** 2 for number in word) / len(word)
        return [(number - mean) / (variance + eps) ** 0.5 for number in word]

    normal = [[one(word) for word in sentence] for sentence in x.tolist()]
    return torch.tensor(normal) * gain + bias


def built_in(x, gain, bias, eps=1e-5):
    return F.layer_norm(x, gain.shape, gain, bias, eps)


def with_the_class(x, sublayers):
    for f in sublayers:
        x = ResidualConnection(x.shape[-1], norm_first=True)(x, f)
    return nn.LayerNorm(x.shape[-1])(x)


def recursive(x, sublayers):
    if not sublayers:
        return normalise(x)
    return recursive(x + sublayers[0](normalise(x)), sublayers[1:])


def odd_even(n):
    """In every layer, comparisons that share no number."""
    layers = []
    for turn in range(n):
        w_1, _, w_2, _ = zip(*one_round(n)[turn % 2 :: 2] or one_round(n), strict=True)
        units = len(w_1)
        layers.append((torch.cat(w_1, dim=1), torch.zeros(units), torch.cat(w_2), torch.zeros(n)))
    return layers


def selection(n):
    """Compare each number with every later one; lists instead of tensors."""
    layers = []
    for i in range(n):
        for j in range(i + 1, n):
            w_1 = [[(k == i) - (k == j)] for k in range(n)]
            w_2 = [[(k == j) - (k == i) for k in range(n)]]
            layers.append((w_1, [0], w_2, [0] * n))
    return tuple(layers)


ALSO_RIGHT = {
    "add_then_norm": {"a fraction": 5 / 3},
    "twice_and_minus": {"a capital": "B"},
    "sorted_pair": {
        "scaled": ([[2], [-2]], [0], [[-0.5, 0.5]], [0, 0]),
        "tensors": tuple(comparison(2, 0)),
    },
    "mended_norm": {"loops": loops, "PyTorch's own": built_in},
    "pre_norm_stack": {"the class": with_the_class, "recursive": recursive},
    "sorting_layers": {"odd and even": odd_even, "selection": selection},
}
