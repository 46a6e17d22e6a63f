"""Plausible wrong answers to notebook 09: label → (answer, part of the verdict)."""

import torch
from torch.nn import functional as F

from transformer_lib import label_smoothed_loss


def by_sum(lengths, budget):
    batches = [[]]
    for n in lengths:
        if sum(batches[-1]) + n > budget:
            batches.append([])
        batches[-1].append(n)
    return batches


def too_late(lengths, budget):
    batches = [[]]
    for n in lengths:
        if batches[-1] and batches[-1][-1] * len(batches[-1]) > budget:
            batches.append([])
        batches[-1].append(n)
    return batches


def below(lengths, budget):
    batches = [[]]
    for n in lengths:
        if n * (len(batches[-1]) + 1) >= budget and batches[-1]:
            batches.append([])
        batches[-1].append(n)
    return batches


def never_the_last(lengths, budget):
    batches, batch = [], []
    for n in lengths:
        if n * (len(batch) + 1) > budget:
            batches.append(batch)
            batch = []
        batch.append(n)
    return batches


def by_the_first(lengths, budget):
    batches = [[]]
    for n in lengths:
        if batches[-1] and batches[-1][0] * (len(batches[-1]) + 1) > budget:
            batches.append([])
        batches[-1].append(n)
    return batches


def by_a_number(lengths, budget):
    size = budget // max(lengths)
    return [lengths[i : i + size] for i in range(0, len(lengths), size)]


def an_empty_one(lengths, budget):
    return [[], *right_batches(lengths, budget)] if len(set(lengths)) > 1 else [[3, 3], [3, 3]]


def right_batches(lengths, budget):
    batches, batch = [], []
    for n in lengths:
        if n * (len(batch) + 1) > budget:
            batches.append(batch)
            batch = []
        batch.append(n)
    return [*batches, batch]


def loss(divide, pad=0, reduction="sum"):
    """Collect each batch's loss and its numbers of real tokens and positions; then divide."""

    def mean(batches):
        losses = [
            F.cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=pad, reduction=reduction
            )
            for logits, labels in batches
        ]
        real = [int((labels != 0).sum()) for _, labels in batches]
        return divide(losses, real, [labels.numel() for _, labels in batches])

    return mean


def inside_the_loop(batches):
    total = 0
    for logits, labels in batches:
        total += label_smoothed_loss(logits, labels, 0.0, reduction="sum")
        return total / (labels != 0).sum()


def gradient(sign=1, divide="real", spread=11, own=True, keep_padding=False, soft=True):
    """The gradient as it should be, but for what is set."""

    def function(logits, labels, smoothing):
        real, right = labels != 0, F.one_hot(labels, 11)
        epsilon = smoothing if soft else 0.0
        q = (1 - epsilon) * right + epsilon / spread * (1 if own else 1 - right)
        n = {"real": real.sum(), "all": real.numel(), "none": 1, "sentence": labels.size(1)}[divide]
        kept = 1 if keep_padding else real[..., None]
        return sign * (logits.softmax(dim=-1) - q) * kept / n

    return function


def adam(sign=-1, betas=(0.9, 0.98), fix=(True, True), power=True, root=0.5, inside=False):
    """Adam as it should be, but for what is set."""

    def moves(gradients, rate):
        m = v = torch.zeros_like(gradients[0])
        rows = []
        for t, g in enumerate(gradients, 1):
            m = betas[0] * m + (1 - betas[0]) * g
            v = betas[1] * v + (1 - betas[1]) * g**2
            t = t if power else 1
            top = m / (1 - betas[0] ** t) if fix[0] else m
            below = v / (1 - betas[1] ** t) if fix[1] else v
            below = (below + 1e-9) ** root if inside else below**root + 1e-9
            rows.append(sign * rate * top / below)
        return torch.stack(rows)

    return moves


def counted_from_0(gradients, rate):
    m = v = torch.zeros_like(gradients[0])
    rows = []
    for t, g in enumerate(gradients):
        m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g**2
        rows.append(-rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.98**t)) ** 0.5 + 1e-9))
    return torch.stack(rows)


def no_epsilon(gradients, rate):
    return adam()(gradients, rate) + 0 * gradients / gradients


def without_rate(gradients, rate):
    return adam()(gradients, 1.0)


WRONG = {
    "gradient_when_too_sure": {
        "q − p": (-0.03, "that is q − p"),
        "not smoothed": (-0.05, "without smoothing"),
        "without its own share": (0.05, "q = 0.9 + 0.1 / 5"),
        "q of the others": (0.02, "q of each other word"),
        "q": (0.92, "the gradient is p − q"),
        "any other": (0.5, "it is smaller"),
    },
    "loss_times_a_thousand": {
        "a thousandth": ("a", "it is its root that divides"),
        "a root": ("c", "and its root by 1000"),
        "thousand times": ("d", "by what does Adam divide"),
    },
    "batches_within_budget": {
        "words added up": (by_sum, "a batch is a rectangle"),
        "cut too late": (too_late, "one sentence too late"),
        "below the budget": (below, "use up the whole budget"),
        "never the last": (never_the_last, "the last batch is missing"),
        "by the first": (by_the_first, "how wide is a batch"),
        "by a number": (by_a_number, "as many sentences in each"),
        "an empty one": (an_empty_one, "an empty batch"),
        "one list": (lambda lengths, budget: lengths, "a list of lists"),
    },
    "mended_loss": {
        "padding counts": (
            loss(lambda x, real, every: sum(x) / sum(every), pad=-100),
            "padding counts",
        ),
        "divided by all": (
            loss(lambda x, real, every: sum(x) / sum(every)),
            "the division by all positions",
        ),
        "all, divided by the real": (
            loss(lambda x, real, every: sum(x) / sum(real), pad=-100),
            "the sum is over all positions",
        ),
        "mean of means": (
            loss(lambda x, real, every: sum(x) / len(x), reduction="mean"),
            "a mean of means",
        ),
        "sum of means": (loss(lambda x, *_: sum(x), reduction="mean"), "divide once"),
        "by the last": (
            loss(lambda x, real, every: sum(x) / real[-1]),
            "divided by the tokens of the last batch",
        ),
        "the first alone": (inside_the_loop, "inside the loop"),
        "never divided": (loss(lambda x, real, every: sum(x)), "that is the sum; divide"),
    },
    "gradient_of_the_logits": {
        "sign": (gradient(sign=-1), "p − q"),
        "p": (lambda logits, labels, smoothing: logits.softmax(dim=-1), "that is p; subtract q"),
        "no softmax": (
            lambda logits, labels, smoothing: logits - F.one_hot(labels, 11),
            "the softmax is missing",
        ),
        "not smoothed": (gradient(soft=False), "q is not smoothed"),
        "over the others": (gradient(spread=10, own=False), "the right one included"),
        "without its own share": (gradient(own=False), "has its share ε / V, too"),
        "ε for each": (gradient(spread=1), "and not ε"),
        "not divided": (gradient(divide="none"), "one in n"),
        "of a sentence": (gradient(divide="sentence"), "not over those of a sentence"),
        "padding": (gradient(keep_padding=True), "so their gradient is 0"),
        "padding, divided by all": (gradient(keep_padding=True, divide="all"), "padding does not"),
        "divided by all": (gradient(divide="all"), "not over all 6"),
    },
    "adam_moves": {
        "sign": (adam(sign=1), "against its gradient"),
        "not corrected": (adam(fix=(False, False)), "m and v are not corrected"),
        "v not corrected": (adam(fix=(True, False)), "v is not corrected"),
        "m not corrected": (adam(fix=(False, True)), "m is not corrected"),
        "no root": (adam(root=1), "it should be its root"),
        "ε inside": (adam(inside=True), "ε stands outside the root"),
        "same correction": (adam(power=False), "the number of the step"),
        "PyTorch's β₂": (adam(betas=(0.9, 0.999)), "PyTorch's 0.999"),
        "no mean": (adam(betas=(0.0, 0.98)), "was taken for m"),
        "the gradient": (lambda gradients, rate: -rate * gradients, "the gradient itself"),
        "counted from 0": (counted_from_0, "steps count from 1"),
        "no ε": (no_epsilon, "against which ε guards"),
        "no rate": (without_rate, "the rate does not count"),
        "last step": (lambda *a: adam()(*a)[-1:], "return the moves of all steps"),
        "places": (lambda *a: adam()(*a).cumsum(dim=0), "return the move of each step"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def backwards(logits, labels, smoothing):
    x = logits.clone().requires_grad_()
    label_smoothed_loss(x, labels, smoothing).backward()
    return x.grad


def slices(lengths, budget):
    batches, start = [], 0
    while start < len(lengths):
        end = start + 1
        while end < len(lengths) and lengths[end] * (end + 1 - start) <= budget:
            end += 1
        batches.append(tuple(lengths[start:end]))
        start = end
    return batches


def token_by_token(batches):
    losses = []
    for logits, labels in batches:
        for sentence, words in zip(logits.log_softmax(dim=-1), labels, strict=True):
            losses += [-float(row[w]) for row, w in zip(sentence, words, strict=True) if w != 0]
    return sum(losses) / len(losses)


def built_in(gradients, rate):
    weights = torch.nn.Parameter(torch.zeros_like(gradients[0]))
    optimizer = torch.optim.Adam([weights], lr=rate, betas=(0.9, 0.98), eps=1e-9)
    rows = []
    for g in gradients:
        before, weights.grad = weights.detach().clone(), g.clone()
        optimizer.step()
        rows.append(weights.detach() - before)
    return torch.stack(rows)


ALSO_RIGHT = {
    "gradient_when_too_sure": {"a tensor": torch.tensor(0.03)},
    "loss_times_a_thousand": {"a capital": "B"},
    "batches_within_budget": {"slices": slices, "a last batch": right_batches},
    "mended_loss": {"token by token": token_by_token},
    "gradient_of_the_logits": {"autograd": backwards},
    "adam_moves": {"PyTorch's own": built_in},
}
