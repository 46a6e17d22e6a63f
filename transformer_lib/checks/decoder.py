"""Checkers for notebook 07, the decoder."""

import math

import torch
from torch import nn

from transformer_lib.checks.judging import (
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
    shaken,
    unpack,
)
from transformer_lib.decoder import Decoder
from transformer_lib.feed_forward import FeedForward
from transformer_lib.multi_head import MultiHeadAttention

__all__ = [
    "best_honest_loss",
    "given_labels_and_mask",
    "mended_decoder_layer",
    "reversed_memory",
    "water_for_milk",
    "words_seen_ahead",
]

B, D, H, D_FF = 2, 6, 3, 11


def _back(length, ahead=0):
    """A causal mask (1, 1, T, T), or one that looks some words ahead."""
    return torch.ones(length, length, dtype=torch.bool).tril(ahead)[None, None]


@exercise(7, 1)
def best_honest_loss(answer):
    """The best loss on five random words out of 8, none twice in a row, and </s>."""
    ln_7, ln_8 = math.log(7), math.log(8)
    expect_number(
        answer,
        (ln_8 + 4 * ln_7) / 6,
        {
            "the word that was just written cannot come again: from the second word on, 7 are "
            "left": 5 * ln_8 / 6,
            "no word comes before the first: there, all 8 are possible": 5 * ln_7 / 6,
            "the sixth label is always </s>: its loss is 0, and it counts in the mean": (
                (ln_8 + 4 * ln_7) / 5
            ),
            "the mean of six labels, please, not their sum": ln_8 + 4 * ln_7,
            "that is the loss of the first word alone": ln_8,
            "that is the loss of one of the later words alone": ln_7,
            "the sixth label is always </s>: it is no guess, and its loss is 0": (
                (2 * ln_8 + 4 * ln_7) / 6
            ),
            "there are six labels: <s> is given, but nobody asks for it": (ln_8 + 4 * ln_7) / 7,
            "that is with logarithms of base 2; the loss has natural ones": (
                (ln_8 + 4 * ln_7) / 6 / math.log(2)
            ),
            "that is with logarithms of base 10; the loss has natural ones": (
                (ln_8 + 4 * ln_7) / 6 / math.log(10)
            ),
            "the sign: a loss is minus the logarithm of a probability": -(ln_8 + 4 * ln_7) / 6,
        },
        tolerance=0.008,
    )


@exercise(7, 2)
def reversed_memory(answer):
    """What happens to the decoder's outputs when the rows of the memory are reversed."""
    expect_choice(
        answer,
        "c",
        {
            "a": "an output belongs to a target word; its query stays where it is",
            "b": "the order of the words has long entered the vectors, before the encoder. Does "
            "the sum of weight times value care which term comes first?",
            "d": "what is special about the middle? Every row finds its key wherever it stands",
        },
    )


@exercise(7, 3)
def given_labels_and_mask(answer):
    """What the decoder is given, its labels, and the mask of its self-attention."""
    one = torch.tensor([[1, 7, 5, 9, 2]])
    two = torch.tensor([[1, 7, 5, 9, 4, 2], [1, 8, 2, 6, 6, 6]])
    for what, tgt, pad_id in (("one sentence", one, 0), ("two sentences, pad_id = 6", two, 6)):
        given, labels, mask = unpack(answer(tgt, pad_id), "given", "labels", "mask")
        expect(
            f"{what}: what is given",
            given,
            tgt[:, :-1],
            {
                "the last word is given, too; nothing comes after it, so leave it out": tgt,
                "that is what is asked for: given and labels are swapped": tgt[:, 1:],
                "the first and the last are both left out": tgt[:, 1:-1],
                "</s> of a short sentence may stay; leave out the last column, nothing else": (
                    tgt[:, :-1].where(tgt[:, :-1] != 2, pad_id)
                ),
            },
        )
        expect(
            f"{what}: the labels",
            labels,
            tgt[:, 1:],
            {
                "not shifted: the label at each position should be the next word": tgt[:, :-1],
                "<s> is a label, too; nobody asks for it, so leave it out": tgt,
                "rolled round: the first word is now the last label; leave it out": (
                    tgt.roll(-1, dims=1)
                ),
                "shifted the wrong way, by two": tgt[:, 2:],
            },
        )
        length, real = tgt.shape[1] - 1, tgt[:, None, None, :-1] != pad_id
        back = _back(length)
        right = back & real
        if isinstance(mask, torch.Tensor) and mask.dim() == 4:
            fits = all(m in (1, s) for m, s in zip(mask.shape, right.shape, strict=True))
            mask = mask.expand(right.shape) if fits else mask
        expect(
            f"{what}: the mask",
            mask,
            right,
            {
                "the mask is as long as tgt; given has one word less": (
                    _back(length + 1) & (tgt != pad_id)[:, None, None, :]
                ),
                "the mask is turned round; True means: may attend": ~right,
                "nothing is hidden: hide the future, and combine the two masks with &, not |": (
                    torch.ones_like(right)
                ),
                "padding is hidden, but not the future": real.expand(right.shape),
                "the future is hidden, but not the padding, pad_id": back.expand(right.shape),
                "combine the two with &: a word must be real, and not ahead": back | real,
                "padding is sought in the labels; the keys come from what is given": (
                    back & (tgt[:, None, None, 1:] != pad_id)
                ),
                "each word should see itself, too: the diagonal is missing": (
                    _back(length, -1) & real
                ),
                "each word sees one word ahead": _back(length, 1) & real,
                "the past is hidden instead of the future": back.mT & real,
                "padding is hidden as a query, in rows; hide it as a key, in columns": (
                    back & real.mT
                ),
            },
        )


@exercise(7, 4)
def water_for_milk(answer):
    """What the decoder looked at when it decided for a word."""
    expect_choice(
        answer,
        "b",
        {
            "a": "that is what the row Wasser looks at. In that row Wasser is given, and the word "
            "that follows it is due",
            "c": "that is what the row die looks at, where Katze is due. Which row is one before "
            "Wasser is written?",
            "d": "which word is the last one given before Wasser? Its row is not even",
        },
    )


# --- the mended layer -------------------------------------------------------------------


def _layer(x, memory, tgt_mask, memory_mask, parts, across="qmm", base="h", mask="memory"):
    """The right decoder layer, or one with slips; q is the target's side, m the memory."""
    self_attention, cross_attention, feed_forward, norms = parts
    h = norms[0](x + self_attention(x, x, x, tgt_mask)[0])
    inputs = ({"q": h, "m": memory, "x": x}[name] for name in across)
    cross_mask = {"memory": memory_mask, "target": tgt_mask, "none": None}[mask]
    found = cross_attention(*inputs, cross_mask)[0]
    h = norms[1](found + {"h": h, "x": x, "m": memory, "nothing": 0}[base])
    return norms[2](h + feed_forward(h)).detach()


@exercise(7, 5)
def mended_decoder_layer(answer):
    """A decoder layer of given parts, mended."""
    attentions = [shaken(MultiHeadAttention(D, H)) for _ in range(2)]
    norms = [shaken(nn.LayerNorm(D)) for _ in range(3)]
    parts = *attentions, shaken(FeedForward(D, D_FF)), norms
    x, memory = torch.randn(B, 5, D), torch.randn(B, 5, D)
    everything = torch.ones(1, 1, 5, 5, dtype=torch.bool)
    inputs = x, memory, everything, everything[..., :1, :], parts

    expect(
        "source and target of 5 words, masks that hide nothing",
        answer(*inputs),
        _layer(*inputs),
        {
            "two slips are left in looking across: who asks whom, and what is added": (
                _layer(*inputs, across="mqq", base="x")
            ),
            "queries should come from the target, keys and values from the memory; here it is the "
            "other way round": _layer(*inputs, across="mqq"),
            "only the queries should come from the target; the values here do, too": (
                _layer(*inputs, across="qmq")
            ),
            "only the queries should come from the target; the keys here do, too": (
                _layer(*inputs, across="qqm")
            ),
            "the memory is not looked at": _layer(*inputs, across="qqq"),
            "the queries come from x; they should come from x1, after looking back": (
                _layer(*inputs, across="xmm")
            ),
            "the queries come from x, and x is added; both should be x1": (
                _layer(*inputs, across="xmm", base="x")
            ),
            "what was found is added to x; it should be added to x1, after looking back": (
                _layer(*inputs, base="x")
            ),
            "what was found is added to the memory; it should be added to x1": _layer(
                *inputs, base="m"
            ),
            "the residual connection around looking across is missing": _layer(
                *inputs, base="nothing"
            ),
        },
    )
    inputs = x, memory, _back(5), everything[..., :1, :], parts
    expect(
        "source and target of 5 words, a causal mask on the target",
        answer(*inputs),
        _layer(*inputs),
        {
            "the target's mask is used for looking across: the source has no future to hide": (
                _layer(*inputs, mask="target")
            ),
            "looking back has lost its mask: it sees what is ahead": (
                _layer(x, memory, None, None, parts)
            ),
        },
    )
    x, memory = torch.randn(B, 4, D), torch.randn(B, 7, D)
    memory_mask = torch.ones(B, 1, 1, 7, dtype=torch.bool)
    memory_mask[1, ..., 5:] = False
    inputs = x, memory, _back(4), memory_mask, parts
    expect(
        "4 target words, 7 source words, of which 2 are padding in the second sentence",
        answer(*inputs),
        _layer(*inputs),
        {
            "looking across has no mask: it sees the source's padding": (
                _layer(*inputs, mask="none")
            ),
        },
    )


# --- how far ahead ----------------------------------------------------------------------


def _decode(ahead, layers, norm_first=False):
    """A decoder whose every layer looks some words ahead, as a function of x."""
    decoder = Decoder(layers, D, H, D_FF, norm_first=norm_first)
    memory = torch.randn(1, 3, D)
    return lambda x: decoder(x, memory, _back(x.shape[1], ahead))


def _leak(x):
    """Hand the fifth word to the third, and nothing else."""
    return torch.cat([x[:, :2], x[:, 2:3] + x[:, 4:5], x[:, 3:]], dim=1)


@exercise(7, 6)
def words_seen_ahead(answer):
    """How many words ahead of its own an output depends on, at the most."""
    x = torch.randn(1, 7, D)
    honest = _decode(0, 2)
    past = "how far back an output looks does not matter: count words ahead only"
    own = "an output may depend on its own word, which is 0 words ahead"

    def see(what, decode, right, mistakes):
        came = answer(decode, x)
        expect_true(
            not isinstance(came, bool),
            "how many words ahead? A number is expected, True or False came",
        )
        expect(what, came, torch.tensor(right), {k: torch.tensor(v) for k, v in mistakes.items()})

    see("an honest decoder of 2 layers", honest, 0, {own: 1, past: 6})
    see(
        "a decoder without a mask, 7 words",
        _decode(6, 1),
        6,
        {
            "nothing was found": 0,
            "the first word sees 6 others; do not count the word itself": 7,
            "that is the number of pairs; the farthest one is asked for": 21,
            "the first output sees all words: change the last one, too": 5,
        },
    )
    see(
        "a decoder of 1 layer whose mask lets each word see one word ahead",
        _decode(1, 1),
        1,
        {
            "that is the number of pairs; the farthest one is asked for": 6,
            "count from the word itself, which is 0 words ahead": 2,
            "nothing was found": 0,
            past: 6,
            "that is the place of the first output that has changed, not its distance": 5,
        },
    )
    see(
        "the same mask in 2 layers",
        _decode(1, 2),
        2,
        {
            "the second layer sees one word ahead of what the first has seen: look at the whole "
            "decoder": 1,
            "that is the number of pairs; the farthest one is asked for": 11,
        },
    )
    see(
        "a decoder whose third word hears of the fifth",
        lambda x: honest(_leak(x)),
        2,
        {"nothing was found: try every word and every output, not only the first or last": 0},
    )
    see(
        "a pre-norm decoder without a mask",
        _decode(6, 1, norm_first=True),
        6,
        {
            "nothing was found. If you changed a word by adding the same number to all of its "
            "places: layer norm takes that out again": 0
        },
    )
