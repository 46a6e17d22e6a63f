"""Plausible wrong answers to notebook 01: label → (answer, part of the verdict)."""

import math

import torch


def over_queries(query, key):
    return (query @ key.T / math.sqrt(query.shape[-1])).softmax(dim=0)


def not_scaled(query, key):
    return (query @ key.T).softmax(dim=-1)


def divided_by_d_k(query, key):
    return (query @ key.T / query.shape[-1]).softmax(dim=-1)


def root_of_keys(query, key):
    return (query @ key.T / math.sqrt(len(key))).softmax(dim=-1)


def no_softmax(query, key):
    return query @ key.T / math.sqrt(query.shape[-1])


def in_place(query, key):
    query /= math.sqrt(query.shape[-1])
    return (query @ key.T).softmax(dim=-1)


def no_transpose(query, key):
    return (query @ key / math.sqrt(query.shape[-1])).softmax(dim=-1)


def forgotten_return(query, key):
    (query @ key.T / math.sqrt(query.shape[-1])).softmax(dim=-1)


def swapped_first_two(query, key, value):
    scores = query @ key.transpose(0, 1) / math.sqrt(key.shape[-1])
    return scores.softmax(dim=-1) @ value


def softmax_from_the_front(query, key, value):
    scores = query @ key.mT / math.sqrt(key.shape[-1])
    return scores.softmax(dim=1) @ value


def d_k_from_the_front(query, key, value):
    scores = query @ key.mT / math.sqrt(key.shape[1])
    return scores.softmax(dim=-1) @ value


def both_from_the_front(query, key, value):
    scores = query @ key.mT / math.sqrt(key.shape[1])
    return scores.softmax(dim=1) @ value


def mean_of_blocks(query, blocks):
    scale = 1 / math.sqrt(query.shape[-1])
    return sum((query @ k.T * scale).softmax(dim=-1) @ v for k, v in blocks) / len(blocks)


def last_block(query, blocks):
    key, value = blocks[-1]
    return (query @ key.T / math.sqrt(query.shape[-1])).softmax(dim=-1) @ value


def no_rescaling(query, blocks):
    powers = mixture = 0
    for key, value in blocks:
        scores = query @ key.T / math.sqrt(query.shape[-1])
        power = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        powers = powers + power.sum(dim=-1, keepdim=True)
        mixture = mixture + power @ value
    return mixture / powers


def no_maximum(query, blocks):
    powers = mixture = 0
    for key, value in blocks:
        power = (query @ key.T / math.sqrt(query.shape[-1])).exp()
        powers = powers + power.sum(dim=-1, keepdim=True)
        mixture = mixture + power @ value
    return mixture / powers


WRONG = {
    "weight_of_milk": {
        "without the new word": (0.67, "without *fresh*"),
        "not scaled": (0.78, "not divided by √d_k"),
        "divided by d_k": (0.39, "divided by d_k = 4"),
        "no powers": (0.5, "the softmax raises e"),
        "a power": (7.39, "not yet divided by the sum"),
        "any other": (0.1, "it is larger"),
        "a word": ("half", "a number is expected"),
    },
    "ten_times_the_queries": {
        "rows sum to 1": ("a", "which word gets how much can change"),
        "equal shares": ("c", "drives scores apart"),
        "the keys are the same": ("d", "makes every score larger"),
        "no letter": (10, "is expected"),
    },
    "attention_weights": {
        "softmax over queries": (over_queries, "softmax belongs over keys"),
        "not scaled": (not_scaled, "not divided by √d_k"),
        "divided by d_k": (divided_by_d_k, "divided by d_k; it should be √d_k"),
        "root of the number of keys": (root_of_keys, "root of the number of keys"),
        "no softmax": (no_softmax, "the softmax is missing"),
        "query changed": (in_place, "changed its input"),
        "key not transposed": (no_transpose, "stopped with RuntimeError"),
        "no return": (forgotten_return, "is the return missing?"),
        "text": (lambda query, key: "weights", "a tensor"),
    },
    "mended_attention": {
        "first two dimensions swapped": (swapped_first_two, "stopped with RuntimeError"),
        "softmax from the front": (softmax_from_the_front, "softmax does not run over the keys"),
        "d_k from the front": (d_k_from_the_front, "d_k is no longer dimension 1"),
        "both": (both_from_the_front, "two slips are left"),
    },
    "map_without_scale": {
        "the palest": ("a", "palest"),
        "the one between": ("c", "largest weight in each row"),
        "the scale": (1 / 4, "is expected"),
    },
    "attention_in_blocks": {
        "mean of the blocks": (mean_of_blocks, "with larger scores must count for more"),
        "the last block": (last_block, "only the last block"),
        "own maxima": (no_rescaling, "each block was shifted by its own maximum"),
        "no maximum": (no_maximum, "subtract a maximum"),
        "a list": (lambda query, blocks: [v for k, v in blocks], "a tensor"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def loops(query, key):
    rows = []
    for q in query:
        powers = [math.exp(float(q @ k) / math.sqrt(len(k))) for k in key]
        rows.append([power / sum(powers) for power in powers])
    return rows


def einsum(query, key):
    scores = torch.einsum("td,sd->ts", query, key)
    return torch.nn.functional.softmax(scores * query.size(1) ** -0.5, dim=1)


def built_in(query, key, value):
    return torch.nn.functional.scaled_dot_product_attention(query, key, value)


def two_passes(query, blocks):
    scores = [query @ k.T / math.sqrt(k.shape[-1]) for k, _ in blocks]
    largest = torch.cat(scores, dim=-1).amax(dim=-1, keepdim=True)
    powers = [(s - largest).exp() for s in scores]
    total = sum(p.sum(dim=-1, keepdim=True) for p in powers)
    return sum(p @ v for p, (_, v) in zip(powers, blocks, strict=True)) / total


ALSO_RIGHT = {
    "weight_of_milk": {"more digits": 0.53449},
    "ten_times_the_queries": {"a capital": " B "},
    "attention_weights": {"loops and lists": loops, "einsum": einsum},
    "mended_attention": {"PyTorch's own": built_in},
    "attention_in_blocks": {"two passes": two_passes},
}
