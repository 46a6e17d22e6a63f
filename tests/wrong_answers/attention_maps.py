"""Plausible wrong answers to notebook 11: label → (answer, part of the verdict)."""

from contextlib import contextmanager

import torch
from torch.nn import functional as F

from transformer_lib.attention_maps import attention_rollout

# --- word pieces


def merge(weights, words, reduce):
    groups = [[i for i, w in enumerate(words) if w == word] for word in sorted(set(words))]
    return torch.stack([reduce(weights[group], 0) for group in groups])


def pieces(rows, columns):
    def map_of_words(weights, tgt_words, src_words):
        return merge(merge(weights, tgt_words, rows).T, src_words, columns).T

    return map_of_words


def first(x, dim):
    return x[0]


def mean_and_rescaled(weights, tgt_words, src_words):
    merged = pieces(torch.mean, torch.mean)(weights, tgt_words, src_words)
    return merged / merged.sum(dim=-1, keepdim=True)


def words_swapped(weights, tgt_words, src_words):
    return pieces(torch.mean, torch.sum)(weights, src_words, tgt_words)


def transposed(weights, tgt_words, src_words):
    return pieces(torch.mean, torch.sum)(weights, tgt_words, src_words).T


def matrices(weights, tgt_words, src_words):
    rows, columns = (F.one_hot(torch.tensor(words)).float() for words in (tgt_words, src_words))
    return (rows / rows.sum(dim=0)).T @ weights @ columns


def summed_and_rescaled(weights, tgt_words, src_words):
    merged = pieces(torch.sum, torch.sum)(weights, tgt_words, src_words)
    return merged / merged.sum(dim=1, keepdim=True)


def loops(weights, tgt_words, src_words):
    merged = [[0.0] * (src_words[-1] + 1) for _ in range(tgt_words[-1] + 1)]
    for t, row in enumerate(weights.tolist()):
        for s, weight in enumerate(row):
            merged[tgt_words[t]][src_words[s]] += weight / tgt_words.count(tgt_words[t])
    return merged


# --- a habit


def not_mended(maps, lengths):
    return maps.mean(dim=0).diagonal(1, dim1=1, dim2=2).mean(dim=-1)


def only_the_diagonal(maps, lengths):
    return maps.mean(dim=0).diagonal(-1, dim1=1, dim2=2).mean(dim=-1)


def cut(maps, lengths, less=0):
    return [w[:, :n, :n].diagonal(-1, dim1=1, dim2=2) for w, n in zip(maps, lengths, strict=True)]


def mean_of_means(maps, lengths):
    return torch.stack([w.mean(dim=-1) for w in cut(maps, lengths)]).mean(dim=0)


def mean_of_means_with_zeros(maps, lengths):
    means = [w.mean(dim=-1) if w.numel() else torch.zeros(len(w)) for w in cut(maps, lengths)]
    return torch.stack(means).mean(dim=0)


def mean_of_real_means(maps, lengths):
    means = [w.mean(dim=-1) for w in cut(maps, lengths) if w.numel()]
    return torch.stack(means).mean(dim=0)


def one_row_too_many(maps, lengths):
    rows = [w.diagonal(-1, dim1=1, dim2=2)[:, :n] for w, n in zip(maps, lengths, strict=True)]
    return torch.cat(rows, dim=1).mean(dim=1)


def all_words(maps, lengths):
    return torch.cat(cut(maps, lengths), dim=1).sum(dim=1) / sum(lengths)


def padding_as_zeros(maps, lengths):
    real = torch.arange(maps.size(-1)) < torch.tensor(lengths)[:, None, None]
    on_previous = maps.diagonal(-1, dim1=2, dim2=3) * real[..., 1:]
    return on_previous.mean(dim=(0, 2))


def with_a_mask(maps, lengths):
    real = torch.arange(1, maps.size(-1)) < torch.tensor(lengths)[:, None]  # (B, T - 1)
    return maps.diagonal(-1, dim1=2, dim2=3).transpose(1, 2)[real].mean(dim=0)


def word_by_word(maps, lengths):
    found = [[maps[b, h, t, t - 1] for b, n in enumerate(lengths) for t in range(1, n)]
             for h in range(maps.size(1))]  # fmt: skip
    return [float(sum(weights) / len(weights)) for weights in found]


# --- through the encoder


def without_residual(layers, cross):
    rolled = torch.eye(cross.size(-1))
    for layer in layers:
        rolled = layer.mean(dim=0) @ rolled
    return cross.mean(dim=0) @ rolled


def as_a_list(layers, cross):
    flow = cross.mean(dim=0)
    for layer in reversed(layers):
        flow = (flow + flow @ layer.mean(dim=0)) / 2
    return flow.tolist()


def upwards(layers, cross):
    flow = cross.mean(dim=0)
    for layer in layers:
        flow = (flow + flow @ layer.mean(dim=0)) / 2
    return flow


def halved_everywhere(layers, cross):
    return cross.mean(dim=0) / 2 @ attention_rollout(layers)


def not_halved(layers, cross):
    flow = cross.mean(dim=0)
    for layer in reversed(layers):
        flow = flow + flow @ layer.mean(dim=0)
    return flow


def mean_at_the_end(layers, cross):
    heads = [
        cross[h] @ attention_rollout([layer[[h]] for layer in layers]) for h in range(len(cross))
    ]
    return torch.stack(heads).mean(dim=0)


# --- an exchange


def hook_of(position, vectors, output_of=torch.clone, returns=True):
    def exchange(module, inputs, output):
        output = output_of(output)
        output[:, position] = vectors
        return output if returns else None

    return exchange


@contextmanager
def exchanged(module, position, vectors):
    hook = module.register_forward_hook(hook_of(position, vectors))
    try:
        yield
    finally:
        hook.remove()


def no_decorator(module, position, vectors):
    hook = module.register_forward_hook(hook_of(position, vectors))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def never_removed(module, position, vectors):
    module.register_forward_hook(hook_of(position, vectors))
    yield


@contextmanager
def no_finally(module, position, vectors):
    hook = module.register_forward_hook(hook_of(position, vectors))
    yield
    hook.remove()


@contextmanager
def in_place(module, position, vectors):
    hook = module.register_forward_hook(hook_of(position, vectors, lambda output: output))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def detached(module, position, vectors):
    hook = module.register_forward_hook(
        hook_of(position, vectors, lambda output: output.detach().clone())
    )
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def nothing_returned(module, position, vectors):
    hook = module.register_forward_hook(hook_of(position, vectors, returns=False))
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def swallowed(module, position, vectors):
    hook = module.register_forward_hook(hook_of(position, vectors))
    try:
        yield
    except Exception:
        print("something went wrong")
    finally:
        hook.remove()


@contextmanager
def all_hooks_cleared(module, position, vectors):
    module.register_forward_hook(hook_of(position, vectors))
    try:
        yield
    finally:
        module._forward_hooks.clear()


@contextmanager
def in_the_first_dimension(module, position, vectors):
    def exchange(module, inputs, output):
        output = output.clone()
        output[position] = vectors[position]
        return output

    hook = module.register_forward_hook(exchange)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def wrong_index(module, position, vectors):
    def exchange(module, inputs, output):
        return torch.cat([output[:, :position], vectors, output[:, position + 1 :]], dim=1)

    hook = module.register_forward_hook(exchange)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def kept_on_the_module(module, position, vectors):
    module.my_hook = module.register_forward_hook(hook_of(position, vectors))
    try:
        yield
    finally:
        module.my_hook.remove()
        del module.my_hook


@contextmanager
def no_yield(module, position, vectors):
    return


class Exchanged:
    def __init__(self, module, position, vectors):
        self.module, self.position, self.vectors = module, position, vectors

    def __enter__(self):
        self.hook = self.module.register_forward_hook(self.exchange)

    def __exit__(self, *error):
        self.hook.remove()

    def exchange(self, module, inputs, output):
        here = torch.arange(output.size(1)) == self.position
        return torch.where(here[:, None], self.vectors[:, None], output)


@contextmanager
def another_forward(module, position, vectors):
    forward = module.forward

    def changed(x):
        before, after = forward(x)[:, :position], forward(x)[:, position + 1 :]
        return torch.cat([before, vectors[:, None], after], dim=1)

    module.forward = changed
    try:
        yield
    finally:
        module.forward = forward


WRONG = {
    "error_rate_on_paper": {
        "input rows": (0.889, "its output row is the one above"),
        "not subtracted": (0.778, "subtract it from 1"),
        "sure ones not among the possible": (0.556, "sure links count as possible"),
        "share of sure links": (0.25, "drawn links that are not sure"),
        "sure ones alone": (0.333, "the possible links are missing"),
        "all possible below": (0.364, "divided by |A| + |P|"),
        "no link for Katze": (0.375, "its word still needs one"),
        "Katze to the end token": (0.444, "Katze takes the largest"),
        "a link for the end token": (0.3, "the last row writes </s>"),
        "both end tokens": (0.5, "none starts from it"),
        "all is possible": (0, "one of them is not sure"),
        "two numbers": ((7, 9), "a number is expected"),
    },
    "maps_of_a_silent_head": {
        "its own is empty": ("a", "still computes its weights"),
        "its own, too": ("b", "from what are head 2.2's weights computed"),
        "others stand in": ("d", "side by side on the same input"),
        "a number": (3, "is expected"),
    },
    "map_of_words": {
        "means": (pieces(torch.mean, torch.mean), "gets all that they get"),
        "means, rescaled": (mean_and_rescaled, "made to sum to 1 again"),
        "largest weight": (pieces(torch.mean, torch.amax), "the largest weight of a word's"),
        "first piece": (pieces(torch.mean, first), "only the first piece of each word"),
        "sums": (pieces(torch.sum, torch.sum), "its row sums to their number"),
        "first piece that looks": (pieces(first, torch.sum), "that looks, only the first"),
        "largest of those that look": (pieces(torch.amax, torch.sum), "take their mean"),
        "lists exchanged": (words_swapped, "stopped with IndexError"),
        "transposed": (transposed, "rows and columns are swapped"),
    },
    "mended_habit": {
        "not mended": (not_mended, "that is the next word"),
        "only the diagonal": (only_the_diagonal, "rows of padding are counted"),
        "mean of means": (mean_of_means, "a short sentence counts as much"),
        "mean of means, none for one word": (mean_of_real_means, "a short sentence counts"),
        "mean of means, 0 for one word": (mean_of_means_with_zeros, "a short sentence counts"),
        "one row too many": (one_row_too_many, "one row of padding is counted"),
        "all words": (all_words, "the first one has none before it"),
        "padding as zeros": (padding_as_zeros, "as if there were no padding"),
    },
    "words_behind_positions": {
        "no encoder": (lambda layers, cross: cross.mean(dim=0), "the encoder is missing"),
        "no mean": (lambda layers, cross: cross @ attention_rollout(layers), "not averaged"),
        "no residual": (without_residual, "the residual connection is missing"),
        "layers upwards": (upwards, "in the wrong order"),
        "not halved": (not_halved, "half its attention and half"),
        "cross-attention halved": (halved_everywhere, "the ½ is for self-attention alone"),
        "transposed": (
            lambda layers, cross: cross.mean(dim=0) @ attention_rollout(layers).T,
            "transposed",
        ),
        "last layer": (
            lambda layers, cross: cross.mean(dim=0) @ attention_rollout(layers[-1:]),
            "only the last layer",
        ),
        "head by head": (mean_at_the_end, "average the heads of each layer first"),
        "the other way round": (
            lambda layers, cross: attention_rollout(layers) @ cross.mean(dim=0),
            "stopped with RuntimeError",
        ),
    },
    "exchanged_vector": {
        "no decorator": (no_decorator, "@contextmanager is missing"),
        "never removed": (never_removed, "remove the hook after the yield"),
        "no finally": (no_finally, "try … finally"),
        "in place": (in_place, "clone it first"),
        "detached": (detached, "no gradient gets through"),
        "nothing returned": (nothing_returned, "a hook has to return"),
        "error swallowed": (swallowed, "is swallowed"),
        "all hooks cleared": (all_hooks_cleared, "remove only yours"),
        "first dimension": (in_the_first_dimension, "[:, position]"),
        "shapes": (wrong_index, "in the block: RuntimeError"),
        "hook kept on the module": (
            kept_on_the_module,
            "when leaving two blocks, one within the other",
        ),
        "no yield": (no_yield, "the yield is missing"),
    },
}

ALSO_RIGHT = {
    "error_rate_on_paper": {"two decimals": 0.22, "more digits": 2 / 9},
    "maps_of_a_silent_head": {"a capital": " C "},
    "map_of_words": {
        "matrix products": matrices,
        "sums, rescaled": summed_and_rescaled,
        "loops and lists": loops,
    },
    "mended_habit": {"a mask": with_a_mask, "word by word": word_by_word},
    "words_behind_positions": {
        "from above": as_a_list,
        "head by head through the whole encoder": lambda layers, cross: (
            cross @ attention_rollout(layers)
        ).mean(dim=0),
    },
    "exchanged_vector": {
        "the notebook's way": exchanged,
        "a class": Exchanged,
        "another forward": another_forward,
    },
}
