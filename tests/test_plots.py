import doctest
import warnings
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.path import Path
from matplotlib.transforms import Affine2D

from transformer_lib import plots

matplotlib.use("agg")

WORDS = ["cat", "drinks", "milk"]
MATRIX = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.6, 0.4, 0.0]])


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def cells(ax):
    """Return the numbers that a heat map's colours stand for."""
    mesh = ax.collections[0]
    return np.asarray(mesh.get_array()).reshape(mesh.get_coordinates().shape[0] - 1, -1)


def texts(ax):
    return [text.get_text() for text in ax.texts]


def labels(axis):
    """Return the words at those of an axis' ticks that are in view."""
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label for place, label in ticks if low <= place <= high]


def clipped(figure):
    """List the words that reach out of the picture."""
    figure.canvas.draw()
    words = list(figure.texts)
    for ax in figure.axes:
        words += [*ax.texts, ax.title]
        if ax.axison:
            words += [ax.xaxis.label, *labels(ax.xaxis), ax.yaxis.label, *labels(ax.yaxis)]
    boxes = [(word.get_text(), word.get_window_extent()) for word in words if word.get_text()]
    page = figure.bbox.padded(1)
    return [t for t, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))]


def outline(word):
    """Return the rectangle around a word, turned as the word is."""
    box, angle = word.get_window_extent(), word.get_rotation()
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    word.set_rotation(0)
    flat = word.get_window_extent()
    word.set_rotation(angle)
    turned = Affine2D().scale(flat.width, flat.height).rotate_deg(angle).translate(x, y)
    return turned.transform_path(Path([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]))


def touching(words):
    """List the neighbours among words that lie over each other."""
    return [
        (first.get_text(), second.get_text())
        for first, second in pairwise(word for word in words if word.get_text())
        if outline(first).intersects_path(outline(second))
    ]


def test_a_heat_map_shows_the_numbers_under_their_words():
    ax = plots.heatmap(MATRIX, WORDS, ["die", "Katze", "trinkt"])
    np.testing.assert_array_equal(cells(ax), MATRIX)
    assert [label.get_text() for label in ax.get_yticklabels()] == WORDS
    assert [label.get_text() for label in ax.get_xticklabels()] == ["die", "Katze", "trinkt"]
    assert texts(ax)[:3] == ["0.20", "0.50", "0.30"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_heat_map_takes_tensors_with_gradients(dtype):
    tensor = torch.tensor(MATRIX, dtype=dtype, requires_grad=True)
    np.testing.assert_allclose(cells(plots.heatmap(tensor)), MATRIX, atol=0.01)


def test_attention_weights_always_have_the_scale_0_to_1():
    mesh = plots.heatmap(MATRIX / 10).collections[0]
    assert mesh.get_clim() == (0, 1)


def test_signed_numbers_have_zero_in_the_middle():
    mesh = plots.heatmap(MATRIX - 0.9, kind="signed").collections[0]
    assert mesh.get_clim() == (-0.9, 0.9)


def test_a_small_negative_number_is_not_printed_as_minus_zero():
    assert texts(plots.heatmap([[-0.001, -0.5]], kind="signed")) == ["0.00", "-0.50"]


def test_a_mask_is_drawn_with_ticks():
    assert texts(plots.heatmap(torch.tensor([[True, False]]))) == ["✓", "·"]


def test_infinite_scores_do_not_set_the_scale():
    mesh = plots.heatmap([[1.0, -np.inf], [2.0, 3.0]], kind="signed").collections[0]
    assert mesh.get_clim() == (-3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3),), r"needs a matrix, got shape \(3,\)"),
        ((MATRIX, ["one", "two"]), "2 words for 3 rows"),
        ((MATRIX, WORDS, ["one"]), "1 words for 3 columns"),
        ((np.zeros((0, 3)),), r"needs a matrix, got shape \(0, 3\)"),
    ],
)
def test_a_heat_map_names_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.heatmap(*arguments)


def test_a_heat_map_names_an_unknown_kind():
    with pytest.raises(ValueError, match=r"no kind 'heat'; there are .*'signed'"):
        plots.heatmap(MATRIX, kind="heat")


def test_a_heat_map_is_drawn_once_it_is_shown_and_not_before(monkeypatch):
    drawn = []
    monkeypatch.setattr(matplotlib.axes.Axes, "draw", lambda *_: drawn.append("axes"))
    ax = plots.heatmap(MATRIX)
    assert not drawn
    ax.figure.canvas.draw()
    assert drawn == ["axes", "axes"]  # the map and its colour bar


def test_cells_hold_the_texts_that_they_are_given():
    ax = plots.heatmap(MATRIX, cells=[["a", "$b$", "a_c"]] * 3)
    assert texts(ax) == ["a", "$b$", "a_c"] * 3
    with pytest.raises(ValueError, match=r"cells of shape \(1, 3\) for values \(3, 3\)"):
        plots.heatmap(MATRIX, cells=[["a", "b", "c"]])


def test_the_text_of_a_cell_stays_in_its_cell():
    ax = plots.heatmap(MATRIX, cells=[["Donaudampfschiff"] * 3] * 3, ax=plots.panels(3)[0])
    ax.figure.canvas.draw()
    assert touching(ax.texts[:3]) == []


def test_large_maps_print_numbers_only_when_asked():
    assert len(texts(plots.heatmap(np.eye(14)))) == 14 * 14
    assert texts(plots.heatmap(np.eye(17))) == []
    assert texts(plots.heatmap(np.eye(17) > 0)) == []
    assert len(texts(plots.heatmap(np.eye(17), digits=0))) == 17 * 17


def test_maps_side_by_side_share_one_scale():
    figure = plots.heatmaps([MATRIX, 3 * MATRIX], ["one", "three"], kind="amount")
    scales = {ax.collections[0].get_clim() for ax in figure.axes[:2]}
    assert scales == {(0, 3)}
    np.testing.assert_array_equal(cells(figure.axes[1]), 3 * MATRIX)


def test_every_map_has_its_title():
    with pytest.raises(ValueError, match="1 titles for 2 maps"):
        plots.heatmaps([MATRIX, MATRIX], ["one"])
    figure = plots.heatmaps(torch.zeros(2, 3, 5))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["head 1", "head 2"]


def test_the_overview_shows_each_head_in_its_place_on_one_scale():
    maps = np.random.default_rng(0).random((2, 3, 5, 7))
    ax = plots.overview([torch.tensor(layer, requires_grad=True) for layer in maps]).axes[0]
    for i, image in enumerate(ax.images):
        layer, head = divmod(i, 3)
        np.testing.assert_array_equal(image.get_array(), maps[layer, head])
        left, right, bottom, top = image.get_extent()
        assert head < left < right < head + 1
        assert layer < top < bottom < layer + 1
        assert image.get_clim() == (0, 1)
    assert [label.get_text() for label in ax.get_xticklabels()] == ["head 1", "head 2", "head 3"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["layer 1", "layer 2"]


def test_the_overview_needs_layers_and_heads():
    with pytest.raises(ValueError, match=r"maps \(layers, H, T, S\), got shape \(3, 3\)"):
        plots.overview(MATRIX)


def test_lines_join_each_query_with_each_key_as_thick_as_its_weight():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    ax = plots.lines(torch.tensor(weights, requires_grad=True), [*"abcde"], [*"xyz"])
    for t, bundle in enumerate(ax.collections):
        np.testing.assert_allclose(bundle.get_linewidths(), 5 * weights[t])
        ends = [[(0, t), (1, s)] for s in range(3)]
        np.testing.assert_array_equal(bundle.get_segments(), ends)
    assert texts(ax) == [*"abcdexyz", "query", "key"]


def test_a_lit_row_is_on_top_and_tells_its_weights():
    ax = plots.lines(MATRIX, WORDS, ["die", "Katze", "trinkt"], row=0)
    np.testing.assert_array_equal(ax.collections[-1].get_linewidths(), 5 * MATRIX[0])
    assert texts(ax)[3:6] == ["die  0.20", "Katze  0.50", "trinkt  0.30"]
    bold = [word.get_text() for word in ax.texts[:3] if word.get_weight() == "bold"]
    assert bold == ["cat"]


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (MATRIX - 0.5, {}, "from 0 to 1, got -0.5 to 0.5"),
        (2 * MATRIX, {}, "from 0 to 1, got 0 to 2"),
        (MATRIX[:2], {}, "3 words for 2 rows"),
        (MATRIX, {"row": 3}, "no row 3; there are 3, counted from 0"),
        (MATRIX, {"row": -1}, "no row -1"),
    ],
)
def test_lines_name_what_does_not_fit(weights, options, message):
    with pytest.raises(ValueError, match=message):
        plots.lines(weights, WORDS, WORDS, **options)


def test_curves_show_their_values_and_the_formula_as_a_band():
    ax = plots.curves(
        [1, 2, 4], {"measured": [3, 5, 7], "formula": [2, 4, 8]}, xlabel="n", ylabel="s"
    )
    measured, formula = ax.lines
    np.testing.assert_array_equal(measured.get_xydata(), [[1, 3], [2, 5], [4, 7]])
    np.testing.assert_array_equal(formula.get_ydata(), [2, 4, 8])
    assert formula.get_linewidth() > 2 * measured.get_linewidth()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["measured", "formula"]


def test_bands_are_pale_and_need_no_special_name():
    ax = plots.curves([1, 2], {"loss": [3, 2]}, bands={"floor": [1, 1]}, xlabel="n", ylabel="s")
    loss, floor = ax.lines
    assert floor.get_color() == plots.BAND["color"] != loss.get_color()
    np.testing.assert_array_equal(floor.get_ydata(), [1, 1])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["loss", "floor"]


def test_curves_name_what_does_not_fit():
    names = {"xlabel": "n", "ylabel": "s"}
    with pytest.raises(ValueError, match=r"'loss' has shape \(3,\), x has \(2,\)"):
        plots.curves([1, 2], {"loss": [1, 2, 3]}, **names)
    with pytest.raises(ValueError, match="8 lines; more than 7"):
        plots.curves([1, 2], {name: [1, 2] for name in "abcdefgh"}, **names)


def test_bars_and_points_show_their_values():
    bars = plots.bars(WORDS, [2.0, 3.0, 5.0], xlabel="how often")
    assert [bar.get_width() for bar in bars.patches] == [2, 3, 5]
    points = plots.points([[1, 2], [3, 5]], ["a", "b"], xlabel="x", ylabel="y")
    np.testing.assert_array_equal(points.collections[0].get_offsets(), [[1, 2], [3, 5]])
    assert texts(points) == ["a", "b"]


def test_two_bars_may_have_the_same_name():
    bars = plots.bars(["cat", "cat"], [2.0, 3.0], xlabel="how often")
    assert [label.get_text() for label in bars.get_yticklabels()] == ["cat", "cat"]


def test_bars_and_points_name_what_does_not_fit():
    with pytest.raises(ValueError, match=r"2 labels for values of shape \(3,\)"):
        plots.bars(["a", "b"], [1, 2, 3], xlabel="n")
    with pytest.raises(ValueError, match=r"2 labels for points of shape \(2, 3\)"):
        plots.points(np.zeros((2, 3)), ["a", "b"], xlabel="x", ylabel="y")


def boxes(ax):
    return [(round(patch.get_width(), 3), round(patch.get_height(), 3)) for patch in ax.patches]


def test_boxes_of_equal_sizes_have_equal_sides():
    ax = plots.shapes([("a", (5, 7)), ("b", torch.zeros(7, 5)), ("c", (2, 5, 7)), ("d", (7,))])
    a, b, c, behind_c, d = boxes(ax)
    assert a == c == behind_c == b[::-1]
    assert d[0] == a[0] > a[1] > d[1]
    assert texts(ax) == ["a", "(5, 7)", "b", "(7, 5)", "c", "(2, 5, 7)", "d", "(7,)"]


def test_a_shape_trace_needs_steps():
    with pytest.raises(ValueError, match="no steps"):
        plots.shapes([])


def lit_boxes(ax):
    return sum(
        patch.get_facecolor() == matplotlib.colors.to_rgba("#E69F00") for patch in ax.patches
    )


def test_the_drawing_lights_what_it_is_told():
    assert lit_boxes(plots.architecture()) == 0
    assert lit_boxes(plots.architecture("feed_forward")) == 2
    assert lit_boxes(plots.architecture("masks")) == 1


def test_the_drawing_names_an_unknown_part():
    with pytest.raises(ValueError, match=r"no part named \['tail'\]"):
        plots.architecture("attention", "tail")


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.heatmap(MATRIX, WORDS, WORDS, title="weights").figure,
        lambda: (
            plots.heatmap(MATRIX, ["Donaudampfschifffahrt", *"ab"], ["a", "b", "abcdefgh"]).figure
        ),
        lambda: plots.heatmaps([MATRIX] * 3, ["one", "two", "three"], WORDS, WORDS),
        lambda: plots.curves([1, 9], {"a": [1, 1e6], "b": [2, 3]}, xlabel="x", ylabel="y").figure,
        lambda: plots.heatmaps([MATRIX] * 2, rows=["Donaudampfschifffahrt"] * 3),
        lambda: plots.overview(np.zeros((13, 11, 2, 3)), title="all"),
        lambda: plots.lines(MATRIX, ["Donaudampfschiff", *"ab"], WORDS, row=0, title="t").figure,
        lambda: plots.shapes([("decoder.layers.0.cross_attention", (2, 8, 512, 512))] * 23).figure,
        lambda: plots.bars(["a very long name indeed", "b"], [1e6, 2], xlabel="x").figure,
        lambda: plots.architecture("attention").figure,
    ],
)
def test_no_word_is_cut_off(draw):
    assert clipped(draw()) == []


def test_the_style_of_the_reader_is_left_alone():
    before = dict(matplotlib.rcParams)
    plots.heatmap(MATRIX)
    plots.architecture("attention")
    assert dict(matplotlib.rcParams) == before


SENTENCE = ["the", "old", "woman", "gives", "the", "child", "a", "red", "apple", "because", "</s>"]


@pytest.mark.parametrize("length", [5, 17, 31, 61])
@pytest.mark.parametrize("long_word", ["it", "Donaudampfschifffahrtsgesellschaft"])
def test_long_sentences_stay_readable(length, long_word):
    words = [SENTENCE[i % 11] if i % 7 else long_word for i in range(length)]
    weights = np.full((length, length), 1 / length)
    figures = [plots.heatmap(weights, words, words, title="head 1").figure]
    figures.append(plots.heatmaps([weights] * 2, None, words, words))
    for figure in figures:
        assert clipped(figure) == []
        assert max(figure.get_size_inches()) <= 12
        for ax in figure.axes:
            assert touching(labels(ax.xaxis)) == []
            assert touching(labels(ax.yaxis)) == []
    ax = plots.lines(weights, words, words, row=3)
    assert clipped(ax.figure) == []
    assert touching(ax.texts[:length]) == touching(ax.texts[length : 2 * length]) == []


def test_a_map_of_sixty_words_shows_every_word():
    words = (SENTENCE * 6)[:61]
    ax = plots.heatmap(np.eye(61), words, words)
    assert [word.get_text() for word in ax.get_xticklabels()] == words
    assert [word.get_text() for word in ax.get_yticklabels()] == words


HOSTILE = ["$x$", r"$\frac$", "a_b", "😀", "日本", "שלום", "", "cat", "cat", "</script>", "a\nb"]


@pytest.mark.parametrize(
    "draw",
    [
        lambda w: plots.heatmap(np.eye(11), w, w, cells=[w] * 11).figure,
        lambda w: plots.heatmaps([np.eye(11)] * 2, None, w, w),
        lambda w: plots.lines(np.eye(11), w, w, row=1).figure,
        lambda w: plots.bars(w, np.ones(11), xlabel="x").figure,
        lambda w: plots.points(np.ones((11, 2)), w, xlabel="x", ylabel="y").figure,
        lambda w: plots.shapes([(word, (2, 3)) for word in w]).figure,
    ],
)
def test_words_are_drawn_as_they_are(draw):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw(HOSTILE)
        figure.canvas.draw()
    ax = figure.axes[0]
    found = [word.get_text() for word in [*ax.get_yticklabels(), *ax.texts]]
    assert {"$x$", r"$\frac$", "a_b", "😀", "□□", "שלום"} <= set(found)


FUNCTIONS = [name for name in plots.__all__ if callable(getattr(plots, name))]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_of_each_function_runs(name):
    assert f"`{name}`" in plots.__doc__
    [example] = doctest.DocTestFinder(recurse=False).find(
        getattr(plots, name), name, globs=dict(vars(plots))
    )
    assert example.examples
    assert doctest.DocTestRunner().run(example).failed == 0


def test_a_dark_style_of_the_reader_leaves_dark_words_on_white():
    with plt.style.context("dark_background"):
        ax = plots.curves([1, 2], {"a": [1, 2]}, xlabel="n", ylabel="s", title="t")
        ground = ax.figure.get_facecolor(), ax.get_facecolor()
        assert set(map(matplotlib.colors.to_hex, ground)) == {"#ffffff"}
        words = [ax.title, ax.xaxis.label, *ax.get_xticklabels()]
        assert {matplotlib.colors.to_hex(word.get_color()) for word in words} == {"#000000"}
