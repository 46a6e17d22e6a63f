"""Plausible wrong answers to notebook 02: label → (answer, part of the verdict)."""

import math

import torch


def causal(length):
    return torch.ones(length, length, dtype=torch.bool).tril()


def only_same_sentence(sentence):
    same = sentence[:, :, None] == sentence[:, None, :]
    return (same & (sentence != 0)[:, None, :])[:, None]


def only_causal(sentence):
    return causal(sentence.size(1))[None, None].repeat(len(sentence), 1, 1, 1)


def causal_and_padding(sentence):
    return causal(sentence.size(1)) & (sentence != 0)[:, None, None, :]


def padding_sees_padding(sentence):
    same = sentence[:, None, :, None] == sentence[:, None, None, :]
    return same & causal(sentence.size(1))


def right_packed(sentence):
    return padding_sees_padding(sentence) & (sentence != 0)[:, None, None, :]


def joined_with_or(sentence):
    same = sentence[:, None, :, None] == sentence[:, None, None, :]
    return same | causal(sentence.size(1))


def queries_in_columns(sentence):
    return right_packed(sentence).mT


def masked_where_it_may(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    return scores.masked_fill(mask, -math.inf).softmax(dim=-1) @ value


def only_polarity(query, key, value, mask):
    return masked_where_it_may(query, key, value, ~mask)


def lowest_number(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    return scores.masked_fill(~mask, -1e9).softmax(dim=-1) @ value


def the_other_way_round(query, key, value, mask):
    return lowest_number(query, key, value, ~mask)


def after_the_softmax(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    return (scores.softmax(dim=-1) * mask) @ value


def mask_added(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1)) + mask
    return scores.softmax(dim=-1) @ value


def mask_multiplied(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1)) * mask
    return scores.softmax(dim=-1) @ value


def nan_overwritten(query, key, value, mask):
    return only_polarity(query, key, value, mask).nan_to_num(0)


def no_gradient(query, key, value, mask):
    return nan_overwritten(query, key, value, mask).detach()


def only_the_last_word(attention, x):
    changed = x.clone()
    changed[-1] += 1
    return not torch.allclose(attention(changed)[:-1], attention(x)[:-1])


def only_the_first_output(attention, x):
    changed = x.clone()
    changed[1:] += 1
    return not torch.allclose(attention(changed)[0], attention(x)[0])


def only_the_next_word(attention, x):
    for t in range(1, len(x)):
        changed = x.clone()
        changed[t] += 1
        if not torch.allclose(attention(changed)[t - 1], attention(x)[t - 1]):
            return True
    return False


def own_output(attention, x):
    for t in range(len(x)):
        changed = x.clone()
        changed[t] += 1
        if not torch.allclose(attention(changed)[: t + 1], attention(x)[: t + 1]):
            return True
    return False


def with_nan(attention, x):
    for t in range(1, len(x)):
        changed = x.clone()
        changed[t] = math.nan
        if attention(changed)[:t].isnan().any():
            return True
    return False


def too_coarse(attention, x):
    for t in range(1, len(x)):
        changed = x.clone()
        changed[t] *= 1.01
        if (attention(changed)[:t] - attention(x)[:t]).abs().max() > 0.05:
            return True
    return False


def everything_must_be_felt(attention, x):
    for t in range(1, len(x)):
        changed = x.clone()
        changed[t] += 1
        moved = (attention(changed) - attention(x)).abs().amax(dim=-1) > 1e-6
        if moved.tolist() != [i >= t for i in range(len(x))]:
            return True
    return False


def in_place(attention, x):
    before = attention(x)
    x[-1] += 1
    return not torch.allclose(attention(x)[:-1], before[:-1])


def never(attention, x):
    return False


def always(attention, x):
    return True


WRONG = {
    "share_of_padding": {
        "one of the three": (0.118, "a single <pad>"),
        "only one there": (0.155, "when there is only one"),
        "the words' share": (0.645, "take it from 1"),
        "zeros count nothing": (0, "e⁰ is 1"),
        "equal shares": (0.6, "if all five scores were equal"),
        "not scaled": (0.169, "they are not 2"),
    },
    "words_ahead": {
        "the diagonal": ("a", "one more cell to the right"),
        "one layer": ("b", "that is one layer"),
        "all": ("d", "only three layers"),
        "a number": (4, "is expected"),
    },
    "map_of_the_wrong_side": {
        "the right one": ("a", "the mask of the source"),
        "a row hidden": ("b", "hides columns"),
        "two": ("a and b", "is expected"),
    },
    "packed_mask": {
        "not causal": (only_same_sentence, "the causal mask is missing"),
        "causal alone": (only_causal, "looks at the one before it"),
        "no sentences": (causal_and_padding, "looks at the one before it: compare"),
        "padding sees padding": (padding_sees_padding, "0 equals 0"),
        "or": (joined_with_or, "joined with | (or)"),
        "the other way round": (lambda s: ~right_packed(s), "the other way round"),
        "rows and columns": (queries_in_columns, "rows ask, columns answer"),
        "no axis for heads": (lambda s: right_packed(s)[:, 0], "the axis for the heads is missing"),
        "numbers": (lambda s: right_packed(s).float(), "dtype torch.bool"),
    },
    "mended_masking": {
        "filled where True": (masked_where_it_may, "it needs ~mask"),
        "the other way round": (the_other_way_round, "True means may attend"),
        "NaN is left": (only_polarity, "0/0 in the softmax"),
        "−1e9": (lowest_number, "looks at everything it must not see"),
        "after the softmax": (after_the_softmax, "rows no longer sum to 1"),
        "added": (mask_added, "raises some and hides none"),
        "multiplied": (mask_multiplied, "a score of 0 is not hidden"),
        "no mask": (lambda q, k, v, m: after_the_softmax(q, k, v, 1), "nothing is hidden"),
        "NaN overwritten": (nan_overwritten, "its gradient is NaN"),
        "no gradient": (no_gradient, "carries no gradient"),
    },
    "future_leaks": {
        "only the last word": (only_the_last_word, "try every word in turn"),
        "only the first output": (only_the_first_output, "look at every output before it"),
        "only the next word": (only_the_next_word, "look at every output before it"),
        "its own output": (own_output, "look at those before"),
        "NaN": (with_nan, "0 · NaN is NaN"),
        "too coarse": (too_coarse, "compare closely"),
        "the past must be felt": (everything_must_be_felt, "forgets older words is no leak"),
        "input changed": (in_place, "changed its input"),
        "never": (never, "attention without a mask leaks"),
        "always": (always, "leaks nothing"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def packed_by_loops(sentence):
    return [
        [
            [[a == b != 0 and j <= i for j, b in enumerate(line)] for i, a in enumerate(line)],
        ]
        for line in sentence.tolist()
    ]


def weights_cleaned(query, key, value, mask):
    scores = query @ key.mT / math.sqrt(query.size(-1))
    weights = scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~mask, 0) @ value


def powers_masked(query, key, value, mask):
    powers = (query @ key.mT / math.sqrt(query.size(-1))).exp() * mask
    return powers @ value / powers.sum(dim=-1, keepdim=True).clamp(min=1e-30)


def one_row_at_a_time(query, key, value, mask):
    rows = []
    for q, may in zip(query, mask, strict=True):
        if may.any():
            weights = (key[may] @ q / math.sqrt(len(q))).softmax(dim=0)
            rows.append(weights @ value[may])
        else:
            rows.append(torch.zeros(value.size(1)))
    return torch.stack(rows)


def by_prefixes(attention, x):
    return any(
        not torch.allclose(attention(torch.cat([x[:t], -x[t:]]))[:t], attention(x)[:t])
        for t in range(1, len(x))
    )


def by_gradients(attention, x):
    jacobian = torch.autograd.functional.jacobian(attention, x)  # (T, D, T, D)
    moved = jacobian.abs().sum(dim=(1, 3))
    return (moved.triu(diagonal=1) > 0).any()


ALSO_RIGHT = {
    "share_of_padding": {"two digits": 0.36, "more digits": 0.35558},
    "words_ahead": {"a capital": "C"},
    "packed_mask": {"loops and lists": packed_by_loops},
    "mended_masking": {
        "weights cleaned": weights_cleaned,
        "powers": powers_masked,
        "one row at a time": one_row_at_a_time,
    },
    "future_leaks": {"later words turned round": by_prefixes, "by gradients": by_gradients},
}
