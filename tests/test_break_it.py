"""Each change breaks what it says and nothing else, and is gone afterwards."""

import json

import pytest
import torch

from transformer_lib import (
    MultiHeadAttention,
    Transformer,
    TransformerConfig,
    break_it,
    causal_mask,
    scaled_dot_product_attention,
    training,
    transformer,
)
from transformer_lib.break_it import CHANGES, Change, exchanged, experiment, teacher_forced_accuracy
from transformer_lib.data import data_folder, load_en_de

B, H, T, S, D_K, V = 2, 3, 5, 7, 11, 13
SIZES = {"d_model": 6, "num_heads": 3, "num_encoder_layers": 1, "num_decoder_layers": 1}
SIZES |= {"d_ff": 7, "dropout": 0.0, "max_len": 64, "share_embeddings": "target"}


@pytest.fixture
def small(monkeypatch):
    """Make the experiment a matter of a second."""
    pairs = load_en_de("valid")[:40]
    monkeypatch.setattr(break_it, "load_en_de", lambda split: pairs)
    monkeypatch.setattr(break_it, "MODEL", SIZES)
    monkeypatch.setattr(break_it, "VALID_PAIRS", 5)
    monkeypatch.setattr(break_it, "TRAINING", break_it.TRAINING | {"epochs": 2, "cooldown": 1})
    monkeypatch.setattr(break_it, "CHANGES", CHANGES | {"fewer": Change(pairs=20)})


def inputs():
    query, key, value = (torch.randn(B, H, n, D_K) for n in (T, S, S))
    return query, key, value, torch.rand(1, 1, T, S) < 0.7


def test_without_scale():
    query, key, value, mask = inputs()
    output, weights = break_it.attention_without_scale(query, key, value, mask)
    expected = scaled_dot_product_attention(query * D_K**0.5, key, value, mask)
    torch.testing.assert_close((output, weights), expected)


def test_over_queries_the_columns_sum_to_1():
    query, key, value, mask = inputs()
    _, weights = break_it.attention_over_queries(query, key, value, mask)
    torch.testing.assert_close(weights.sum(dim=-2), torch.ones(B, H, S))
    assert not weights.masked_select(~mask).any()


def test_a_mask_after_the_softmax_takes_weight_away():
    query, key, value, mask = inputs()
    _, weights = break_it.mask_after_softmax(query, key, value, mask)
    _, whole = scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(weights, whole * mask)


def test_dropout_goes_on():
    query, key, value, mask = inputs()
    for function in (break_it.attention_over_queries, break_it.mask_after_softmax):
        assert not torch.equal(
            function(query, key, value, mask, 0.5)[0], function(query, key, value, mask)[0]
        )


def test_no_mask_hides_nothing():
    assert break_it.no_mask(T).shape == causal_mask(T).shape
    assert break_it.no_mask(T).all()


def test_heads_without_transpose_are_right_for_one_token_only():
    attention = MultiHeadAttention(H * D_K, H)
    one, many = torch.randn(B, 1, H * D_K), torch.randn(B, T, H * D_K)
    split = break_it.split_without_transpose
    assert torch.equal(split(attention, one), attention.split_heads(one))
    assert split(attention, many).shape == attention.split_heads(many).shape
    assert not torch.equal(split(attention, many), attention.split_heads(many))
    assert torch.equal(break_it.merge_without_transpose(attention, split(attention, many)), many)


def test_the_full_rate_at_once_is_never_below_that_of_warming_up():
    settings = (64, 100, 2.0)
    for step in (1, 50, 100, 101, 1000):
        rate = break_it.full_rate_at_once(step, *settings)
        assert rate >= training.warmup_schedule(step, *settings)
    assert break_it.full_rate_at_once(1, *settings) == break_it.full_rate_at_once(100, *settings)


def test_what_is_swapped_comes_back_even_after_an_error():
    before = transformer.causal_mask
    with exchanged(transformer, "causal_mask", break_it.no_mask):
        assert transformer.causal_mask is break_it.no_mask
    assert transformer.causal_mask is before
    with pytest.raises(TypeError), exchanged(transformer, "causal_mask", break_it.no_mask):
        transformer.causal_mask()
    assert transformer.causal_mask is before


def test_accuracy_counts_the_tokens_that_are_right():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(V, V, **SIZES)).eval()
    src, tgt = torch.randint(4, V, (B, S)), torch.randint(4, V, (B, T))
    tgt[0, -2:] = 0
    best = model(src, tgt[:, :-1]).argmax(dim=-1)
    real = tgt[:, 1:] != 0
    expected = (best == tgt[:, 1:])[real].float().mean().item()
    assert teacher_forced_accuracy(model, [(src, tgt)]) == pytest.approx(expected)
    taught = torch.cat([tgt[:, :1], best], dim=1)
    assert teacher_forced_accuracy(model, [(src, taught)]) < 1


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_runs_and_leaves_nothing_behind(small, name):
    result = experiment(name, seed=1)
    assert result["change"] == name
    assert len(result["steps"]) == len(result["loss"]) > 0
    assert 0 <= result["exact"] <= 1
    assert 0 <= result["accuracy"] <= 1
    for owner, attribute, function in CHANGES[name].swaps:
        assert getattr(owner, attribute) is not function


def test_a_change_changes_the_training(small):
    losses = {name: experiment(name, seed=1)["loss"] for name in CHANGES if "pairs" not in name}
    for name, loss in losses.items():
        assert name == "nothing changed" or loss != losses["nothing changed"], name
    assert experiment("nothing changed", seed=1)["loss"] == losses["nothing changed"]
    assert experiment("nothing changed", seed=2)["loss"] != losses["nothing changed"]


def test_fewer_pairs_make_as_many_steps(small):
    whole, half = experiment("nothing changed", 0), experiment("fewer", 0)
    assert 0 <= half["steps"][-1] - whole["steps"][-1] <= 50


def test_results_are_written_as_they_come_and_go_on(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(break_it, "CHANGES", {"nothing changed": Change()})
    path = tmp_path / "results.json"
    break_it.run_all(path)
    content = json.loads(path.read_text("utf-8"))
    assert [result["seed"] for result in content["runs"]] == [0, 1, 2]
    content["runs"].pop()
    path.write_text(json.dumps(content), "utf-8")
    capsys.readouterr()
    break_it.run_all(path)
    assert capsys.readouterr().out.startswith("nothing changed, seed 2")
    monkeypatch.setattr(break_it, "TOKENS", 99)
    with pytest.raises(SystemExit, match="results of other settings"):
        break_it.run_all(path)


def test_the_stored_results_are_complete_and_of_these_settings():
    content = json.loads((data_folder() / "break_it.json").read_text("utf-8"))
    done = sorted((result["change"], result["seed"]) for result in content["runs"])
    assert done == sorted((name, seed) for name in CHANGES for seed in break_it.SEEDS)
    settings = {"model": break_it.MODEL, "training": break_it.TRAINING}
    settings |= {"tokens": break_it.TOKENS, "valid_pairs": break_it.VALID_PAIRS}
    assert content["about"].items() >= settings.items()
