"""Plausible wrong answers to notebook 03: label → (answer, part of the verdict)."""

import copy
import math

import torch
from torch import nn
from torch.nn import functional as F

# --- three slips in one function --------------------------------------------------------


def split(x, num_heads):
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def split_wrong(x, num_heads):
    return x.reshape(x.size(0), num_heads, x.size(1), -1)


def merge(heads, query):
    return heads.transpose(1, 2).flatten(-2)


def merge_wrong(heads, query):
    return heads.reshape(query.shape)


def root_of_d_k(q, w_q, num_heads):
    return math.sqrt(q.size(-1))


def root_of_d_model(q, w_q, num_heads):
    return math.sqrt(w_q.shape[0])


def root_of_heads(q, w_q, num_heads):
    return math.sqrt(num_heads) if num_heads > 1 else math.sqrt(w_q.shape[0])


def make(*, values=2, keys=1, root=root_of_d_k, cut=split, join=merge, output=True):
    """Multi-head attention with slips of choice; `values` and `keys` say which matrix is used."""

    def multi_head(query, memory, w_q, w_k, w_v, w_o, num_heads):
        matrices = w_q, w_k, w_v
        q = cut(query @ w_q, num_heads)
        k, v = cut(memory @ matrices[keys], num_heads), cut(memory @ matrices[values], num_heads)
        scores = q @ k.mT / root(q, w_q, num_heads)
        merged = join(scores.softmax(dim=-1) @ v, query)
        return merged @ w_o if output else merged

    return multi_head


# --- one silent head --------------------------------------------------------------------


def silence(**places):
    """Zeros in a copy: the projection's name → a function from the head's places to an index."""

    def silenced(attention, head):
        twin = copy.deepcopy(attention)
        d_k = twin.w_o.weight.size(0) // twin.num_heads
        own = slice(head * d_k, (head + 1) * d_k)
        with torch.no_grad():
            for name, index in places.items():
                getattr(twin, name[:3]).get_parameter(name[4:])[index(own)] = 0
        return twin

    return silenced


def rows(own):
    return own


def columns(own):
    return slice(None), own


def everything(own):
    return slice(None)


def counted_from_one(attention, head):
    return silence(w_o_weight=columns)(attention, head - 1)


def in_the_original(attention, head):
    d_k = attention.w_o.weight.size(0) // attention.num_heads
    with torch.no_grad():
        attention.w_o.weight[:, head * d_k : (head + 1) * d_k] = 0
    return attention


def without_no_grad(attention, head):
    twin = copy.deepcopy(attention)
    twin.w_o.weight[:, :5] = 0
    return twin


def returned_the_original(attention, head):
    silence(w_o_weight=columns)(attention, head)
    return attention


# --- shared keys ------------------------------------------------------------------------


def group(*, spread, root=root_of_d_k, join=merge, output=True):
    """Grouped attention, with a way to spread (B, G, S, d_k) over the heads, and slips."""

    def grouped(query, memory, w_q, w_k, w_v, w_o, num_heads, num_groups):
        q = split(query @ w_q, num_heads)
        k, v = split(memory @ w_k, num_groups), split(memory @ w_v, num_groups)
        k, v = spread(k, num_heads), spread(v, num_heads)
        scores = q @ k.mT / root(q, w_q, num_groups)
        merged = join(scores.softmax(dim=-1) @ v, query)
        return merged @ w_o if output else merged

    return grouped


def side_by_side(x, num_heads):
    return x.repeat_interleave(num_heads // x.size(1), dim=1)


def dealt_out(x, num_heads):
    return x.repeat(1, num_heads // x.size(1), 1, 1)


def the_first(x, num_heads):
    return x if x.size(1) == num_heads else x[:, :1]


def the_mean(x, num_heads):
    return x if x.size(1) == num_heads else x.mean(dim=1, keepdim=True)


def root_of_groups(q, w_q, num_groups):
    return math.sqrt(w_q.shape[0] / num_groups)


WRONG = {
    "narrow_head": {
        "divided by the root of 4": (0.58, "divided by √4"),
        "divided by the root of 2": (0.67, "divided by √2"),
        "two places": (0.45, "a head with two places"),
        "four places": (0.42, "one head with all four places"),
        "the action, too": (0.47, "does not see that"),
        "no powers": (1, "raises e"),
        "a power": (7.39, "not yet divided by the sum"),
    },
    "one_place_changed": {
        "head 1 owns it": ("a", "not x"),
        "through W^O": ("c", "cannot reach back"),
        "none": ("d", "made of"),
        "a number of heads": (3, "is expected"),
    },
    "map_of_one_question": {
        "each its own": ("b", "different questions"),
        "all equal": ("c", "all keys are the same"),
        "both": ("a and c", "is expected"),
    },
    "mended_multi_head": {
        "all three slips": (
            make(values=0, root=root_of_d_model, join=merge_wrong),
            "the values are made with w_q",
        ),
        "values with w_k": (make(values=1), "the values are made with w_k"),
        "no w_o": (make(output=False), "w_o is missing"),
        "keys with w_q": (make(keys=0), "the keys are made with w_q"),
        "not scaled": (make(root=lambda *_: 1), "not divided by √d_k"),
        "root of D": (make(root=root_of_d_model), "divided by √D"),
        "root of H": (make(root=root_of_heads), "divided by √H"),
        "merged wrong": (make(join=merge_wrong), "merged without a transpose"),
        "cut wrong": (make(cut=split_wrong), "the sentence is cut instead of the vectors"),
        "cut and merged wrong": (make(cut=split_wrong, join=merge_wrong), "the sentence is cut"),
    },
    "silenced_head": {
        "rows of w_o": (silence(w_o_weight=rows), "stores W^O transposed"),
        "its bias, too": (silence(w_o_weight=columns, w_o_bias=everything), "to no head: leave it"),
        "value without its bias": (silence(w_v_weight=rows), "its bias in w_v is left"),
        "columns of w_v": (silence(w_v_weight=columns), "head h owns rows of w_v.weight"),
        "the query": (silence(w_q_weight=rows, w_q_bias=rows), "without a query"),
        "the query's weight": (silence(w_q_weight=rows), "changes where the head looks"),
        "the key": (silence(w_k_weight=rows, w_k_bias=rows), "without a query or a key"),
        "counted from 1": (counted_from_one, "they count from 0"),
        "the original": (in_the_original, "work on copy.deepcopy(attention)"),
        "the copy is lost": (returned_the_original, "nothing is silent"),
        "no no_grad": (without_no_grad, "stopped with RuntimeError"),
        "a matrix": (lambda attention, head: attention.w_o.weight, "to be called like it"),
    },
    "grouped_attention": {
        "dealt out": (group(spread=dealt_out), "the groups are dealt out one head at a time"),
        "the first group": (group(spread=the_first), "all heads use the first group"),
        "the mean": (group(spread=the_mean), "the mean of the groups"),
        "no w_o": (group(spread=side_by_side, output=False), "w_o is missing"),
        "not scaled": (group(spread=side_by_side, root=lambda *_: 1), "not divided by √d_k"),
        "root of D": (group(spread=side_by_side, root=root_of_d_model), "divided by √D"),
        "root of D/G": (group(spread=side_by_side, root=root_of_groups), "each head has d_k"),
        "merged wrong": (group(spread=side_by_side, join=merge_wrong), "without a transpose"),
        "not shared": (group(spread=lambda x, num_heads: x), "stopped with RuntimeError"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def one_head_at_a_time(query, memory, w_q, w_k, w_v, w_o, num_heads):
    heads = []
    columns = (w.chunk(num_heads, dim=1) for w in (w_q, w_k, w_v))
    for q, k, v in zip(*columns, strict=True):
        scores = (query @ q) @ (memory @ k).mT / math.sqrt(q.shape[1])
        heads.append(scores.softmax(dim=-1) @ (memory @ v))
    return torch.cat(heads, dim=-1) @ w_o


def pytorchs_own(query, memory, w_q, w_k, w_v, w_o, num_heads):
    layer = nn.MultiheadAttention(w_q.shape[0], num_heads, bias=False, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.cat([w_q.T, w_k.T, w_v.T]))
        layer.out_proj.weight.copy_(w_o.T)
    return layer(query, memory, memory)[0]


def by_einsum(query, memory, w_q, w_k, w_v, w_o, num_heads):
    q, k, v = (
        torch.einsum("btd,dhk->bhtk", x, w.unflatten(1, (num_heads, -1)))
        for x, w in ((query, w_q), (memory, w_k), (memory, w_v))
    )
    heads = torch.einsum("bhts,bhsk->bhtk", (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1), v)
    return torch.einsum("bhtk,hkd->btd", heads, w_o.unflatten(0, (num_heads, -1)))


class WithoutHead(nn.Module):
    def __init__(self, attention, head):
        super().__init__()
        self.attention, self.head = attention, head

    def forward(self, query, key, value):
        layer = self.attention
        _, weights = layer(query, key, value, need_weights=True)
        heads = weights @ layer.split_heads(layer.w_v(value))
        heads[:, self.head] = 0
        return layer.w_o(layer.merge_heads(heads)), weights


def grouped_by_axes(query, memory, w_q, w_k, w_v, w_o, num_heads, num_groups):
    q = split(query @ w_q, num_heads).unflatten(1, (num_groups, -1))  # (B, G, H/G, T, d_k)
    k, v = split(memory @ w_k, num_groups)[:, :, None], split(memory @ w_v, num_groups)[:, :, None]
    heads = (q @ k.mT / math.sqrt(q.size(-1))).softmax(dim=-1) @ v
    return merge(heads.flatten(1, 2), query) @ w_o


def grouped_by_pytorch(query, memory, w_q, w_k, w_v, w_o, num_heads, num_groups):
    k, v = split(memory @ w_k, num_groups), split(memory @ w_v, num_groups)
    q = split(query @ w_q, num_heads)
    return merge(F.scaled_dot_product_attention(q, k, v, enable_gqa=True), query) @ w_o


ALSO_RIGHT = {
    "narrow_head": {"two digits": 0.79, "more digits": 0.78699},
    "mended_multi_head": {
        "one head at a time": one_head_at_a_time,
        "PyTorch's own": pytorchs_own,
        "einsum": by_einsum,
    },
    "silenced_head": {
        "the value and its bias": silence(w_v_weight=rows, w_v_bias=rows),
        "a class of its own": WithoutHead,
    },
    "grouped_attention": {
        "an axis for groups": grouped_by_axes,
        "PyTorch's own": grouped_by_pytorch,
    },
}
