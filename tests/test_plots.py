import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

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
    """Return an axis' name and the words at those of its ticks that are in view."""
    low, high = sorted(axis.get_view_interval())
    ticks = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [axis.label, *(label for place, label in ticks if low <= place <= high)]


def clipped(figure):
    """List the words that reach out of the picture."""
    figure.canvas.draw()
    words = list(figure.texts)
    for ax in figure.axes:
        words += [*ax.texts, ax.title]
        words += [*labels(ax.xaxis), *labels(ax.yaxis)] if ax.axison else []
    boxes = {word.get_text(): word.get_window_extent() for word in words if word.get_text()}
    page = figure.bbox.padded(1)
    return [
        t for t, box in boxes.items() if not (page.contains(*box.min) and page.contains(*box.max))
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
    ],
)
def test_a_heat_map_names_what_does_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.heatmap(*arguments)


def test_maps_side_by_side_share_one_scale():
    figure = plots.heatmaps([MATRIX, 3 * MATRIX], ["one", "three"], kind="amount")
    scales = {ax.collections[0].get_clim() for ax in figure.axes[:2]}
    assert scales == {(0, 3)}
    np.testing.assert_array_equal(cells(figure.axes[1]), 3 * MATRIX)


def test_every_map_has_its_title():
    with pytest.raises(ValueError, match="1 titles for 2 maps"):
        plots.heatmaps([MATRIX, MATRIX], ["one"])


def test_curves_show_their_values_and_the_formula_as_a_band():
    ax = plots.curves(
        [1, 2, 4], {"measured": [3, 5, 7], "formula": [2, 4, 8]}, xlabel="n", ylabel="s"
    )
    measured, formula = ax.lines
    np.testing.assert_array_equal(measured.get_xydata(), [[1, 3], [2, 5], [4, 7]])
    np.testing.assert_array_equal(formula.get_ydata(), [2, 4, 8])
    assert formula.get_linewidth() > 2 * measured.get_linewidth()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["measured", "formula"]


def test_bars_and_points_show_their_values():
    bars = plots.bars(WORDS, [2.0, 3.0, 5.0], xlabel="how often")
    assert [bar.get_width() for bar in bars.patches] == [2, 3, 5]
    points = plots.points([[1, 2], [3, 5]], ["a", "b"], xlabel="x", ylabel="y")
    np.testing.assert_array_equal(points.collections[0].get_offsets(), [[1, 2], [3, 5]])
    assert texts(points) == ["a", "b"]


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
