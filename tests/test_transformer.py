"""Properties of the whole model, and parity with PyTorch's."""

import copy
import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from transformer_lib import Transformer, TransformerConfig, causal_mask, sinusoidal_encoding
from transformer_lib.parity import compare, compare_gradients, copy_weights

B, H, D_K, S, T, D_FF, V_SRC, V_TGT = 3, 2, 7, 5, 11, 13, 17, 19
D = H * D_K
PAD = 0
NORMS = pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
MODES = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
TYINGS = pytest.mark.parametrize("share_embeddings", [False, "target", True])


def config(**changes):
    sizes = {
        "src_vocab_size": V_SRC,
        "tgt_vocab_size": V_TGT,
        "d_model": D,
        "num_heads": H,
        "num_encoder_layers": 2,
        "num_decoder_layers": 3,
        "d_ff": D_FF,
        "dropout": 0.0,
        "max_len": 23,
    }
    if changes.get("share_embeddings") is True:
        sizes["src_vocab_size"] = V_TGT
    return TransformerConfig(**{**sizes, **changes})


def sentences(padded=True):
    src, tgt = torch.randint(1, V_SRC, (B, S)), torch.randint(1, V_TGT, (B, T))
    if padded:
        src[0, 3:] = PAD
        tgt[0, 7:] = PAD
        tgt[2, 10:] = PAD
    return src, tgt


# --- Parity ---------------------------------------------------------------------------


class PyTorchModel(nn.Module):
    """The same model of PyTorch's parts, with masks and positions written down once more."""

    def __init__(self, norm_first):
        super().__init__()
        self.src_embedding = nn.Embedding(V_SRC, D)
        self.tgt_embedding = nn.Embedding(V_TGT, D)
        self.transformer = nn.Transformer(
            D, H, 2, 3, D_FF, dropout=0.0, batch_first=True, norm_first=norm_first
        )
        if not norm_first:  # nn.Transformer adds norms that the paper does not have.
            self.transformer.encoder.norm = self.transformer.decoder.norm = None
        self.output = nn.Linear(D, V_TGT, bias=False)

    def forward(self, src, tgt):
        source = self.src_embedding(src) * math.sqrt(D) + self.positions(src.size(1))
        target = self.tgt_embedding(tgt) * math.sqrt(D) + self.positions(tgt.size(1))
        future = torch.ones(tgt.size(1), tgt.size(1), dtype=torch.bool).triu(1)
        hidden = self.transformer(
            source,
            target,
            tgt_mask=future,
            src_key_padding_mask=src == PAD,
            tgt_key_padding_mask=tgt == PAD,
            memory_key_padding_mask=src == PAD,
        )
        return self.output(hidden)

    @staticmethod
    def positions(length):
        waves = (math.sin, math.cos)
        return torch.tensor(
            [
                [waves[i % 2](pos / 10000 ** (2 * (i // 2) / D)) for i in range(D)]
                for pos in range(length)
            ]
        )


def copy_model(theirs, ours):
    copy_weights(theirs.transformer, ours)
    for part in ("src_embedding", "tgt_embedding", "output"):
        copy_weights(getattr(theirs, part), getattr(ours, part))


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")  # nn.Transformer, pre-norm
@NORMS
@pytest.mark.parametrize("padded", [False, True])
def test_parity_with_pytorch(padded, norm_first, randomise):
    theirs = randomise(PyTorchModel(norm_first))
    ours = Transformer(config(norm_first=norm_first))
    copy_model(theirs, ours)
    src, tgt = sentences(padded)
    logits, expected = ours(src, tgt), theirs(src, tgt)
    assert compare("logits", logits, expected) < 1e-5
    assert compare("logits in eval mode", ours.eval()(src, tgt), expected) < 1e-5

    labels = tgt.roll(-1, dims=1)
    for result in (logits, expected):
        F.cross_entropy(
            result.transpose(1, 2), labels, ignore_index=PAD, reduction="sum"
        ).backward()
    for part in ("encoder", "decoder", "src_embedding", "tgt_embedding", "output"):
        their_part = getattr(theirs if hasattr(theirs, part) else theirs.transformer, part)
        assert compare_gradients(part, getattr(ours, part), their_part) < 1e-4


# --- What may depend on what ----------------------------------------------------------


@NORMS
@MODES
def test_nothing_leaks_from_the_future(training, norm_first):
    model = Transformer(config(norm_first=norm_first)).train(training)
    src, tgt = sentences(padded=False)
    before = model(src, tgt)
    for t in range(T):
        changed = tgt.clone()
        changed[:, t] = tgt[:, t] % (V_TGT - 1) + 1  # another token, not padding
        after = model(src, changed)
        torch.testing.assert_close(after[:, :t], before[:, :t])
        assert not torch.allclose(after[:, t], before[:, t])


@NORMS
@MODES
def test_more_padding_changes_no_logits(training, norm_first):
    model = Transformer(config(norm_first=norm_first)).train(training)
    src, tgt = sentences()
    longer = model(F.pad(src, (0, 4), value=PAD), F.pad(tgt, (0, 6), value=PAD))
    torch.testing.assert_close(longer[:, :T], model(src, tgt))


@pytest.mark.parametrize("side", ["src_embedding", "tgt_embedding"])
def test_the_vector_of_padding_does_not_matter_to_real_tokens(side):
    model = Transformer(config())
    src, tgt = sentences()
    tgt[1, 4] = PAD  # in the middle, where the causal mask does not hide it from later tokens
    before = model(src, tgt)
    with torch.no_grad():
        getattr(model, side).weight[PAD] += 1
    torch.testing.assert_close(model(src, tgt)[tgt != PAD], before[tgt != PAD])


def test_pad_id_may_be_another_token():
    model, other = Transformer(config()), Transformer(config(pad_id=5))
    other.load_state_dict(model.state_dict())
    swap = torch.arange(V_TGT)
    swap[0], swap[5] = 5, 0
    with torch.no_grad():
        other.src_embedding.weight.copy_(model.src_embedding.weight[swap[:V_SRC]])
        other.tgt_embedding.weight.copy_(model.tgt_embedding.weight[swap])
    src, tgt = sentences()
    torch.testing.assert_close(other(swap[src], swap[tgt]), model(src, tgt))


def test_sentences_of_a_batch_do_not_mix():
    model = Transformer(config())
    src, tgt = sentences()
    together = model(src, tgt)
    for b in range(B):
        alone = model(src[b : b + 1], tgt[b : b + 1])
        torch.testing.assert_close(alone, together[b : b + 1])


@pytest.mark.parametrize("which", ["src", "tgt"])
def test_word_order_matters(which):
    model = Transformer(config())
    src, tgt = torch.tensor([[1, 2, 3, 4, 5]]), torch.tensor([[6, 7, 8, 9, 10, 11, 12]])
    before = model(src, tgt)[:, -1]
    row = src if which == "src" else tgt
    row[0, [0, 1]] = row[0, [1, 0]]
    assert not torch.allclose(model(src, tgt)[:, -1], before, atol=1e-4)


def test_an_all_padding_sentence_stays_finite():
    model = Transformer(config())
    src, tgt = sentences()
    src[1], tgt[1] = PAD, PAD
    logits = model(src, tgt)
    assert logits.isfinite().all()
    logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


@NORMS
def test_every_parameter_gets_a_gradient(norm_first):
    model = Transformer(config(norm_first=norm_first))
    model(*sentences()).square().sum().backward()
    for name, parameter in model.named_parameters():
        # The same number added to all scores changes no weight: the key's bias has no effect.
        assert parameter.grad.abs().max() > 1e-5 or name.endswith("w_k.bias"), name


def test_dropout_acts_in_training_only():
    model, (src, tgt) = Transformer(config(dropout=0.5)), sentences()
    assert not torch.allclose(model(src, tgt), model(src, tgt))
    model.eval()
    assert torch.equal(model(src, tgt), model(src, tgt))


def test_every_dropout_has_the_configs_rate():
    model = Transformer(config(dropout=0.25))
    rates = [m.p for m in model.modules() if isinstance(m, nn.Dropout)]
    attentions = [m.dropout for name, m in model.named_modules() if name.endswith("attention")]
    assert rates == [0.25] * (1 + 2 * 3 + 3 * 4)
    assert attentions == [0.25] * (2 * 1 + 3 * 2)


# --- Start, sizes, tying --------------------------------------------------------------


@NORMS
@pytest.mark.parametrize(("share_embeddings", "above"), [(False, 0.2), ("target", 1), (True, 1)])
def test_the_first_loss_is_that_of_guessing(share_embeddings, above, norm_first):
    vocabulary = 101
    model = Transformer(
        config(
            src_vocab_size=vocabulary,
            tgt_vocab_size=vocabulary,
            d_model=2 * 31,
            share_embeddings=share_embeddings,
            norm_first=norm_first,
        )
    )
    src, tgt, labels = torch.randint(1, vocabulary, (3, 37, 13)).unbind()
    loss = F.cross_entropy(model(src, tgt).flatten(0, 1), labels.flatten()).item()
    assert math.log(vocabulary) - 0.2 < loss < math.log(vocabulary) + above


@NORMS
@TYINGS
def test_number_of_parameters(share_embeddings, norm_first):
    attention, feed_forward, norm = 4 * (D * D + D), 2 * D * D_FF + D_FF + D, 2 * D
    encoder = 2 * (attention + feed_forward + 2 * norm)
    decoder = 3 * (2 * attention + feed_forward + 3 * norm)
    matrices = {False: V_SRC + V_TGT + V_TGT, "target": V_SRC + V_TGT, True: V_TGT}
    expected = encoder + decoder + 2 * norm * norm_first + D * matrices[share_embeddings]
    model = Transformer(config(share_embeddings=share_embeddings, norm_first=norm_first))
    assert sum(p.numel() for p in model.parameters()) == expected


def test_the_defaults_are_the_papers_base_model():
    base = TransformerConfig(37000, 37000, share_embeddings=True)
    with torch.device("meta"):  # sizes without memory
        model = Transformer(base)
    assert sum(p.numel() for p in model.parameters()) == 63_082_496
    assert (base.num_heads, base.dropout, base.norm_first, base.pad_id) == (8, 0.1, False, 0)
    assert model.positional_encoding.encoding.shape == (5000, 512)


def round_trip(model):
    fresh = Transformer(model.config)
    fresh.load_state_dict(model.state_dict())
    return fresh


@TYINGS
@pytest.mark.parametrize(
    "after",
    [lambda model: model, round_trip, copy.deepcopy, lambda model: model.to(torch.float64)],
    ids=["new", "loaded", "copied", "moved"],
)
def test_tied_weights_are_one_matrix_and_stay_so(share_embeddings, after):
    model = after(Transformer(config(share_embeddings=share_embeddings)))
    src, tgt = model.src_embedding.weight, model.tgt_embedding.weight
    assert (model.output.weight.data_ptr() == tgt.data_ptr()) is bool(share_embeddings)
    assert (src.data_ptr() == tgt.data_ptr()) is (share_embeddings is True)


@TYINGS
def test_a_tied_model_survives_saving_and_loading(share_embeddings):
    model, (src, tgt) = Transformer(config(share_embeddings=share_embeddings)), sentences()
    assert torch.equal(round_trip(model)(src, tgt), model(src, tgt))


def test_the_saved_state_holds_parameters_only():
    model = Transformer(config())
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_a_deep_copy_computes_the_same_and_shares_nothing():
    model, (src, tgt) = Transformer(config(share_embeddings=True)), sentences()
    twin, before = copy.deepcopy(model), model(src, tgt)
    assert torch.equal(twin(src, tgt), before)
    nn.init.zeros_(twin.tgt_embedding.weight)
    assert torch.equal(model(src, tgt), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_follows_the_parameters(dtype):
    model, (src, tgt) = Transformer(config()), sentences()
    expected = model(src, tgt)
    logits = model.to(dtype)(src, tgt)
    assert logits.dtype == dtype
    torch.testing.assert_close(logits.float(), expected, atol=0.05, rtol=0.05)


# --- The parts ------------------------------------------------------------------------


def test_forward_is_encode_then_decode_then_output():
    model, (src, tgt) = Transformer(config()), sentences()
    memory = model.encode(src)
    assert memory.shape == (B, S, D)
    hidden = model.decode(tgt, memory, memory_mask=(src != PAD)[:, None, None])
    assert hidden.shape == (B, T, D)
    logits = model(src, tgt)
    assert logits.shape == (B, T, V_TGT)
    torch.testing.assert_close(model.output(hidden), logits)


def test_masks_that_are_given_take_the_place_of_the_models_own():
    model, (src, tgt) = Transformer(config()), sentences(padded=False)
    first_only = torch.arange(S) < 1
    changed = src.clone()
    changed[:, 1:] = 1
    memory, same = (model.encode(x, first_only[None, None, None]) for x in (src, changed))
    torch.testing.assert_close(memory[:, 0], same[:, 0])

    alone = torch.eye(T, dtype=torch.bool)[None, None]
    changed = tgt.clone()
    changed[:, 0] = tgt[:, 0] % (V_TGT - 1) + 1
    hidden, same = (model.decode(x, memory, tgt_mask=alone) for x in (tgt, changed))
    torch.testing.assert_close(hidden[:, 1:], same[:, 1:])


def test_embeddings_and_positions_enter_the_stacks():
    model, (src, tgt) = Transformer(config()), sentences()
    entered = {}
    for name in ("encoder", "decoder"):
        getattr(model, name).register_forward_pre_hook(
            lambda module, inputs, name=name: entered.update({name: inputs[0]})
        )
    model(src, tgt)
    source = model.src_embedding.weight[src] * math.sqrt(D) + sinusoidal_encoding(S, D)
    target = model.tgt_embedding.weight[tgt] * math.sqrt(D) + sinusoidal_encoding(T, D)
    torch.testing.assert_close(entered["encoder"], source)
    torch.testing.assert_close(entered["decoder"], target)


@NORMS
@TYINGS
def test_decoding_step_by_step_gives_the_same_hidden_states(
    share_embeddings, norm_first, empty_caches
):
    model = Transformer(config(norm_first=norm_first, share_embeddings=share_embeddings)).eval()
    src, _ = sentences()
    _, tgt = sentences(padded=False)
    memory, memory_mask = model.encode(src), (src != PAD)[:, None, None]
    at_once = model.decode(tgt, memory, memory_mask=memory_mask)
    caches = empty_caches(3)
    for t in range(T):
        step = model.decode(
            tgt[:, t : t + 1], memory, memory_mask=memory_mask, caches=caches, start=t
        )
        assert compare(f"step {t}", step, at_once[:, t : t + 1]) < 1e-5


def test_a_beginning_may_be_read_at_once_and_continued_with_the_caches(empty_caches):
    model, (src, _), (_, tgt) = Transformer(config()), sentences(), sentences(padded=False)
    memory, caches, future = model.encode(src), empty_caches(3), causal_mask(T)
    at_once = model.decode(tgt, memory)
    first = model.decode(tgt[:, :4], memory, caches=caches)
    rest = model.decode(tgt[:, 4:], memory, tgt_mask=future[:, :, 4:], caches=caches, start=4)
    assert compare("in two pieces", torch.cat([first, rest], dim=1), at_once) < 1e-5


@pytest.mark.slow
def test_compiled_model_equals_the_eager_one():
    model, (src, tgt) = Transformer(config(num_encoder_layers=1, num_decoder_layers=1)), sentences()
    # Traced as one graph, forward and backward; this backend needs no C++ compiler.
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    logits, expected = compiled(src, tgt), model(src, tgt)
    torch.testing.assert_close(logits, expected)
    gradients, expected_gradients = (
        torch.autograd.grad(result.square().sum(), [*model.parameters()])
        for result in (logits, expected)
    )
    torch.testing.assert_close(gradients, expected_gradients)


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "d_model=14 must be even and divisible by num_heads=3"),
        ({"d_model": 15, "num_heads": 3}, "d_model=15 must be even"),
        ({"dropout": 1.0}, "below 1, got 1.0"),
        ({"dropout": -0.1}, "at least 0 and below 1, got -0.1"),
        ({"share_embeddings": "source"}, "False, True or 'target', got 'source'"),
        (
            {"share_embeddings": True, "src_vocab_size": 17},
            "src_vocab_size=17 and tgt_vocab_size=19",
        ),
        *(
            ({name: 0}, f"{name} must be at least 1, got 0")
            for name in (
                "src_vocab_size",
                "tgt_vocab_size",
                "d_model",
                "num_heads",
                "num_encoder_layers",
                "num_decoder_layers",
                "d_ff",
                "max_len",
            )
        ),
    ],
)
def test_impossible_sizes_are_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


def test_share_embeddings_must_be_one_of_its_three_values():
    with pytest.raises(ValueError, match="got 1"):
        config(share_embeddings=1)


def test_the_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError, match="dropout"):
        config().dropout = 0.5


@pytest.mark.parametrize(("src_len", "tgt_len"), [(24, T), (S, 24)])
def test_a_sequence_over_max_len_is_an_error(src_len, tgt_len):
    src, tgt = torch.ones(B, src_len).long(), torch.ones(B, tgt_len).long()
    with pytest.raises(ValueError, match="24 tokens is longer than max_len=23"):
        Transformer(config())(src, tgt)


@pytest.mark.parametrize(
    ("src_id", "tgt_id", "message"),
    [(V_SRC, 1, "between 0 and 16, got 17 to 17"), (1, -2, "between 0 and 18, got -2 to -2")],
)
def test_an_unknown_token_id_is_an_error(src_id, tgt_id, message):
    src, tgt = torch.full((B, S), src_id), torch.full((B, T), tgt_id)
    with pytest.raises(ValueError, match=message):
        Transformer(config())(src, tgt)


@pytest.mark.parametrize(
    ("src_len", "tgt_len", "message"), [(0, T, "empty sequence"), (S, 0, "at least 1, got 0")]
)
def test_an_empty_sequence_is_an_error(src_len, tgt_len, message):
    src, tgt = torch.ones(B, src_len).long(), torch.ones(B, tgt_len).long()
    with pytest.raises(ValueError, match=message):
        Transformer(config())(src, tgt)


def test_a_sentence_outside_a_batch_is_an_error():
    with pytest.raises(ValueError, match=r"\(B, S\), got shape \(5,\)"):
        Transformer(config())(torch.ones(S).long(), torch.ones(T).long())
