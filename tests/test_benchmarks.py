"""The benchmarks at tiny sizes: that they measure what they say, name who fails, and report."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from benchmarks import alone, growth, report, run, side_by_side, where_time_goes
from benchmarks.contestants import CONTESTANTS, Contestant, Ours, Size, TorchTransformer
from benchmarks.learning import by_precision, from_nothing
from benchmarks.measure import Comparison, in_turns, spread
from transformer_lib import TrainingConfig
from transformer_lib.data import PAD, load_en_de
from transformer_lib.presets import make_vocabularies

TINY = Size(d_model=16, layers=2, batch=3, length=5, heads=2, vocabulary=23)
pytestmark = pytest.mark.slow
LINUX = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux")


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch):
    monkeypatch.setattr("benchmarks.measure.ROUNDS", (2, 2))


@pytest.fixture
def batch():
    return side_by_side.random_batch(TINY)


@pytest.fixture
def both():
    return [kind(TINY).eval() for kind in (Ours, TorchTransformer)]


# What each contestant does.


def test_the_batch_has_no_padding_and_the_target_a_token_more(batch):
    assert batch.src.shape == (3, 5)
    assert batch.tgt.shape == (3, 6)
    assert (batch.src != PAD).all()
    assert (batch.tgt != PAD).all()


def test_each_gives_logits_and_as_many_tokens_as_asked_for(both, batch):
    for model in both:
        assert model(batch.src, batch.tgt[:, :-1]).shape == (3, 5, 23)
        with torch.inference_mode():
            assert model.greedy(batch.src, 7).shape == (3, 7)
            assert model.beam(batch.src, 7).shape == (3, 7)


@pytest.mark.parametrize("how", ["greedy", "beam"])
def test_decoding_without_cache_finds_what_ours_finds(how, batch, randomise, monkeypatch):
    model = randomise(Ours(TINY)).eval()
    project = model.project  # ours never generates padding
    pad = torch.tensor([PAD])
    monkeypatch.setattr(model, "project", lambda h: project(h).index_fill(-1, pad, -1e9))
    with torch.inference_mode():
        found = getattr(Contestant, how)(model, batch.src, 6)
        assert torch.equal(found, getattr(model, how)(batch.src, 6))
    assert len(found.unique()) > 2


def test_padding_changes_no_loss(both, batch):
    src = torch.nn.functional.pad(batch.src, (0, 2), value=PAD)
    tgt = torch.nn.functional.pad(batch.tgt, (0, 2), value=PAD)
    for model in both:
        torch.testing.assert_close(model.loss(src, tgt), model.loss(*batch))


def test_losses_have_label_smoothing(both, batch):
    for model in both:
        for parameter in model.parameters():
            torch.nn.init.zeros_(parameter)
        assert model.loss(*batch).item() == pytest.approx(torch.tensor(23.0).log().item())


@pytest.mark.parametrize("precision", side_by_side.PRECISIONS)
def test_a_training_step_lowers_the_loss(precision, batch):
    for kind in (Ours, TorchTransformer):
        step = side_by_side.TrainingStep(kind(replace(TINY, d_model=32)), precision)
        step.adam.param_groups[0]["lr"] = 0.01
        losses = [step(*batch) for _ in range(12)]
        assert losses[-1] < losses[0]
        assert torch.get_float32_matmul_precision() == "highest"


# Measuring.


def test_everybody_takes_a_turn_in_each_round():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    found = in_turns("calls", runs)
    assert calls == ["a", "b"] * 3  # the first, unmeasured, and two rounds
    assert [len(values) for values in found.values.values()] == [2, 2]
    assert found.failures == {}


def test_who_fails_is_named_and_the_rest_goes_on():
    def fails():
        raise OSError("no such thing")

    found = in_turns("work", {"a": sum, "b": fails, "c": lambda: None} | {"a": lambda: None})
    assert found.failures == {"b": "OSError: no such thing"}
    assert list(found.values) == ["a", "c"]


def test_without_the_measure_of_all_there_is_no_comparison():
    with pytest.raises(RuntimeError, match="work: a, the measure of all, fails"):
        in_turns("work", {"a": lambda: 1 / 0, "b": lambda: None})


def test_ratios_are_taken_round_by_round():
    found = Comparison("work", "ms", {"a": [10, 20, 40], "b": [5, 20, 10]})
    assert found.ratio("b") == (0.5, 0.375, 0.75)
    assert found.ratio("a", "b") == (2.0, 1.5, 3.0)


def test_the_spread_is_the_middle_half():
    assert spread([1, 2, 3, 4, 5]) == (3, 2, 4)
    assert spread([7]) == (7, 7, 7)


def test_a_peer_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "x_transformers", None)
    entrants = [("ours", "float32"), ("x-transformers", "float32")]
    monkeypatch.setattr(side_by_side, "ENTRANTS", entrants)
    found = side_by_side.training(TINY, "tiny")
    assert list(found.values) == ["ours, float32"]
    assert "x_transformers" in found.failures["x-transformers, float32"]


# The comparisons.


@pytest.fixture
def _without_peers(monkeypatch):
    entrants = [(name, p) for name in ("nn.Transformer", "ours") for p in side_by_side.PRECISIONS]
    monkeypatch.setattr(side_by_side, "ENTRANTS", entrants)


@pytest.mark.usefixtures("_without_peers")
def test_everybody_is_measured_in_all_comparisons_of_models():
    found = [side_by_side.training(TINY, "tiny"), side_by_side.forward(TINY, "tiny")]
    found += [side_by_side.decoding(TINY, "tiny", how) for how in ("greedy", "beam")]
    for comparison, entrants in zip(found, (6, 6, 6, 4), strict=True):
        assert not comparison.failures
        assert len(comparison.values) == entrants
        assert comparison.reference == "nn.Transformer, float32"
        assert all(value > 0 for values in comparison.values.values() for value in values)


def test_no_training_step_is_faster_than_its_matrix_products():
    size = replace(TINY, d_model=64, batch=8, length=16)
    for found in side_by_side.machine_limit(size, "tiny"):
        name = next(who for who in found.values if who.startswith("ours"))
        assert found.ratio(name)[0] > 1


def test_real_text_counts_real_tokens():
    pairs = load_en_de("valid")[:300]
    vocabularies = make_vocabularies(pairs, None)
    found = side_by_side.real_text("text", pairs, vocabularies, TINY, per_turn=500)
    assert len(found.values) == 5
    batches = side_by_side.random_batches(pairs, *vocabularies)
    assert sum(len(batch.src) for batch in batches) == 300
    step = side_by_side.TrainingStep(Ours(replace(TINY, vocabulary=2000)), "float32")
    expected = sum(int((tgt[:, 1:] != PAD).sum()) for _, tgt in batches)
    assert side_by_side.some_tokens(step, batches, expected)() == expected


@LINUX
def test_peak_memory_is_what_was_held_at_once():
    def hold():
        for _ in range(3):
            torch.ones(25_000_000)  # 100 MB, three times, one after the other

    assert 95 < alone.peak_mb(hold) < 120


@LINUX
def test_long_attention_needs_less_memory_when_fused():
    naive, fused = alone.attention("naive", 1024), alone.attention("torch's", 1024)
    assert naive["MB"] > 1024**2 * 8 * 4 / 1e6 > fused["MB"]
    assert naive["ms"] > 0


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError: 'nobody'"):
        alone.in_a_process("training", "nobody", "A", "float32")


RECIPE = TrainingConfig(epochs=1, warmup=10)


def test_learning_reports_time_share_and_loss():
    pairs = load_en_de("valid")[:40]
    seconds, exact, loss = from_nothing(pairs, pairs[:5], RECIPE)
    assert seconds > 0
    assert exact == 0
    assert 3 < loss < 10  # of some 300 words, hardly trained: about ln 300


def test_precisions_are_compared_with_the_same_seeds():
    pairs = load_en_de("valid")[:40]
    lines = by_precision(pairs, pairs[:5], RECIPE)[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [row[:2] for row in rows[::2]] == [["float32", str(seed)] for seed in range(3)]
    assert len({row[2] for row in rows[::2]}) == 3  # another seed, another loss
    for slow, fast in zip(rows[::2], rows[1::2], strict=True):
        assert float(slow[2]) == pytest.approx(float(fast[2]), rel=0.02)


# The report.


def test_the_table_has_a_line_for_each_and_names_failures():
    found = Comparison("work", "ms", {"a": [10, 10], "b": [5, 15]}, {"c": "OSError: a | b"})
    assert report.table([found]).splitlines()[2:] == [
        "| work | a | 1.00 | 1.00–1.00 | 10 ms |",
        "| work | b | 1.00 | 0.75–1.25 | 10 ms |",
        "| work | c | – | – | OSError: a / b |",
    ]


def test_promises_are_kept_broken_or_not_measured():
    found = Comparison("work", "MB", {"a": [10.0, 10.0], "b": [5.0, 5.0]})
    kept = [report.Promise("work", "MB", "b", "a", most) for most in (0.5, 0.4)]
    kept += [report.Promise("work", "MB", "b", None, 6), report.Promise("work", "ms", "b", "a", 1)]
    assert [line.split(" | ")[-1] for line in report.verdicts([found], kept).splitlines()[2:]] == [
        "yes |",
        "**no** |",
        "yes |",
        "not measured |",
    ]


def test_a_promise_is_found_among_comparisons_of_one_name():
    both = [Comparison("work", "ms", {f"a, {p}": [2.0], f"b, {p}": [1.0]}) for p in ("x", "y")]
    for precision in ("x", "y"):
        promise = report.Promise("work", "ms", f"b, {precision}", f"a, {precision}", 1)
        assert report.verdicts(both, [promise]).endswith("| 0.5 | yes |")


@pytest.mark.usefixtures("_without_peers")
def test_promises_speak_of_what_is_measured():
    spoken = {(p.what, p.who) for p in report.promises()}
    for label in "AB":
        found = side_by_side.training(TINY, label)
        names = {who for what, who in spoken if what == found.what}
        assert names
        assert names <= found.values.keys()


def test_the_picture_is_drawn(tmp_path):
    found = [Comparison("forward, A", "ms", {"a": [1.0], "b": [2.0]})] * 3
    report.picture(found, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_machine_and_peers_are_described():
    assert torch.__version__ in report.machine()
    for name in CONTESTANTS:
        assert f"**{name}**" in report.peers()


# How cost grows, and where the time goes.


def curve(cost, units, formula="n"):
    return growth.Curve("work", "size", [1, 2, 4], cost, "ms", formula, units)


def test_a_curve_finds_the_price_of_its_formula():
    found = curve([3, 12, 48], [1, 4, 16], "n²")
    assert found.price == pytest.approx(3)
    assert found.fit == pytest.approx(found.cost)
    assert found.off == pytest.approx(1)
    assert found.exponent == pytest.approx(2)


def test_a_curve_says_how_far_off_its_worst_point_is():
    found = curve([1.0, 1.0, 8.0], [1, 1, 1])
    assert found.price == pytest.approx(2)
    assert found.off == pytest.approx(4)


def test_a_formula_is_laid_only_where_it_is_meant_to_hold():
    found = curve([99.0, 4.0, 8.0], [None, 2, 4])
    assert found.price == pytest.approx(2)
    assert found.off == pytest.approx(1)
    assert found.fit == pytest.approx([math.nan, 4, 8], nan_ok=True)


def test_costs_are_measured_at_each_size():
    found = growth.training((8, 16, 32), TINY) + growth.decoding((2, 4, 8), TINY)
    assert [curve.name for curve in found][1:] == ["decoding, with cache", "decoding, no cache"]
    for curve in found:
        assert len(curve.x) == len(curve.cost) == len(curve.units) == 3
        assert min(curve.cost) > 0
    assert growth.table(found).count("\n") == 4
    assert growth.triangles([1, 2, 3]) == [1, 3, 6]


def test_our_memory_grows_with_n_only_where_it_works_in_slices(monkeypatch):
    def figures(_, who, n):
        return {"ms": n * n, "MB": n * n if who == "naive" or n < 512 else n}

    monkeypatch.setattr(growth, "in_a_process", figures)
    found = growth.attention((256, 512, 1024))
    assert [(curve.name, curve.unit) for curve in found] == [
        (f"attention, {who}", unit) for who in ("naive", "ours") for unit in ("ms", "MB")
    ]
    assert [curve.off for curve in found] == pytest.approx([1, 1, 1, 1])
    assert found[-1].units == [None, 512, 1024]


def test_a_second_thread_or_process_is_compared_with_one(monkeypatch):
    def steps(_, label, threads, processes):
        if processes == 2:
            raise RuntimeError("no network")
        return {"ms": 30 / threads**0.5}

    monkeypatch.setattr(growth, "in_a_process", steps)
    one, two, failed = growth.together("A")
    assert one["times_faster"] == one["share"] == 1
    assert two["times_faster"] == pytest.approx(2**0.5, abs=1e-3)
    assert two["share"] == pytest.approx(0.5**0.5, abs=1e-3)
    assert failed == {"size": "A", "how": "2 processes", "failed": "RuntimeError: no network"}
    assert growth.together_table([two, failed]).splitlines()[2:] == [
        "| A | 2 threads | 1.41 | 1.41–1.41 | 71% |",
        "| A | 2 processes | – | RuntimeError: no network | – |",
    ]


def test_what_was_measured_is_saved(tmp_path):
    some, rows = curve([1.0, 2.0, 4.0], [None, 2, 4]), [{"size": "A", "how": "2 threads"}]
    growth.save([some], rows, tmp_path / "growth.json")
    content = json.loads((tmp_path / "growth.json").read_text("utf-8"))
    assert growth.Curve(**content["curves"][0]) == some
    assert content["together"] == rows
    assert content["sizes"]["A"]["d_model"] == 256
    assert content["about"]["command"] == "python -m benchmarks.growth"
    assert "cores" in content["about"]["machine"]
    assert torch.__version__ in content["about"]["versions"]


def test_the_growth_is_drawn(tmp_path):
    found = [curve([1.0, 1.5, 8.0], [None, 2, 3]), curve([1.0, 2.0, 3.0], [1, 2, 3])]
    growth.picture([*found, replace(found[0], unit="MB")], tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000


def test_operations_are_sorted_into_kinds():
    found = {name: where_time_goes.kind(name) for name in ("aten::bmm", "aten::mul_", "aten::what")}
    assert list(found.values()) == [
        "matrix products",
        "adding, scaling, relu",
        where_time_goes.OTHER,
    ]


def test_shares_of_time_add_up():
    ones = torch.ones(997, 997)  # so large a product that a busy machine hardly shows beside it
    found = where_time_goes.shares(lambda: ones @ ones + 1)
    assert sum(found.values()) == pytest.approx(1)
    assert found["matrix products"] > 0.1


def test_shares_are_of_all_operations_largest_first(monkeypatch):
    events = [("aten::relu", 1), ("aten::mm", 4), ("aten::bmm", 3)]
    profiler = MagicMock()
    profiler.__enter__.return_value.key_averages.return_value = [
        SimpleNamespace(key=key, self_cpu_time_total=time) for key, time in events
    ]
    monkeypatch.setattr(where_time_goes, "profile", lambda activities: profiler)
    found = where_time_goes.shares(lambda: None)
    assert list(found.items()) == [("matrix products", 7 / 8), ("adding, scaling, relu", 1 / 8)]


def test_the_peers_that_cannot_be_installed_are_named(monkeypatch):
    def pip(command, **_):
        error = "ERROR: a\nERROR: no network" if "x-transformers" in str(command) else ""
        return SimpleNamespace(returncode=bool(error), stderr=error)

    monkeypatch.setattr(run.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(run.subprocess, "run", pip)
    assert run.install_peers() == {"x-transformers": "ERROR: no network"}
