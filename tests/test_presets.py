"""Presets: their vocabularies, and their models' dropout."""

import dataclasses

from transformer_lib import MultiHeadAttention, Transformer, TransformerConfig
from transformer_lib.data import Pair
from transformer_lib.presets import (
    PRESETS,
    drop_as_in_the_paper,
    make_model,
    make_vocabularies,
)

SIZES = {"d_model": 6, "num_heads": 3, "num_encoder_layers": 1, "num_decoder_layers": 1, "d_ff": 7}
PAIRS = [Pair("a cat sleeps", "eine Katze schläft"), Pair("a dog", "ein Hund")]


def test_dropout_as_in_the_paper_is_only_on_sublayers_and_embeddings():
    model = Transformer(TransformerConfig(11, 13, dropout=0.3, **SIZES))
    drop_as_in_the_paper(model)
    modules = dict(model.named_modules())
    left = {name for name, module in modules.items() if getattr(module, "p", 0) > 0}
    attentions = [m for m in modules.values() if isinstance(m, MultiHeadAttention)]
    assert [attention.dropout for attention in attentions] == [0, 0, 0]
    residuals = {f"encoder.layers.0.{name}" for name in ("self_attention", "feed_forward")}
    names = ("self_attention", "cross_attention", "feed_forward")
    residuals |= {f"decoder.layers.0.{name}" for name in names}
    assert left == {f"{name}_residual.dropout" for name in residuals} | {
        "positional_encoding.dropout"
    }


def test_words_have_a_vocabulary_for_each_side_and_pieces_share_one():
    english, german = make_vocabularies(PAIRS, None)
    assert set(english.to_dict()["tokens"][4:]) == {"a", "cat", "dog", "sleeps"}
    assert set(german.to_dict()["tokens"][4:]) == {"eine", "Katze", "schläft", "ein", "Hund"}
    pieces, same = make_vocabularies(PAIRS, 40)
    assert pieces is same
    for pair in PAIRS:
        assert pieces.decode(pieces.encode(pair.src)) == pair.src
        assert pieces.decode(pieces.encode(pair.tgt)) == pair.tgt


def test_a_model_has_its_presets_sizes_and_dropout():
    words = make_vocabularies(PAIRS, None)
    for name, of_attention in (("en_de_small", 0.3), ("multi30k_tiny", 0.0)):
        sizes = SIZES | {"dropout": 0.3}
        model = make_model(dataclasses.replace(PRESETS[name], model=sizes), *words)
        assert sizes.items() <= vars(model.config).items()
        assert (model.config.src_vocab_size, model.config.tgt_vocab_size) == (8, 9)
        assert model.encoder.layers[0].self_attention.dropout == of_attention
