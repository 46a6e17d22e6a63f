"""Checkers for notebook 06, the encoder."""

import math

import torch
from torch import nn

from transformer_lib.checks.judging import (
    NotRight,
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
    shaken,
    unpack,
)
from transformer_lib.encoder import Encoder
from transformer_lib.feed_forward import FeedForward
from transformer_lib.multi_head import MultiHeadAttention

__all__ = [
    "maps_of_all_layers",
    "mask_in_one_layer",
    "mended_layer",
    "parameters_of_an_encoder",
    "three_looks",
    "weights_of_a_look",
]

B, S, D, H, D_FF = 2, 5, 6, 3, 7


@exercise(6, 1)
def three_looks(answer):
    """How far three looks reach, each aimed at what was found last."""
    expect_choice(
        answer,
        "d",
        {
            "a": "it knew one container before the first look",
            "b": "that is what three looks at its own container give, one step each; here it looks "
            "at the last thing it found, which by now knows more than its own container, too",
            "c": "two steps after the first look, and then? What it finds has looked as well",
        },
    )


@exercise(6, 2)
def parameters_of_an_encoder(answer):
    """Parameters of Encoder(3, 10, 5, 40, norm_first=True)."""
    d, d_ff, layers = 10, 40, 3
    attention, network, norm = 4 * d * d + 4 * d, 2 * d * d_ff + d_ff + d, 2 * d
    layer = attention + network + 2 * norm
    expect_number(
        answer,
        layers * layer + norm,
        {
            "the norm at the end of a pre-norm stack is missing": layers * layer,
            "that is one layer; each of the three has weights of its own": layer,
            "that is one layer and the last norm; each of the three has weights of its own": (
                layer + norm
            ),
            "the biases of the matrices are missing": (
                layers * (4 * d * d + 2 * d * d_ff + 2 * norm) + norm
            ),
            "each layer has two norms, one for each sub-layer": (
                layers * (attention + network + norm) + norm
            ),
            "a norm has a gain and a bias for each place": (
                layers * (attention + network + norm) + d
            ),
            "heads share out the places of a vector: five small ones have as many weights as a "
            "large one": layers * (5 * attention + network + 2 * norm) + norm,
            "attention has four matrices; w_o is missing": (layers * (layer - d * d - d) + norm),
            "the feed-forward network has two matrices, in and out": (
                layers * (layer - d * d_ff - d) + norm
            ),
        },
        tolerance=0.5,
    )


# --- the mended layer -------------------------------------------------------------------


def _layer(x, mask, parts, *, to_x=False, norms=(0, 1), masked=True):
    """The right encoder layer, or one with slips."""
    attention, norm_1, feed_forward, norm_2 = parts
    first, second = ((norm_1, norm_2)[i] for i in norms)
    h = first(x + attention(x, x, x, mask if masked else None)[0])
    return second((x if to_x else h) + feed_forward(h)).detach()


@exercise(6, 3)
def mended_layer(answer):
    """An encoder layer of given parts, mended."""
    x = torch.randn(B, S, D)
    attention, network = shaken(MultiHeadAttention(D, H)), shaken(FeedForward(D, D_FF))
    parts = attention, nn.LayerNorm(D), network, nn.LayerNorm(D)
    mask = torch.ones(B, 1, 1, S, dtype=torch.bool)
    h = parts[1](x + attention(x, x, x)[0])
    expect(
        "without padding, and with norms that only normalise",
        answer(x, mask, *parts),
        _layer(x, mask, parts),
        {
            "the feed-forward network's output is added to x; its input was h, so add it to h": (
                _layer(x, mask, parts, to_x=True)
            ),
            "the feed-forward network reads x; it should read h": parts[3](h + network(x)),
            "the feed-forward network's output is not added to its input": parts[3](network(h)),
            "the second norm is missing": h + network(h),
            "the mask is turned round; True means: may attend": _layer(x, ~mask, parts),
            "the sub-layer is missing in which each word thinks on its own": parts[3](h),
        },
    )
    parts = attention, shaken(nn.LayerNorm(D)), network, shaken(nn.LayerNorm(D))
    expect(
        "with two norms that have learned something",
        answer(x, mask, *parts),
        _layer(x, mask, parts),
        {
            "norm_1 is used for both sub-layers": _layer(x, mask, parts, norms=(0, 0)),
            "norm_2 is used for both sub-layers": _layer(x, mask, parts, norms=(1, 1)),
            "norm_1 and norm_2 are swapped": _layer(x, mask, parts, norms=(1, 0)),
        },
    )
    mask[1, ..., 3:] = False
    expect(
        "with padding at the end of the second sentence",
        answer(x, mask, *parts),
        _layer(x, mask, parts),
        {
            "attention does not get the mask": _layer(x, mask, parts, masked=False),
            "the mask is turned round; True means: may attend": _layer(x, ~mask, parts),
        },
    )


@exercise(6, 4)
def mask_in_one_layer(answer):
    """Which of three maps shows a stack whose second layer got no mask."""
    expect_choice(
        answer,
        "b",
        {
            "a": "both layers have a mask here, but one that keeps <pad> from looking, instead of "
            "keeping the others from looking at <pad>",
            "c": "replace a <pad> here, and no real word moves: no layer looks at it",
        },
    )


# --- the maps of all layers -------------------------------------------------------------


def _maps(encoder, x, mask, *, pass_on=True, norm=True, look=True, walk=True, final=False):
    """The right maps (N, B, H, S, S), or those of a mistake."""
    maps = []
    for layer in encoder.layers:
        residual = layer.self_attention_residual
        after = layer(x, mask if walk else None)
        seen = after if final else residual.norm(x) if residual.norm_first and norm else x
        attention = layer.self_attention
        maps.append(attention(seen, seen, seen, mask if look else None, need_weights=True)[1])
        x = after if pass_on else x
    return torch.stack(maps).detach()


def _called(answer, *inputs):
    """Call the answer; a list of maps counts as the stack of them."""
    came = answer(*inputs)
    if isinstance(came, list | tuple) and all(isinstance(item, torch.Tensor) for item in came):
        expect_true(len({item.shape for item in came}) == 1, "the maps differ in shape")
        return torch.stack(tuple(came))
    return came


@exercise(6, 5)
def maps_of_all_layers(answer):
    """The weights of every layer of an encoder (N, B, H, S, S)."""
    x = torch.randn(B, S, D)
    mask = torch.ones(B, 1, 1, S, dtype=torch.bool)
    encoder = shaken(Encoder(1, D, H, D_FF))
    one = _maps(encoder, x, mask)
    expect(
        "one layer, post-norm, no padding",
        _called(answer, encoder, x, mask),
        one,
        {
            "the mean over the heads; each head has its own map": one.mean(dim=2),
            "a dimension for the layers is missing in front": one[0],
            "each row should sum to 1 over the keys: rows and columns are swapped": one.mT,
            "the layers belong in front, (N, B, H, S, S)": one.transpose(0, 1),
            "the layer's output looks here; its input should": (
                _maps(encoder, x, mask, final=True)
            ),
        },
    )
    encoder = shaken(Encoder(3, D, H, D_FF))
    right = _maps(encoder, x, mask)
    expect(
        "three layers, post-norm, no padding",
        _called(answer, encoder, x, mask),
        right,
        {
            "every layer looks at the first x; pass on what the layer below returns": (
                _maps(encoder, x, mask, pass_on=False)
            ),
            "the layers are in reverse order": right.flip(0),
            "only the first layer: is the return inside the loop?": right[:1],
            "only the last layer": right[-1:],
            "the layers belong in front, (N, B, H, S, S)": right.transpose(0, 1),
        },
    )
    mask[1, ..., 3:] = False
    expect(
        "with padding at the end of the second sentence",
        _called(answer, encoder, x, mask),
        _maps(encoder, x, mask),
        {
            "the mask is missing": _maps(encoder, x, mask, look=False, walk=False),
            "the mask is missing where the weights are asked for": (
                _maps(encoder, x, mask, look=False)
            ),
            "the mask is missing on the way from one layer to the next": (
                _maps(encoder, x, mask, walk=False)
            ),
        },
    )
    encoder = shaken(Encoder(3, D, H, D_FF, norm_first=True))
    expect(
        "pre-norm",
        _called(answer, encoder, x, mask),
        _maps(encoder, x, mask),
        {
            "with pre-norm, attention does not see x but what the norm makes of it": (
                _maps(encoder, x, mask, norm=False)
            ),
        },
    )


# --- a look, written by hand ------------------------------------------------------------


def _matrix(name, came, *shape):
    """Make a tensor of a learner's matrix and see that its shape is right; None is any size."""
    try:
        came = torch.as_tensor(came, dtype=torch.float32).detach()
    except (TypeError, ValueError, RuntimeError):
        raise NotRight(f"{name} should be a matrix") from None
    fits = came.dim() == 2 and all(
        size in (None, real) for size, real in zip(shape, came.shape, strict=True)
    )
    words = ", ".join("d_k" if size is None else str(size) for size in shape)
    expect_true(
        fits, f"the shape of {name}\n  expected  ({words})\n  came      {tuple(came.shape)}"
    )
    return came


def _look(x, w_q, w_k, w_v):
    """Add to x (S, places) what one attention head collects."""
    scores = x @ w_q @ (x @ w_k).T / math.sqrt(w_q.shape[1])
    return x + scores.softmax(dim=-1) @ x @ w_v


@exercise(6, 6)
def weights_of_a_look(answer):
    """Matrices with which attention writes the container's container into the empty places."""
    for n in (3, 5, 7):
        w_q, w_k, w_v = unpack(answer(n), "w_q", "w_k", "w_v")
        w_q = _matrix("w_q", w_q, 3 * n, None)
        w_k = _matrix("w_k", w_k, 3 * n, w_q.shape[1])
        w_v = _matrix("w_v", w_v, 3 * n, 3 * n)
        chain = torch.arange(1, n + 1).clamp(max=n - 1)  # each in the next
        for container in (chain, torch.randint(n, (n,))):
            inside = torch.eye(n)[container]
            x = torch.cat([torch.eye(n), inside, torch.zeros(n, n)], dim=1)
            _expect_found(_look(x, w_q, w_k, w_v), container, inside)


def _expect_found(came, container, inside):
    """See that the last third holds the container's container, and the rest is unchanged."""
    n = len(container)
    own = torch.eye(n)
    story = ", ".join(f"{i} in {j}" for i, j in enumerate(container.tolist()))
    expect(
        f"{story}: the first {2 * n} places should stay as they are",
        came[:, : 2 * n],
        torch.cat([own, inside], dim=1),
        {
            "what is found is written into the second n places; it belongs into the last n": (
                torch.cat([own, inside + inside @ inside], dim=1)
            ),
            "what is found is written into the first n places; it belongs into the last n": (
                torch.cat([own + inside @ inside, inside], dim=1)
            ),
        },
        tolerance=0.02,
    )
    found, right = came[:, 2 * n :], inside @ inside
    aimed = torch.equal(found.argmax(dim=-1), container[container])
    inward = (1000 * inside.T).softmax(dim=-1)  # a look at what is in me
    expect(
        f"{story}: what stands in the last {n} places",
        found,
        right,
        {
            "nothing is written there: a row of w_v says which place is taken, its column where it "
            "is put": torch.zeros(n, n),
            "that is the object itself: it looks at itself and takes its own name": own,
            "that is the container, which was known. Either the object looks at itself, or it "
            "takes its container's name instead of what that one is in": inside,
            "the look goes from a container to what is in it: w_q and w_k are swapped": (
                inward @ inside
            ),
            "the look goes from a container to what is in it, and takes its name": inward,
            "the look goes everywhere alike, as all scores are equal": (
                inside.mean(dim=0).expand(n, n)
            ),
            "the look goes to the right object, but not all of it: the scores are too close "
            "together, so multiply w_q or w_k by a larger number": found if aimed else right,
        },
        tolerance=0.02,
    )
