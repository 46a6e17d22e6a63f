"""Plausible wrong answers to notebook 07: label → (answer, part of the verdict)."""

import math

import torch
from torch.nn import functional as F

from transformer_lib.masks import causal_mask, padding_mask

# --- given, labels and mask -------------------------------------------------------------


def not_shifted(tgt, pad_id):
    given = tgt[:, :-1]
    return given, given, causal_mask(given.shape[1]) & padding_mask(given, pad_id)


def all_given(tgt, pad_id):
    return tgt, tgt[:, 1:], causal_mask(tgt.shape[1]) & padding_mask(tgt, pad_id)


def swapped(tgt, pad_id):
    given, labels = tgt[:, 1:], tgt[:, :-1]
    return given, labels, causal_mask(given.shape[1]) & padding_mask(given, pad_id)


def rolled(tgt, pad_id):
    given, labels = tgt[:, :-1], tgt.roll(-1, dims=1)
    return given, labels, causal_mask(given.shape[1]) & padding_mask(given, pad_id)


def mask_of_tgt(tgt, pad_id):
    return tgt[:, :-1], tgt[:, 1:], causal_mask(tgt.shape[1]) & padding_mask(tgt, pad_id)


def only_causal(tgt, pad_id):
    return tgt[:, :-1], tgt[:, 1:], causal_mask(tgt.shape[1] - 1)


def only_padding(tgt, pad_id):
    given = tgt[:, :-1]
    return given, tgt[:, 1:], padding_mask(given, pad_id).repeat(1, 1, given.shape[1], 1)


def one_or_the_other(tgt, pad_id):
    given = tgt[:, :-1]
    return given, tgt[:, 1:], causal_mask(given.shape[1]) | padding_mask(given, pad_id)


def padding_of_labels(tgt, pad_id):
    given, labels = tgt[:, :-1], tgt[:, 1:]
    return given, labels, causal_mask(given.shape[1]) & padding_mask(labels, pad_id)


def turned_round(tgt, pad_id):
    given = tgt[:, :-1]
    return given, tgt[:, 1:], ~(causal_mask(given.shape[1]) & padding_mask(given, pad_id))


def queries_hidden(tgt, pad_id):
    given = tgt[:, :-1]
    return given, tgt[:, 1:], causal_mask(given.shape[1]) & padding_mask(given, pad_id).mT


def numbers(tgt, pad_id):
    given, labels, mask = in_one_line(tgt, pad_id)
    return given, labels, mask.float()


def without_the_end(tgt, pad_id):
    given, labels, mask = in_one_line(tgt, pad_id)
    return given.where(given != 2, pad_id), labels, mask


def zero_for_padding(tgt, pad_id):
    return in_one_line(tgt, 0)


def two_things(tgt, pad_id):
    return tgt[:, :-1], tgt[:, 1:]


# --- the mended layer -------------------------------------------------------------------


def layer(x, tgt_mask, parts, look_across):
    self_attention, _, feed_forward, norms = parts
    x1 = norms[0](x + self_attention(x, x, x, tgt_mask)[0])
    x2 = norms[1](look_across(x1))
    return norms[2](x2 + feed_forward(x2))


def nothing_mended(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x + parts[1](memory, x1, x1, tgt_mask)[0])


def roles_swapped(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x1 + parts[1](memory, x1, x1, memory_mask)[0])


def values_of_the_target(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x1 + parts[1](x1, memory, x1, memory_mask)[0])


def added_to_x(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x + parts[1](x1, memory, memory, memory_mask)[0])


def asked_by_x(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x1 + parts[1](x, memory, memory, memory_mask)[0])


def not_added(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: parts[1](x1, memory, memory, memory_mask)[0])


def target_mask_across(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x1 + parts[1](x1, memory, memory, tgt_mask)[0])


def no_mask_across(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, tgt_mask, parts, lambda x1: x1 + parts[1](x1, memory, memory)[0])


def no_mask_back(x, memory, tgt_mask, memory_mask, parts):
    return layer(x, None, parts, lambda x1: x1 + parts[1](x1, memory, memory, memory_mask)[0])


# --- how far ahead ----------------------------------------------------------------------


def changed(decode, x, j, step=None):
    """Which outputs change with word j."""
    other = x.clone()
    other[:, j] += torch.randn(x.shape[-1]) if step is None else step
    return ((decode(x) - decode(other)).abs() > 1e-4).any(dim=-1)[0]


def pairs(decode, x, step=None):
    for j in range(x.shape[1]):
        for i in changed(decode, x, j, step).nonzero().flatten().tolist():
            yield i, j


def only_the_last_word(decode, x):
    last = x.shape[1] - 1
    return max(last - i for i in changed(decode, x, last).nonzero().flatten().tolist())


def only_the_first_output(decode, x):
    return max(j for i, j in pairs(decode, x) if i == 0)


def both_ways(decode, x):
    return max(abs(j - i) for i, j in pairs(decode, x))


def count_of_pairs(decode, x):
    return sum(j > i for i, j in pairs(decode, x))


def word_itself_counted(decode, x):
    return max(j - i + 1 for i, j in pairs(decode, x))


def leaks(decode, x):
    return any(j > i for i, j in pairs(decode, x))


def same_step_everywhere(decode, x):
    return max((j - i for i, j in pairs(decode, x, step=1.0)), default=0)


def only_neighbours(decode, x):
    return max(min(j - i, 1) for i, j in pairs(decode, x))


def changes_x(decode, x):
    before = decode(x)
    x[:, -1] = 0
    return int(((decode(x) - before).abs() > 1e-4).any())


WRONG = {
    "best_honest_loss": {
        "always 8": (1.733, "7 are left"),
        "always 7": (1.622, "all 8 are possible"),
        "without the end": (1.973, "it counts in the mean"),
        "the sum": (9.863, "not their sum"),
        "the first word": (2.079, "the first word alone"),
        "the end guessed": (1.99, "it is no guess"),
        "<s> counted": (1.409, "nobody asks for it"),
        "base 2": (2.371, "base 2"),
        "the sign": (-1.644, "the sign"),
        "formula of the notebook": (0.75 * math.log(8), "it is larger"),
    },
    "reversed_memory": {
        "outputs reversed": ("a", "its query stays where it is"),
        "all change": ("b", "which term comes first"),
        "all but the middle": ("d", "wherever it stands"),
        "a number": (0, "is expected"),
    },
    "given_labels_and_mask": {
        "not shifted": (not_shifted, "not shifted"),
        "all given": (all_given, "the last word is given, too"),
        "swapped": (swapped, "given and labels are swapped"),
        "rolled": (rolled, "rolled round"),
        "mask of tgt": (mask_of_tgt, "the mask is as long as tgt"),
        "only causal": (only_causal, "but not the padding"),
        "only padding": (only_padding, "hide the future"),
        "|": (one_or_the_other, "with &, not |"),
        "padding of the labels": (padding_of_labels, "the keys come from what is given"),
        "turned round": (turned_round, "True means: may attend"),
        "queries hidden": (queries_hidden, "hide it as a key"),
        "a mask of numbers": (numbers, "dtype torch.bool"),
        "without </s>": (without_the_end, "leave out the last column"),
        "pad_id not used": (zero_for_padding, "but not the padding, pad_id"),
        "no mask": (two_things, "a tuple (given, labels, mask)"),
    },
    "water_for_milk": {
        "the row of the word": ("a", "In that row Wasser is given"),
        "the row before": ("c", "where Katze is due"),
        "nowhere": ("d", "is not even"),
        "a word": ("drank", "is expected"),
    },
    "mended_decoder_layer": {
        "nothing mended": (nothing_mended, "two slips are left"),
        "roles swapped": (roles_swapped, "the other way round"),
        "values of the target": (values_of_the_target, "the values here do, too"),
        "added to x": (added_to_x, "it should be added to x1"),
        "asked by x": (asked_by_x, "the queries come from x;"),
        "not added": (not_added, "the residual connection around looking across"),
        "target's mask across": (target_mask_across, "the source has no future"),
        "no mask across": (no_mask_across, "it sees the source's padding"),
        "no mask back": (no_mask_back, "looking back has lost its mask"),
    },
    "words_seen_ahead": {
        "only the last word": (only_the_last_word, "try every word and every output"),
        "only the first output": (only_the_first_output, "try every word and every output"),
        "both ways": (both_ways, "count words ahead only"),
        "count of pairs": (count_of_pairs, "the farthest one is asked for"),
        "word itself counted": (word_itself_counted, "may depend on its own word"),
        "yes or no": (leaks, "A number is expected"),
        "the same step everywhere": (same_step_everywhere, "layer norm takes that out"),
        "only neighbours": (only_neighbours, "expected  6"),
        "x changed": (changes_x, "changed its input"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def in_one_line(tgt, pad_id):
    return tgt[:, :-1], tgt[:, 1:], causal_mask(tgt.size(1) - 1) & padding_mask(tgt[:, :-1], pad_id)


def by_loops(tgt, pad_id):
    given = [row[:-1] for row in tgt.tolist()]
    labels = [row[1:] for row in tgt.tolist()]
    places = range(len(given[0]))
    mask = [[[[j <= i and row[j] != pad_id for j in places] for i in places]] for row in given]
    return [given, labels, mask]


def unpacked_late(x, memory, tgt_mask, memory_mask, parts):
    norms = parts[3]
    y = x + parts[0](x, x, x, mask=tgt_mask)[0]
    y = norms[0](y)
    y = norms[1](parts[1](query=y, key=memory, value=memory, mask=memory_mask)[0] + y)
    return norms[2](F.dropout(parts[2](y), 0.0) + y)


def by_gradient(decode, x):
    jacobian = torch.autograd.functional.jacobian(decode, x)  # (1, T, D, 1, T, D)
    sizes = jacobian[0, :, :, 0].norm(dim=(1, 3))  # (T, T)
    length = x.shape[1]
    return max(k for k in range(length) if (sizes.diagonal(k) > 0).any())


def all_at_once(decode, x):
    """Replace everything beyond a place, and see whether the outputs up to it notice."""
    before, length = decode(x), x.shape[1]
    for ahead in range(length - 1, 0, -1):
        for start in range(ahead, length):
            other = x.clone()
            other[:, start:] = torch.randn_like(other[:, start:])
            if not torch.allclose(before[:, start - ahead], decode(other)[:, start - ahead]):
                return ahead
    return 0


ALSO_RIGHT = {
    "best_honest_loss": {"more digits": (math.log(8) + 4 * math.log(7)) / 6},
    "reversed_memory": {"a capital": "C"},
    "given_labels_and_mask": {"one line": in_one_line, "loops and lists": by_loops},
    "water_for_milk": {"spaces": " b"},
    "mended_decoder_layer": {"unpacked late": unpacked_late},
    "words_seen_ahead": {"by gradient": by_gradient, "all beyond a place": all_at_once},
}
