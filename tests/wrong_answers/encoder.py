"""Plausible wrong answers to notebook 06: label → (answer, part of the verdict)."""

import copy

import torch

from transformer_lib import record_attention

# --- the mended layer -------------------------------------------------------------------


def layer_untouched(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x)[0])
    return norm_1(x + feed_forward(h))


def norm_twice(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x, mask)[0])
    return norm_1(h + feed_forward(h))


def no_mask(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x)[0])
    return norm_2(h + feed_forward(h))


def mask_turned_round(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x, ~mask)[0])
    return norm_2(h + feed_forward(h))


def network_reads_x(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x, mask)[0])
    return norm_2(h + feed_forward(x))


def no_second_residual(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x, mask)[0])
    return norm_2(feed_forward(h))


def weights_kept(x, mask, attention, norm_1, feed_forward, norm_2):
    h = norm_1(x + attention(x, x, x, mask))
    return norm_2(h + feed_forward(h))


# --- the maps of all layers -------------------------------------------------------------


def weights(layer, x, mask):
    return layer.self_attention(x, x, x, mask, need_weights=True)[1]


def seen(layer, x):
    residual = layer.self_attention_residual
    return residual.norm(x) if residual.norm_first else x


def norm_forgotten(encoder, x, mask):
    maps = []
    for layer in encoder.layers:
        maps.append(weights(layer, x, mask))
        x = layer(x, mask)
    return torch.stack(maps)


def always_the_first_x(encoder, x, mask):
    return torch.stack([weights(layer, seen(layer, x), mask) for layer in encoder.layers])


def after_the_layer(encoder, x, mask):
    maps = []
    for layer in encoder.layers:
        x = layer(x, mask)
        maps.append(weights(layer, seen(layer, x), mask))
    return torch.stack(maps)


def mask_only_for_weights(encoder, x, mask):
    maps = []
    for layer in encoder.layers:
        maps.append(weights(layer, seen(layer, x), mask))
        x = layer(x)
    return torch.stack(maps)


def mask_only_on_the_way(encoder, x, mask):
    maps = []
    for layer in encoder.layers:
        maps.append(weights(layer, seen(layer, x), None))
        x = layer(x, mask)
    return torch.stack(maps)


def last_map(encoder, x, mask):
    for layer in encoder.layers:
        last = weights(layer, seen(layer, x), mask)
        x = layer(x, mask)
    return last[None]


def mean_of_heads(encoder, x, mask):
    return by_hooks(encoder, x, mask).mean(dim=2)


def batch_in_front(encoder, x, mask):
    return by_hooks(encoder, x, mask).transpose(0, 1)


def weights_not_asked_for(encoder, x, mask):
    maps = []
    for layer in encoder.layers:
        maps.append(layer.self_attention(x, x, x, mask)[1])
        x = layer(x, mask)
    return torch.stack(maps)


# --- a look, written by hand ------------------------------------------------------------


def places(n):
    own, container, empty = torch.eye(3 * n).split(n)
    return own, container, empty


def swapped(n):
    own, container, empty = places(n)
    return 100 * own.T, container.T, container.T @ empty


def takes_the_name(n):
    own, container, empty = places(n)
    return 100 * container.T, own.T, own.T @ empty


def at_itself(n):
    own, _, empty = places(n)
    return 100 * own.T, own.T, own.T @ empty


def too_soft(n):
    own, container, empty = places(n)
    return 5 * container.T, own.T, container.T @ empty


def not_sharp_at_all(n):
    own, container, empty = places(n)
    return container.T, own.T, container.T @ empty


def turned_values(n):
    own, container, empty = places(n)
    return 100 * container.T, own.T, (container.T @ empty).T


def into_the_second(n):
    own, container, _ = places(n)
    return 100 * container.T, own.T, container.T @ container


def only_a_block(n):
    return 100 * torch.eye(n), torch.eye(n), torch.eye(n)


def no_scores(n):
    _, container, empty = places(n)
    return torch.zeros(3 * n, n), torch.zeros(3 * n, n), container.T @ empty


WRONG = {
    "three_looks": {
        "one a look": ("a", "before the first look"),
        "one a look, and the start": ("b", "at its own container"),
        "two a look": ("c", "has looked as well"),
        "the number": (8, "is expected"),
    },
    "parameters_of_an_encoder": {
        "no last norm": (3990, "the norm at the end"),
        "one layer": (1330, "that is one layer"),
        "one layer and a norm": (1350, "that is one layer and the last norm"),
        "no biases": (3740, "the biases of the matrices"),
        "one norm in a layer": (3950, "one for each sub-layer"),
        "norms of D numbers": (3950 - 10, "a gain and a bias"),
        "five times as many": (9290, "heads share out"),
        "no w_o": (3680, "w_o is missing"),
        "one matrix in the network": (2780, "two matrices, in and out"),
        "any other": (1_000_000, "it is smaller"),
    },
    "mended_layer": {
        "nothing mended": (layer_untouched, "its input was h"),
        "one norm twice": (norm_twice, "norm_1 is used for both"),
        "no mask": (no_mask, "does not get the mask"),
        "the mask turned round": (mask_turned_round, "is turned round"),
        "the network reads x": (network_reads_x, "it should read h"),
        "no second residual": (no_second_residual, "is not added to its input"),
        "weights kept": (weights_kept, "stopped with TypeError"),
    },
    "mask_in_one_layer": {
        "the wrong axis": ("a", "keeps <pad> from looking"),
        "no leak": ("c", "no layer looks at it"),
        "a layer": (2, "is expected"),
    },
    "maps_of_all_layers": {
        "norm forgotten": (norm_forgotten, "what the norm makes of it"),
        "always the first x": (always_the_first_x, "every layer looks at the first x"),
        "after the layer": (after_the_layer, "its input should"),
        "mask only for the weights": (mask_only_for_weights, "on the way from one layer"),
        "mask only on the way": (mask_only_on_the_way, "where the weights are asked for"),
        "the last map": (last_map, "only the last layer"),
        "mean of the heads": (mean_of_heads, "each head has its own map"),
        "batch in front": (batch_in_front, "the layers belong in front"),
        "weights not asked for": (weights_not_asked_for, "stopped with TypeError"),
    },
    "weights_of_a_look": {
        "swapped": (swapped, "w_q and w_k are swapped"),
        "the container's name": (takes_the_name, "takes its container's name"),
        "at itself": (at_itself, "it looks at itself and takes its own name"),
        "too soft": (too_soft, "multiply w_q or w_k by a larger number"),
        "not sharp at all": (not_sharp_at_all, "multiply w_q or w_k by a larger number"),
        "values turned": (turned_values, "nothing is written there"),
        "into the second places": (into_the_second, "written into the second n places"),
        "only a block": (only_a_block, "the shape of w_q"),
        "no scores": (no_scores, "everywhere alike"),
        "one matrix": (lambda n: torch.eye(3 * n), "a tuple (w_q, w_k, w_v) is expected"),
        "words": (lambda n: ("q", "k", "v"), "w_q should be a matrix"),
    },
}

# Solutions written otherwise than the notebook's, all of them right.


def one_residual(x, mask, attention, norm_1, feed_forward, norm_2):
    attended, _ = attention(x, x, x, mask=mask)
    normed = norm_1(attended + x)
    return norm_2(torch.stack([normed, feed_forward(normed)]).sum(dim=0))


def by_hooks(encoder, x, mask):
    """Run the encoder once and let each attention keep its weights."""
    encoder = copy.deepcopy(encoder)
    maps = []

    def ask(module, arguments, named):
        return arguments, {**named, "need_weights": True}

    for layer in encoder.layers:
        layer.self_attention.register_forward_pre_hook(ask, with_kwargs=True)
        layer.self_attention.register_forward_hook(lambda module, i, out: maps.append(out[1]))
    encoder(x, mask)
    return torch.stack(maps)


def recorded(encoder, x, mask):
    with record_attention(encoder) as maps:
        encoder(x, mask)
    return [maps[f"layers.{i}.self_attention"] for i in range(len(encoder.layers))]


def wide_matrices(n):
    w_q, w_k, w_v = (torch.zeros(3 * n, 3 * n) for _ in range(3))
    for i in range(n):
        w_q[n + i, i] = 30
        w_k[i, i] = 30
        w_v[n + i, 2 * n + i] = 1
    return w_q, w_k, w_v


def as_lists(n):
    return [matrix.tolist() for matrix in wide_matrices(n)]


ALSO_RIGHT = {
    "three_looks": {"a capital": "D"},
    "parameters_of_an_encoder": {"a tensor": torch.tensor(4010)},
    "mended_layer": {"residual last": one_residual},
    "maps_of_all_layers": {"hooks": by_hooks, "a list, recorded": recorded},
    "weights_of_a_look": {"as many columns as rows": wide_matrices, "lists": as_lists},
}
