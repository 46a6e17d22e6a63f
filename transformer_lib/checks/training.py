"""Checkers for notebook 09, training."""

import math

import torch
from torch.nn import functional as F

from transformer_lib.checks.judging import (
    NotRight,
    exercise,
    expect,
    expect_choice,
    expect_number,
)

__all__ = [
    "adam_moves",
    "batches_within_budget",
    "gradient_of_the_logits",
    "gradient_when_too_sure",
    "loss_times_a_thousand",
    "mended_loss",
]


@exercise(9, 1)
def gradient_when_too_sure(answer):
    """The gradient at the right word's logit, where the model gives it 0.95."""
    expect_number(
        answer,
        0.03,
        {
            "that is q − p; the gradient is what the model says minus what it should say": -0.03,
            "without smoothing it would be that; here the right word should get less than 1": -0.05,
            "the right word has its share of what is spread, too: q = 0.9 + 0.1 / 5": 0.05,
            "that is q of each other word": 0.02,
            "that is q, what the model should say; the gradient is p − q": 0.92,
        },
        tolerance=0.004,
    )


@exercise(9, 2)
def loss_times_a_thousand(answer):
    """How far Adam moves when the loss is multiplied by 1000."""
    expect_choice(
        answer,
        "b",
        {
            "a": "v is the mean of the squares, but it is its root that divides",
            "c": "v, the mean of the squares, grows by a factor of 1000², and its root by 1000",
            "d": "so it would be if the move were rate · gradient; by what does Adam divide?",
        },
    )


@exercise(9, 3)
def batches_within_budget(answer):
    """Sorted lengths, cut into batches by a budget of positions."""
    rising = list(range(1, 9))
    late, unused = "each batch is cut one sentence too late", "a batch may use up the whole budget"
    lost = "the last batch is missing"
    _expect_batches(
        "four sentences of 3 tokens, budget 6",
        answer([3] * 4, 6),
        [[3, 3], [3, 3]],
        {late: [[3, 3, 3], [3]], unused: [[3]] * 4, lost: [[3, 3]]},
    )
    _expect_batches(
        "sentences of 1, 2, … 8 tokens, budget 10",
        answer(rising, 10),
        [[1, 2, 3], [4, 5], [6], [7], [8]],
        {
            "the words were added up; a batch is a rectangle, as wide as its longest sentence": (
                [[1, 2, 3, 4], *([n] for n in range(5, 9))]
            ),
            late: [[1, 2, 3, 4], [5, 6], [7, 8]],
            f"{unused}: [4, 5] makes 2 · 5 = 10": ([[1, 2, 3], *([n] for n in range(4, 9))]),
            lost: [[1, 2, 3], [4, 5], [6], [7]],
            "as many sentences in each: short ones leave room for more": [[n] for n in rising],
            "how wide is a batch? As wide as its longest sentence": [rising],
            "there is an empty batch at the start": [[], [1, 2, 3], [4, 5], [6], [7], [8]],
        },
    )
    _expect_batches("one sentence alone", answer([7], 11), [[7]])
    lengths = sorted(int(n) for n in torch.randint(2, 14, (101,)))
    _expect_batches("101 sentences, budget 67", answer(lengths, 67), _cut(lengths, 67))


@exercise(9, 4)
def mended_loss(answer):
    """The mean loss per real token over several batches, mended."""
    batch, one, two = _logits(2, 3), _logits(3, 5), _logits(7, 2)
    undivided = {"that is the sum; divide by the real tokens": _sum(batch)}
    expect("one batch without padding", answer([batch]), _mean([batch]), undivided)
    one[1][0, 3:], one[1][2, 1:] = 0, 0
    summed = _sum(one, pad=None)
    expect(
        "one batch with padding",
        answer([one]),
        _mean([one]),
        {
            "padding counts: label 0 is no word": summed / 15,
            "the sum is over real tokens, the division by all positions": _sum(one) / 15,
            "the sum is over all positions, the division by the real tokens": summed / 9,
            "that is the sum; divide by the real tokens": _sum(one),
        },
    )
    batches = [one, two]
    means = [_mean([batch]) for batch in batches]
    expect(
        "two batches, of 9 and of 14 real tokens",
        answer(batches),
        _mean(batches),
        {
            "a mean of means: a token in the smaller batch counts for more": sum(means) / 2,
            "the sum of the means; add up the losses of all tokens, and divide once": sum(means),
            "only the last batch counts": means[-1],
            "only the first batch counts: does the return stand inside the loop?": means[0],
            "divided by the number of batches; divide by the tokens of all": (
                (_sum(one) + _sum(two)) / 2
            ),
            "divided by the tokens of the last batch; divide by those of all": (
                (_sum(one) + _sum(two)) / 14
            ),
        },
    )


@exercise(9, 5)
def gradient_of_the_logits(answer):
    """The gradient of the smoothed loss with respect to the logits (B, T, V)."""
    logits, labels = _logits(1, 1)
    p = logits.softmax(dim=-1)
    expect(
        "one position, ε = 0",
        answer(logits, labels, 0.0),
        _gradient(logits, labels, 0.0),
        {
            "the sign: what the model says minus what it should say, p − q": (
                -_gradient(logits, labels, 0.0)
            ),
            "that is p; subtract q, which is 1 at the right word": p,
            "these are logits minus q; the softmax is missing": logits - F.one_hot(labels, 11),
        },
    )
    right, q = F.one_hot(labels, 11), p - _gradient(logits, labels, 0.2)
    expect(
        "one position, ε = 0.2",
        answer(logits, labels, 0.2),
        p - q,
        {
            "q is not smoothed": p - right,
            "ε is spread over all V words, the right one included": (
                p - (0.8 * right + 0.2 / 10 * (1 - right))
            ),
            "the right word has its share ε / V, too": (p - (0.8 * right + 0.2 / 11 * (1 - right))),
            "ε / V goes to each word, and not ε": p - (0.8 * right + 0.2),
            "the right word gives up its share: q = (1 − ε) there, plus ε / V": p
            - right
            - 0.2 / 11,
        },
    )
    logits, labels = _logits(2, 3)
    whole = _gradient(logits, labels, 0.1)
    expect(
        "six positions without padding",
        answer(logits, labels, 0.1),
        whole,
        {
            "the loss is a mean: each position counts for one in n": 6 * whole,
            "the mean is over all positions, not over those of a sentence": 2 * whole,
            "the mean is over all positions, not over the sentences alone": 3 * whole,
            "the mean is over positions; V words do not count": whole / 11,
        },
    )
    labels[1, 1:] = 0
    padded, real = _gradient(logits, labels, 0.1), (labels != 0)[..., None]
    q = 0.9 * F.one_hot(labels, 11) + 0.1 / 11
    everywhere = logits.softmax(dim=-1) - q
    expect(
        "two of six positions are padding",
        answer(logits, labels, 0.1),
        padded,
        {
            "padded positions do not count in the loss, so their gradient is 0": everywhere / 4,
            "padding does not count: gradient 0, and the mean is over the 4 real positions": (
                everywhere / 6
            ),
            "the mean is over the 4 real positions, not over all 6": everywhere * real / 6,
        },
    )


@exercise(9, 6)
def adam_moves(answer):
    """What Adam adds to each weight in each step, from the gradients of these steps."""
    first = torch.tensor([[2.0, -0.5, 1e-4]])
    sign = first.sign()
    expect(
        "the first step, rate 1: each weight moves by the whole rate, against its gradient",
        answer(first, 1.0),
        -sign,
        {
            "the sign: a weight moves against its gradient": sign,
            "m and v are not corrected for beginning at 0": -sign * 0.1 / 0.02**0.5,
            "v is not corrected for beginning at 0": -sign / 0.02**0.5,
            "m is not corrected for beginning at 0": -sign * 0.1,
            "that is the gradient itself; Adam divides by √v": -first,
            "divided by v; it should be its root": -first / (first**2 + 1e-9),
            "ε stands outside the root": -first / (first**2 + 1e-9).sqrt(),
            "a division by 0: steps count from 1, as 1 − 0.9⁰ is 0": torch.full((1, 3), math.nan),
        },
        tolerance=1e-3,
    )
    gradients = torch.tensor([[1.0, 0.5], [-0.6, 0.5], [0.2, 3.0], [0.3, -1.0]])
    right = _moves(gradients)
    expect(
        "four steps of two weights, rate 1",
        answer(gradients, 1.0),
        right,
        {
            "the correction must use the number of the step: 1 − 0.9ᵗ, 1 − 0.98ᵗ": (
                _moves(gradients, power=False)
            ),
            "β₂ is 0.98 in the paper, and not PyTorch's 0.999": _moves(gradients, second=0.999),
            "the gradient of this step was taken for m, the running mean": (
                _moves(gradients, first=0.0)
            ),
            "the square of this step's gradient was taken for v, the running mean": (
                _moves(gradients, second=0.0)
            ),
            "only the last step came; return the moves of all steps": right[-1:],
            "these are the places of the weights; return the move of each step": right.cumsum(0),
        },
    )
    expect(
        "a rate of 0.01",
        answer(gradients, 0.01),
        0.01 * right,
        {"the rate does not count": right},
        tolerance=1e-6,
    )
    expect(
        "a gradient of 0: nothing moves",
        answer(torch.zeros(2, 1), 1.0),
        torch.zeros(2, 1),
        {"a division by 0, against which ε guards": torch.full((2, 1), math.nan)},
    )


# --- what is right ----------------------------------------------------------------------


def _cut(lengths, budget):
    """Fill one batch after the other as far as the budget goes."""
    batches = [[]]
    for n in lengths:
        if n * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(n)
    return batches


def _expect_batches(what, came, expected, mistakes=None):
    """Compare lists of lists of lengths."""
    try:
        came = [[int(n) for n in batch] for batch in came]
    except (TypeError, ValueError, RuntimeError):
        raise NotRight(
            f"{what}\n  expected  a list of lists of lengths\n  came      {came!r}"
        ) from None
    if came == expected:
        return
    words = f"{what}\n  expected  {_few(expected)}\n  came      {_few(came)}"
    likely = [words for words, wrong in (mistakes or {}).items() if came == wrong]
    raise NotRight(words + "".join(f"\n  likely    {words}" for words in likely))


def _few(batches):
    """The first batches, as text."""
    return f"{batches}" if len(batches) <= 8 else f"{batches[:5]} and {len(batches) - 5} more"


def _logits(sentences, length):
    """Random logits (B, T, 11) and labels (B, T) without padding."""
    return torch.randn(sentences, length, 11), torch.randint(1, 11, (sentences, length))


def _sum(batch, pad=0):
    """The cross-entropy summed over the real positions, or over all."""
    logits, labels = batch
    ignore = -100 if pad is None else pad
    return F.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=ignore, reduction="sum"
    )


def _mean(batches):
    """The cross-entropy per real position of all batches."""
    return sum(map(_sum, batches)) / sum((labels != 0).sum() for _, labels in batches)


def _gradient(logits, labels, smoothing):
    """(p − q) / n at the n real positions, 0 elsewhere."""
    real = labels != 0
    q = (1 - smoothing) * F.one_hot(labels, 11) + smoothing / 11
    return (logits.softmax(dim=-1) - q) * real[..., None] / real.sum()


def _moves(gradients, first=0.9, second=0.98, power=True):
    """Adam's moves (steps, N) at rate 1, with its constants or others."""
    m = v = torch.zeros(gradients.size(1))
    moves = []
    for t, g in enumerate(gradients, 1):
        m, v = first * m + (1 - first) * g, second * v + (1 - second) * g * g
        t = t if power else 1
        moves.append(-(m / (1 - first**t)) / ((v / (1 - second**t)).sqrt() + 1e-9))
    return torch.stack(moves)
