"""Checkers for notebook 08, the whole model."""

import math
from dataclasses import replace

import torch
from torch import nn

from transformer_lib.checks.judging import (
    NotRight,
    exercise,
    expect,
    expect_choice,
    expect_number,
    expect_true,
)
from transformer_lib.masks import causal_mask, padding_mask
from transformer_lib.transformer import Transformer, TransformerConfig

__all__ = [
    "first_loss_expected",
    "one_matrix_for_all",
    "parameter_count",
    "rule_behind_a_map",
    "sound_model",
    "superfluous_mask",
]

# Vocabularies 13 and 11, D = 14 in 2 heads, a layer in each stack, a hidden layer of 17.
SMALL = TransformerConfig(13, 11, 14, 2, 1, 1, 17, dropout=0.0)


@exercise(8, 1)
def first_loss_expected(answer):
    """The first loss of a model with 8000 words and an output layer of its own."""
    loss = math.log(8000)
    expect_number(
        answer,
        loss,
        {
            "half a unit more is for a matrix shared with the embeddings; one of its own begins "
            "with far smaller numbers": loss + 0.5,
            "that is the logarithm to base 10; the loss takes the natural one": math.log10(8000),
            "that is the logarithm to base 2; the loss takes the natural one": math.log2(8000),
            "the loss is a mean over the positions: how many there are plays no part": (
                math.log(32 * 25)
            ),
            "that is the sum over all 32 · 25 positions; the loss is their mean": 800 * loss,
            "ln of a probability is negative; the loss is minus that": -loss,
            "that is the probability of each word; the loss is −ln of it": 1 / 8000,
        },
    )


@exercise(8, 2)
def superfluous_mask(answer):
    """Which of the three padding masks changes no real position when it is left out."""
    expect_choice(
        answer,
        "c",
        {
            "a": "a source word that looks at <pad> mixes it into its own vector, and with it "
            "the memory changes",
            "b": "the encoder's mask kept words from looking at padding, but the padding's own "
            "rows still stand in the memory, and cross-attention would find them",
            "d": "where does a target's padding stand, and which real positions could look that "
            "far ahead?",
        },
    )


@exercise(8, 3)
def rule_behind_a_map(answer):
    """What a model writes for *sunflower*, given its map for *drinks*."""
    expect_true(
        isinstance(answer, str), 'a word is expected, in quotation marks, such as "rewolfnus"'
    )
    word = answer.strip().lower()
    likely = {
        "rewolfnus": "backwards would be the anti-diagonal; go down the rows of this map, one "
        "after the other, and note the column of the dark cell",
        "souwnefrl": "you went through the columns; each row asks for one letter, so go down the "
        "rows",
        "nlwrufoe": "the first letter is missing: the row <s>, with nothing written, asks for it",
        "ufoesnlwr": "both halves are right; which of them comes first?",
        "dikrns": "right for drinks; now the same rule for sunflower, nine letters",
        "sunflower": "that would be the diagonal from the upper left to the lower right",
    }
    if word in likely:
        raise NotRight(f"{word} is not it\n  likely    {likely[word]}")
    letters = "it needs each letter of sunflower once, and only these"
    expect_true(sorted(word) == sorted("sunflower"), f"{word or 'nothing'} is not it: {letters}")
    expect_true(
        word == "snlwrufoe",
        f"{word} is not it\n  think of  which columns of drinks come first, the 1st, 3rd and 5th?",
    )


@exercise(8, 4)
def one_matrix_for_all(answer):
    """Tie both embeddings and the output layer of a model, in place; return the model."""
    sizes = replace(SMALL, src_vocab_size=11)
    model = Transformer(sizes)
    before = _count(model)
    source, target, output = (
        module.weight.detach().clone()
        for module in (model.src_embedding, model.tgt_embedding, model.output)
    )
    tied = answer(model)
    expect_true(
        isinstance(tied, nn.Module) and hasattr(tied, "output"),
        f"the model is expected, {_kind(tied)} came",
    )
    named = {
        "the target embedding": (tied.tgt_embedding.weight, None),
        "the output layer": (tied.output.weight, output),
        "the source embedding": (tied.src_embedding.weight, source),
    }
    for name, (weight, own) in named.items():
        mistakes = {"this is still its own matrix": own} if own is not None else {}
        mistakes |= {
            "these were the output layer's numbers: standard deviation 1/D, too small for "
            "embeddings": output,
            "these were the source embedding's numbers: keep the target's": source,
        }
        what = f"the numbers of {name}: those that the target embedding had"
        expect(what, weight, target, mistakes)
    first = tied.tgt_embedding.weight
    for name, (weight, _) in named.items():
        expect_true(
            weight.data_ptr() == first.data_ptr(),
            f"{name} has equal numbers, but in a place of its own\n"
            "  likely    numbers were copied: after one step of training they part",
        )
        expect_true(
            weight is first,
            f"{name} and the target embedding share their numbers, but are two parameters\n"
            "  likely    .data was assigned: each still has a gradient, and means in Adam, of its "
            "own; assign the parameter itself",
        )
    expect_true(first.requires_grad, "the matrix gets no gradient: it must stay a parameter")
    expect("the number of parameters", _count(tied), torch.tensor(before - 2 * 11 * 14))


@exercise(8, 5)
def parameter_count(answer):
    """The number of parameters of a model, from its config."""
    own = [13, 14, 11, 17]  # V source, D, V target, d_ff
    expect(
        "13 and 11 words, D = 14, d_ff = 17, a layer in each stack, nothing shared",
        answer(SMALL),
        _ledger(*own),
        {
            "the biases of attention's four projections are missing": _ledger(*own, bias=0),
            "the biases of the feed-forward network are missing": _ledger(*own, ff_bias=0),
            "the layer norms are missing: 2 in an encoder layer, 3 in a decoder layer": (
                _ledger(*own, encoder_norms=0, decoder_norms=0)
            ),
            "a decoder layer has 3 norms": _ledger(*own, decoder_norms=2),
            "a layer norm has 2 · D parameters, a factor and a shift": _ledger(*own, norm=14),
            "a decoder layer has 2 attentions": _ledger(*own, decoder_attentions=1),
            "the output layer is missing": _ledger(*own) - 11 * 14,
            "the source embedding is missing": _ledger(*own) - 13 * 14,
            "the output layer has no bias": _ledger(*own) + 11,
            "the positional encoding is not learned": _ledger(*own) + SMALL.max_len * 14,
            "the heads share the D places: each has d_k = D / H of them, and H does not count": (
                _ledger(*own) + 3 * 4 * 14 * 14
            ),
            "an attention has four projections: query, key, value and output": (
                _ledger(*own, projections=3)
            ),
        },
        tolerance=0.5,
    )
    deep = replace(SMALL, num_encoder_layers=2, num_decoder_layers=5)
    expect(
        "the same with 2 encoder layers and 5 decoder layers",
        answer(deep),
        _ledger(*own, layers=(2, 5)),
        {
            "the two numbers of layers are swapped": _ledger(*own, layers=(5, 2)),
            "both stacks are counted with the encoder's number of layers": (
                _ledger(*own, layers=(2, 2))
            ),
            "the number of layers does not count yet": _ledger(*own),
        },
        tolerance=0.5,
    )
    expect(
        "one layer in each stack again, norm_first=True",
        answer(replace(SMALL, norm_first=True)),
        _ledger(*own) + 4 * 14,
        {
            "with pre-norm, each stack ends with one more norm": _ledger(*own),
            "both stacks end with a norm": _ledger(*own) + 2 * 14,
        },
        tolerance=0.5,
    )
    same = [11, 14, 11, 17]
    for share, saved in (("target", 1), (True, 2)):
        expect(
            f"11 words on both sides, share_embeddings={share!r}",
            answer(replace(SMALL, src_vocab_size=11, share_embeddings=share)),
            _ledger(*same) - saved * 11 * 14,
            {
                "what is shared is stored once": _ledger(*same),
                '"target" ties two matrices, True ties three': _ledger(*same) - (3 - saved) * 154,
            },
            tolerance=0.5,
        )


@exercise(8, 6)
def sound_model(answer):
    """Whether a model hides what it must: a test that the learner writes."""
    src, tgt = torch.randint(4, 13, (2, 5)), torch.randint(4, 11, (2, 7))
    for name, kind in SOUND.items():
        expect_true(
            _verdict(answer(_make(kind), src, tgt)),
            f"{name} was called broken\n"
            "  likely    compared without room for rounding, or at positions that may change",
        )
    for name, kind in BROKEN.items():
        expect_true(not _verdict(answer(_make(kind), src, tgt)), f"not found: {name}")


def _kind(thing):
    """What a thing is, in a word."""
    return type(thing).__name__


def _count(module):
    """The number of parameters, each counted once."""
    return sum(p.numel() for p in module.parameters())


def _ledger(
    source,
    d,
    target,
    d_ff,
    layers=(1, 1),
    bias=1,
    ff_bias=1,
    norm=None,
    encoder_norms=2,
    decoder_norms=3,
    decoder_attentions=2,
    projections=4,
):
    """The number of parameters, or what a slip makes of it, as a tensor."""
    norm = 2 * d if norm is None else norm
    attention = projections * (d * d + bias * d)
    feed_forward = 2 * d * d_ff + ff_bias * (d_ff + d)
    encoder = attention + feed_forward + encoder_norms * norm
    decoder = decoder_attentions * attention + feed_forward + decoder_norms * norm
    words = (source + 2 * target) * d
    return torch.tensor(words + layers[0] * encoder + layers[1] * decoder)


def _verdict(came):
    """Turn what a learner's test returned into True or False."""
    try:
        return bool(came)
    except (TypeError, ValueError, RuntimeError):
        raise NotRight("return one True or False, for the whole model") from None


def _make(kind, norm_first=False):
    """A model with large logits, in eval mode, in numbers of 16 digits."""
    model = kind(replace(SMALL, norm_first=norm_first)).double().eval()
    nn.init.normal_(model.output.weight)
    return model


class _Rounding(Transformer):
    """Sound, but it rounds a little differently each time, as another processor would."""

    def forward(self, src, tgt):
        logits = super().forward(src, tgt)
        return logits * (1 + 1e-7 * torch.randn_like(logits))


class _Masked(Transformer):
    """A model whose masks may be wrong."""

    encoder_mask = cross_mask = staticmethod(lambda src: padding_mask(src, 0))
    future_mask = staticmethod(causal_mask)

    def forward(self, src, tgt):
        memory = self.encode(src, self.encoder_mask(src))
        mask = self.future_mask(tgt.size(1)) & padding_mask(tgt, 0)
        return self.output(self.decode(tgt, memory, mask, self.cross_mask(src)))


def _with(**masks):
    """A kind of model with some masks replaced."""
    return type("Broken", (_Masked,), {name: staticmethod(mask) for name, mask in masks.items()})


def _all(src):
    """A mask that hides nothing."""
    return torch.ones(1, 1, 1, src.size(1), dtype=torch.bool)


def _one_ahead(length):
    """A causal mask that is off by one."""
    return torch.ones(length, length, dtype=torch.bool).tril(1)[None, None]


SOUND = {"a sound model": Transformer, "a sound model that rounds a little": _Rounding}
BROKEN = {
    "a decoder that sees the whole future": _with(
        future_mask=lambda n: torch.ones(1, 1, n, n, dtype=torch.bool)
    ),
    "a decoder that sees one word ahead": _with(future_mask=_one_ahead),
    "a model without any source mask": _with(encoder_mask=_all, cross_mask=_all),
    "an encoder whose words look at padding": _with(encoder_mask=_all),
    "a decoder that looks at the source's padding": _with(cross_mask=_all),
}
