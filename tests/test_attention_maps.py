"""The recorder changes nothing, and every figure about attention is what its formula says."""

import copy
import math

import pytest
import torch
from torch import nn

from transformer_lib import (
    MultiHeadAttention,
    Transformer,
    TransformerConfig,
    align_words,
    alignment_error_rate,
    attention_modules,
    attention_rollout,
    head_importance,
    mask_heads,
    record_attention,
    stack_cross_attention,
)
from transformer_lib.decoding import greedy_decode

B, H, D_K, S, T, V = 5, 3, 2, 7, 11, 13
SHAPES = {
    "encoder.layers.0.self_attention": (B, H, S, S),
    "encoder.layers.1.self_attention": (B, H, S, S),
    "decoder.layers.0.self_attention": (B, H, T, T),
    "decoder.layers.0.cross_attention": (B, H, T, S),
    "decoder.layers.1.self_attention": (B, H, T, T),
    "decoder.layers.1.cross_attention": (B, H, T, S),
}
LAST = "decoder.layers.1.cross_attention"


@pytest.fixture
def model():
    torch.manual_seed(0)
    sizes = {"d_model": H * D_K, "num_heads": H, "d_ff": 17, "dropout": 0.3, "max_len": 29}
    config = TransformerConfig(V, V, num_encoder_layers=2, num_decoder_layers=2, **sizes)
    return Transformer(config)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    src = torch.randint(4, V, (B, S), generator=generator)
    src[0, -2:] = 0
    return src, torch.randint(4, V, (B, T), generator=generator)


def run(model, batch):
    """Run with the same dropout each time."""
    torch.manual_seed(2)
    return model(*batch)


def hooks(model):
    kinds = "_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs"
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


# --- recording --------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_recording_changes_no_output_and_keeps_every_map(model, batch, training):
    model.train(training)
    without = run(model, batch)
    with record_attention(model) as maps:
        within = run(model, batch)
    assert torch.equal(within, without)
    assert within.requires_grad
    assert {name: tuple(weights.shape) for name, weights in maps.items()} == SHAPES
    assert list(maps) == list(SHAPES)
    assert model.training is training
    assert hooks(model) == 0
    for weights in maps.values():  # even in training: the weights are those before dropout
        assert not weights.requires_grad
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    assert not maps["encoder.layers.1.self_attention"][0, :, :, -2:].any()
    assert not maps["decoder.layers.1.self_attention"].triu(1).any()


def test_the_maps_are_those_that_the_attention_gives_when_asked():
    attention, x = MultiHeadAttention(H * D_K, H), torch.randn(B, S, H * D_K)
    output, expected = attention(x, x, x, need_weights=True)
    with record_attention(attention) as maps:
        found, nothing = attention(x, x, x)
        assert nothing is None
        assert torch.equal(found, output)
        assert torch.equal(attention(x, x, x, None, True)[1], expected)
        assert torch.equal(attention(x, x, x, need_weights=True)[1], expected)
        assert attention(x, x, x, None, False)[1] is None
    assert torch.equal(maps[""], expected)


def test_a_long_input_is_recorded_although_it_would_use_fused_attention():
    attention = MultiHeadAttention(H, H)
    x = torch.randn(1, attention.fused_length + 1, H)
    without = attention(x, x, x)[0]
    with record_attention(attention) as maps:
        within = attention(x, x, x)[0]
    torch.testing.assert_close(within, without)
    assert maps[""].shape == (1, H, x.size(1), x.size(1))


def test_the_gradients_are_the_same(model, batch):
    run(model, batch).sum().backward()
    without = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with record_attention(model):
        run(model, batch).sum().backward()
    for p, grad in zip(model.parameters(), without, strict=True):
        assert torch.equal(p.grad, grad)


def test_two_recordings_one_within_the_other(model, batch):
    with record_attention(model) as outer, record_attention(model.decoder) as inner:
        within = run(model, batch)
    assert torch.equal(within, run(model, batch))
    assert set(outer) == set(SHAPES)
    assert len(inner) == 4
    for name, weights in inner.items():
        assert torch.equal(weights, outer[f"decoder.{name}"])


def test_what_runs_several_times_leaves_its_last_weights(model, batch):
    model.eval()
    with record_attention(model) as maps:
        model(batch[0][:1, :5], batch[1][:1])
        model(*batch)
    with record_attention(model) as once:
        model(*batch)
    for name, weights in once.items():
        assert torch.equal(maps[name], weights)


def test_recording_while_decoding_with_the_cache(model, batch):
    tokens = greedy_decode(model, batch[0], max_len=5)
    with record_attention(model) as maps:
        assert torch.equal(greedy_decode(model, batch[0], max_len=5), tokens)
    assert maps[LAST].shape[1:] == (H, 1, S)  # of the last step


@pytest.mark.parametrize("where", ["within", "in the model"])
def test_after_an_exception_nothing_is_left(model, batch, where):
    expected = run(model, batch)
    if where == "within":
        with pytest.raises(KeyError), record_attention(model) as maps:
            maps["no such name"]
    else:
        with pytest.raises(ValueError, match="token ids"), record_attention(model):
            model(batch[0], batch[1] + V)
    assert hooks(model) == 0
    assert torch.equal(run(model, batch), expected)


def test_after_an_exception_within_a_layer_the_next_call_is_right(model, batch):
    with record_attention(model) as maps:
        with pytest.raises(ValueError, match="does not fit"):
            model.encode(batch[0], torch.ones(B, 1, 1, S + 1, dtype=torch.bool))
        run(model, batch)
    assert set(maps) == set(SHAPES)


def test_a_deep_copy_made_within_is_a_model_like_any_other(model, batch):
    expected = run(model, batch)
    with record_attention(model) as maps:
        run(model, batch)
        kept = {name: weights.clone() for name, weights in maps.items()}
        twin = copy.deepcopy(model)
        twin(batch[0], batch[1].flip(1))
        assert all(torch.equal(maps[name], kept[name]) for name in maps)
    assert torch.equal(run(twin, batch), expected)
    with record_attention(twin) as maps:
        run(twin, batch)
    assert all(torch.equal(maps[name], kept[name]) for name in SHAPES)


def test_a_deep_copy_of_a_silenced_model_speaks(model, batch):
    expected = run(model, batch)
    with mask_heads(model, {LAST: [0]}):
        twin = copy.deepcopy(model)
        silenced = run(model, batch)
    assert torch.equal(run(twin, batch), expected)
    assert not torch.equal(silenced, expected)


def test_a_compiled_model_is_refused(model):
    compiled = copy.deepcopy(model)
    compiled.compile(backend="eager")
    for refused in (torch.compile(model, backend="eager"), compiled):
        with pytest.raises(ValueError, match="compiled"), record_attention(refused):
            pass
        with pytest.raises(ValueError, match="compiled"), mask_heads(refused, {LAST: [0]}):
            pass
    assert hooks(model) == 0


def test_a_model_without_attention_is_refused():
    with pytest.raises(ValueError, match="no MultiHeadAttention in Linear"):
        attention_modules(nn.Linear(2, 3))


def test_a_recording_of_nothing_is_an_error(model):
    with pytest.raises(RuntimeError, match="no attention ran"), record_attention(model):
        pass
    assert hooks(model) == 0


def test_cross_attention_is_stacked_layer_by_layer(model, batch):
    with record_attention(model) as maps:
        run(model, batch)
    stacked = stack_cross_attention(maps)
    assert stacked.shape == (B, 2, H, T, S)
    assert torch.equal(stacked[:, 1], maps[LAST])
    one = {name: weights[0] for name, weights in maps.items()}
    assert torch.equal(stack_cross_attention(one), stacked[0])
    with pytest.raises(ValueError, match="no cross-attention among"):
        stack_cross_attention({"layers.0.self_attention": stacked})


# --- alignments -------------------------------------------------------------------------


def test_words_are_linked_to_where_their_row_looks_most():
    weights = torch.tensor(
        [  # source: der, Hund, </s>; the rows write the, dog, sleeps, </s>
            [0.5, 0.3, 0.2],
            [0.2, 0.3, 0.5],  # most at </s>, which is no word
            [0.9, 0.1, 0.0],
            [0.1, 0.9, 0.0],
        ]
    )
    assert align_words(weights) == {(0, 0), (1, 1), (0, 2)}
    assert align_words(weights, at_input=True) == {(1, 0), (0, 1), (1, 2)}


def test_a_decoder_that_looks_one_step_late_is_aligned_at_its_input():
    late = torch.eye(S).roll(1, dims=0)  # row t looks at word t - 1
    diagonal = {(i, i) for i in range(S - 1)}
    assert align_words(late, at_input=True) == diagonal
    assert align_words(torch.eye(S)) == diagonal


@pytest.mark.parametrize("shape", [(S,), (1, S), (S, 1), (B, T, S)])
def test_what_has_no_word_cannot_be_aligned(shape):
    with pytest.raises(ValueError, match=r"weights must be \(T, S\)"):
        align_words(torch.ones(shape))


def test_alignment_error_rate_of_an_example_on_paper():
    predicted, sure, possible = {(0, 0), (1, 1), (2, 2), (3, 0)}, {(0, 0), (1, 2)}, {(1, 1)}
    # Sure and found: (0, 0). Possible and found: (0, 0), (1, 1). 1 - (1 + 2) / (4 + 2).
    assert alignment_error_rate([predicted], [sure], [possible]) == pytest.approx(1 / 2)
    # Of a second sentence, all 3 sure links found and nothing else: 1 - (3 + 6) / (6 + 6).
    three = {(0, 0), (1, 1), (2, 2)}
    rate = alignment_error_rate([predicted, three], [sure, three], [possible, three])
    assert rate == pytest.approx(1 - 9 / 12)


def test_alignment_error_rate_of_best_and_worst():
    sure, possible = [{(0, 0)}], [{(0, 0), (1, 1)}]
    assert alignment_error_rate(sure, sure, possible) == 0
    assert alignment_error_rate(possible, sure, possible) == 0
    assert alignment_error_rate([{(2, 1)}], sure, possible) == 1
    assert alignment_error_rate([set()], sure, possible) == 1
    assert alignment_error_rate([[(0, 0), (0, 0)]], [[(0, 0)]], [[]]) == 0


def test_alignment_error_rate_needs_sentences_and_links():
    with pytest.raises(ValueError, match="got 1 predicted, 2 sure, 1 possible"):
        alignment_error_rate([set()], [set(), set()], [set()])
    with pytest.raises(ValueError, match="no link"):
        alignment_error_rate([set()], [set()], [{(0, 0)}])


# --- rollout ----------------------------------------------------------------------------


def test_rollout_of_an_example_on_paper():
    first = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])  # both look at the first token
    second = torch.tensor([[[0.0, 1.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])  # two heads
    # Ã_1 = [[1, 0], [½, ½]], Ã_2 = [[½, ½], [¼, ¾]].
    expected = torch.tensor([[0.75, 0.25], [0.625, 0.375]])
    torch.testing.assert_close(attention_rollout([first, second]), expected)


def test_rollout_is_a_mixture_and_knows_no_future(model, batch):
    with record_attention(model) as maps:
        run(model, batch)
    layers = [weights for name, weights in maps.items() if "decoder" in name and "self" in name]
    rolled = attention_rollout(layers)
    assert rolled.shape == (B, T, T)
    torch.testing.assert_close(rolled.sum(-1), torch.ones(B, T))
    assert not rolled.triu(1).any()
    torch.testing.assert_close(attention_rollout([w[1] for w in layers]), rolled[1])


def test_rollout_refuses_what_is_no_self_attention():
    with pytest.raises(ValueError, match="at least one layer"):
        attention_rollout([])
    for shape in [(H, T, S), (S, S)]:
        with pytest.raises(ValueError, match="self-attention is"):
            attention_rollout([torch.ones(shape)])


# --- silent heads -----------------------------------------------------------------------


def test_a_silent_head_adds_nothing_and_the_others_go_on():
    attention, x = MultiHeadAttention(H * D_K, H), torch.randn(B, S, H * D_K)
    with torch.no_grad():
        with mask_heads(attention, {"": [1]}):
            found = attention(x, x, x)[0]
        attention.w_o.weight[:, D_K : 2 * D_K] = 0  # the columns that read head 1
        expected = attention(x, x, x)[0]
    torch.testing.assert_close(found, expected)


def test_with_every_head_silent_only_the_bias_is_left():
    attention, x = MultiHeadAttention(H * D_K, H), torch.randn(B, S, H * D_K)
    nn.init.normal_(attention.w_o.bias)
    with mask_heads(attention, {"": range(H)}):
        found = attention(x, x, x)[0]
    torch.testing.assert_close(found, attention.w_o.bias.expand(B, S, -1))


def test_masking_leaves_nothing_behind(model, batch):
    expected = run(model, batch)
    with mask_heads(model, {LAST: [0, 2], "encoder.layers.0.self_attention": [1]}):
        assert not torch.equal(run(model, batch), expected)
        with mask_heads(model, {LAST: []}):
            run(model, batch)
    with pytest.raises(KeyError), mask_heads(model, {LAST: [1]}):
        raise KeyError
    assert torch.equal(run(model, batch), expected)
    assert hooks(model) == 0


@pytest.mark.parametrize("length", [S, 521])  # the second is long enough for the fused path
def test_no_gradient_flows_through_a_silent_head(length):
    attention, x = MultiHeadAttention(H * D_K, H), torch.randn(B, length, H * D_K)
    with mask_heads(attention, {"": [0]}):
        attention(x, x, x)[0].sum().backward()
    assert not attention.w_v.weight.grad[:D_K].any()
    assert attention.w_v.weight.grad[D_K:].any()


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"decoder.layers.7.cross_attention": [0]}, "no attention named 'decoder.layers.7"),
        ({LAST: [0, H]}, r"has heads 0 to 2, not \[3\]"),
        ({LAST: [-1]}, r"has heads 0 to 2, not \[-1\]"),
    ],
)
def test_heads_that_do_not_exist_are_refused(model, heads, message):
    with pytest.raises(ValueError, match=message), mask_heads(model, heads):
        pass
    assert hooks(model) == 0


def test_masking_what_does_not_run_is_an_error(model, batch):
    heads = {LAST: [0], "encoder.layers.0.self_attention": [0]}
    with pytest.raises(RuntimeError, match=f"^{LAST} did not run"), mask_heads(model, heads):
        model.encode(batch[0])


def test_importance_is_what_is_lost_without_a_head(model, batch):
    model.eval()

    def measure():
        return model(*batch).logsumexp(-1).mean().item()

    importance = head_importance(model, measure)
    assert {name: len(heads) for name, heads in importance.items()} == dict.fromkeys(SHAPES, H)
    with mask_heads(model, {LAST: [2]}):
        without = measure()
    assert importance[LAST][2] == measure() - without != 0
    assert not any(math.isnan(figure) for heads in importance.values() for figure in heads)
