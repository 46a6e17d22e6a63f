"""Presets: a corpus, a model and a training that fit each other, by the name of the model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from transformer_lib.data import BPEVocabulary, Pair, Vocabulary, load_en_de, load_multi30k
from transformer_lib.feed_forward import FeedForward
from transformer_lib.multi_head import MultiHeadAttention
from transformer_lib.training import TrainingConfig
from transformer_lib.transformer import Transformer, TransformerConfig

__all__ = ["PRESETS", "Preset", "drop_as_in_the_paper", "make_model", "make_vocabularies"]


@dataclass(frozen=True)
class Preset:
    """A corpus, a model and a training that fit each other.

    Args:
        data: what the corpus is, for the model's card.
        load: gives the pairs of a split, tokenised.
        ordinary: gives them as ordinary text; None if there are only tokenised ones.
        joint_bpe: size of one BPE vocabulary for both languages; None for a word vocabulary each.
        model: sizes of the model, less those of the vocabularies.
        tokens: the budget of a batch.
        training: how to train.
        again: how to train a second time, from the mean of the first training's last epochs on;
            a rate that rises once more leads to weights whose mean is better still.
        paper_dropout: drop elements only where section 5.4 says so: of what sub-layers give out
            and of embeddings with positions, but not of attention weights and hidden units.
        alpha: the length penalty, chosen on the validation split.
    """

    data: str
    load: Callable[[str], list[Pair]]
    ordinary: Callable[[str], list[Pair]] | None
    joint_bpe: int | None
    model: dict[str, Any]
    tokens: int
    training: TrainingConfig
    again: TrainingConfig | None = None
    paper_dropout: bool = False
    alpha: float = 0.6


PRESETS = {
    # 1.43 makes the highest rate 0.004.
    "en_de_small": Preset(
        "the course's own English–German corpus, data/en_de/train.tsv",
        load_en_de,
        None,
        None,
        {"d_model": 128, "num_heads": 4, "num_encoder_layers": 3, "num_decoder_layers": 3}
        | {"d_ff": 512, "max_len": 256, "norm_first": True, "share_embeddings": "target"},
        1024,
        TrainingConfig(epochs=36, warmup=1000, factor=1.43, cooldown=18, keep=5),
    ),
    # Transformer-Tiny of Wu et al. 2021; 2.53 makes the highest rate 0.005, then 0.686 0.0035.
    "multi30k_tiny": Preset(
        "Multi30k, English–German, lower-cased and tokenised (for research and education)",
        lambda split: load_multi30k(split, tokenised=True),
        load_multi30k,
        10_000,
        {"d_model": 128, "num_heads": 4, "num_encoder_layers": 4, "num_decoder_layers": 4}
        | {"d_ff": 256, "dropout": 0.3, "norm_first": True, "share_embeddings": True},
        4096,
        TrainingConfig(epochs=75, warmup=2000, factor=2.53, cooldown=35, keep=10),
        TrainingConfig(epochs=28, warmup=300, factor=0.686, keep=10, seed=2),
        paper_dropout=True,
        alpha=1.4,
    ),
}


def make_vocabularies(pairs: list[Pair], joint_bpe: int | None) -> tuple[Vocabulary, Vocabulary]:
    """Make a vocabulary of words for each side, or one of BPE pieces for both."""
    sources, targets = [pair.src for pair in pairs], [pair.tgt for pair in pairs]
    if joint_bpe is None:
        return Vocabulary.from_sentences(sources), Vocabulary.from_sentences(targets)
    both = BPEVocabulary.from_sentences(sources + targets, joint_bpe)
    return both, both


def make_model(preset: Preset, src: Vocabulary, tgt: Vocabulary) -> Transformer:
    """Make the model of a preset, untrained, for the vocabularies of source and target."""
    model = Transformer(TransformerConfig(len(src), len(tgt), **preset.model))
    if preset.paper_dropout:
        drop_as_in_the_paper(model)
    return model


def drop_as_in_the_paper(model: Transformer) -> None:
    """Drop no attention weights and no hidden units (section 5.4)."""
    for module in model.modules():
        if isinstance(module, MultiHeadAttention):
            module.dropout = 0.0
        elif isinstance(module, FeedForward):
            module.dropout.p = 0.0
