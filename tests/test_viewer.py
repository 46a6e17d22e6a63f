"""The attention viewer: what goes into its page, and the page in a real browser.

UPDATE_SCREENSHOTS=1 takes the pictures in tests/screenshots anew; look at them before you commit.
"""

import base64
import io
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import transformer_lib
from transformer_lib.viewer import AttentionView

SCREENSHOTS = Path(__file__).parent / "screenshots"
SCRIPT = Path(transformer_lib.__file__).with_name("viewer.js").read_text(encoding="utf-8")

LAYERS, HEADS = 2, 3
SRC = ["the", "child", "eats", "the", "red", "apple", "."]
TGT = ["das", "Kind", "isst", "Äpfel", "</s>"]
S, T = len(SRC), len(TGT)
HOSTILE = [
    "</script><script>window.parent.hacked = window.hacked = 1</script>",
    "<img src=x onerror='window.parent.hacked = window.hacked = 1'>",
    "'\"&quot;&lt;",
    "🦊👩‍🚀",
    "שלום עולם",
    "\u202eright to left",
    "x" * 300,
    "",
    "the",
    "the",
    " ",
    "a\nb\tc",
    "$x$ \\frac",
    "<!--<script>",
    "\ud800",
]


def weights(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)).mul(3).softmax(-1)


def recorded():
    """Make maps as `record_attention` gives them, out of order."""
    maps = {}
    for layer in reversed(range(LAYERS)):
        maps |= {
            f"decoder.layers.{layer}.cross_attention": weights(1, HEADS, T, S, seed=10 + layer),
            f"decoder.layers.{layer}.self_attention": weights(1, HEADS, T, T, seed=20 + layer),
            f"encoder.layers.{layer}.self_attention": weights(1, HEADS, S, S, seed=30 + layer),
        }
    return maps


def of_kind(*words):
    """Return the layers (1, H, T, S) whose names have these words, in order."""
    maps = recorded()
    return [maps[name] for name in sorted(maps) if all(word in name for word in words)]


CROSS = torch.cat(of_kind("cross"))  # (layers, H, T, S)


def page(view):
    return view._page(*view._choice(None, None, None))


# ---- what is accepted


def test_names_of_modules_and_names_of_kinds_give_the_same_page():
    by_kind = {
        "encoder": of_kind("encoder", "self"),
        "cross": CROSS,
        "decoder": tuple(layer[0].numpy() for layer in of_kind("decoder", "self")),
    }
    by_name = page(AttentionView(recorded(), SRC, TGT))
    assert page(AttentionView(by_kind, SRC, TGT)) == by_name
    compiled = {f"_orig_mod.{name}": layer for name, layer in recorded().items()}
    assert page(AttentionView(compiled, SRC, TGT)) == by_name


@pytest.mark.parametrize(
    "maps",
    [
        list(CROSS),
        tuple(layer[None] for layer in CROSS),
        CROSS.numpy(),
        CROSS.double().requires_grad_(),
        {"cross": CROSS},
        [layer.tolist() for layer in CROSS],
    ],
    ids=["list", "batches of one", "array", "gradient", "dictionary", "numbers"],
)
def test_every_form_of_cross_attention_gives_the_same_page(maps):
    assert page(AttentionView(maps, SRC, TGT)) == page(AttentionView(CROSS, SRC, TGT))


def test_layers_are_sorted_by_number_not_by_letter():
    maps = {
        f"encoder.layers.{i}.self_attention": torch.full((1, 1, S, S), i / 100) for i in (10, 9)
    }
    assert AttentionView(maps, SRC)._maps["encoder"].weights[:, 0, 0, 0].tolist() == [9, 10]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_are_rounded_to_hundredths(dtype):
    maps = weights(LAYERS, HEADS, S, S).to(dtype)
    stored = AttentionView(maps, SRC)._maps["self"].weights
    assert stored.dtype == np.uint8
    np.testing.assert_allclose(stored / 100, maps.double(), atol=0.005 + 1e-12)


def test_columns_of_a_decoder_are_what_was_written_before():
    maps = AttentionView(recorded(), SRC, TGT, start="<go>")._maps
    assert maps["decoder"].columns == ["<go>", *TGT[:-1]]
    assert maps["decoder"].rows == maps["cross"].rows == TGT
    assert maps["cross"].columns == maps["encoder"].rows == maps["encoder"].columns == SRC


def test_weights_that_rounding_has_carried_outside_are_accepted():
    maps = np.array([-1e-6, 1 + 1e-6] * 2).reshape(1, 1, 2, 2)
    assert AttentionView(maps, SRC[:2])._maps["self"].weights.ravel().tolist() == [0, 100, 0, 100]


LAYER = weights(HEADS, T, S)


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ([weights(4, HEADS, T, S)], "layer 1 has a batch of 4 sentences; pick one"),
        (LAYER, r"one tensor must be \(layers, H, T, S\), got \(3, 5, 7\)"),
        ([LAYER[:0]], r"must be \(H, T, S\) or \(1, H, T, S\), got \(0, 5, 7\)"),
        ([LAYER[0]], r"must be \(H, T, S\) or \(1, H, T, S\), got \(5, 7\)"),
        ([LAYER, LAYER[:2]], "layer 2 has 2 heads, layer 1 3"),
        ([LAYER.mT], "maps of 7 × 5, but there are 5 × 7 tokens"),
        ([LAYER * float("nan")], "has the weight nan"),
        ([LAYER - 1], "has the weight -0"),
        ([LAYER + 1], "has the weight 1"),
        ([], "there is no layer"),
        ({"cross": []}, "cross: there is no layer"),
        ({}, "no maps"),
        ({"layers.0.self_attention": LAYER}, "'layers.0.self_attention' is not like"),
        ({"encoder.self_attention": LAYER}, "'encoder.self_attention' is not like"),
        ([weights(HEADS, T, 0)], "maps of 5 × 0"),
    ],
)
def test_maps_that_cannot_be_shown_are_refused(maps, message):
    with pytest.raises(ValueError, match=message):
        AttentionView(maps, SRC, TGT)


def test_a_decoder_needs_the_words_that_were_written():
    with pytest.raises(ValueError, match=r"\['cross', 'decoder'\] need tgt_tokens"):
        AttentionView(recorded(), SRC)


@pytest.mark.parametrize(
    ("tokens", "error", "message"),
    [
        ("the child", TypeError, "src_tokens must be a list of words, got the text 'the child'"),
        (["a", 3], TypeError, "src_tokens must be texts, got 3"),
        ([], ValueError, "src_tokens is empty"),
    ],
)
def test_tokens_that_are_no_texts_are_refused(tokens, error, message):
    with pytest.raises(error, match=message):
        AttentionView(CROSS, tokens, TGT)


def test_too_many_tokens_are_refused_with_advice():
    with pytest.raises(ValueError, match=r"1 layers × 1 heads × 201 × 201 are more than 200 tok"):
        AttentionView(torch.zeros(1, 1, 201, 201), ["a"] * 201)


def test_too_many_weights_are_refused_with_advice():
    maps = torch.zeros(26, 1, 200, 200)
    AttentionView(maps[:25], ["a"] * 200)
    with pytest.raises(ValueError, match=r"1,040,000 weights.*26 layers.*pick one kind, some lay"):
        AttentionView(maps, ["a"] * 200)


# ---- what comes out


def test_six_layers_of_eight_heads_stay_under_300_kilobytes():
    tokens = [f"word{i}" for i in range(64)]
    size = len(page(AttentionView(weights(6, 8, 64, 64), tokens, tokens)).encode())
    print(f"6 × 8 × 64 × 64: {size:,} bytes of HTML")
    assert size < 300_000


def test_the_page_is_the_same_each_time():
    first, second = (AttentionView(recorded(), SRC, TGT, title="A & B") for _ in range(2))
    assert page(first) == page(second)
    assert first._repr_html_() == second._repr_html_()
    assert first._figure("cross", 1, 1, "svg", 90) == second._figure("cross", 1, 1, "svg", 90)


def displayed(view, monkeypatch):
    outputs = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **more: outputs.append((data, more))
    )
    view._ipython_display_()
    return outputs


def test_a_picture_goes_out_before_the_viewer(monkeypatch):
    view = AttentionView(recorded(), SRC, TGT)
    (picture, more), (viewer, _) = displayed(view, monkeypatch)
    png = base64.b64decode(picture["image/png"])
    assert Image.open(io.BytesIO(png)).format == "PNG"
    assert len(png) < 30_000
    assert more["metadata"]["image/png"]["alt"] == (
        "Heat map: cross-attention, layer 2, mean of the heads"
    )
    assert view._repr_html_() in viewer["text/html"]
    assert displayed(view, monkeypatch)[0][0] == picture


def test_repr_names_the_maps():
    assert repr(AttentionView(CROSS, SRC, TGT)) == (
        "AttentionView(cross-attention: 2 layers × 3 heads × 5 × 7)"
    )


def test_save_writes_what_the_suffix_says(tmp_path):
    view = AttentionView(recorded(), SRC, TGT)
    view.save(tmp_path / "map.html")
    assert (tmp_path / "map.html").read_text(encoding="utf-8") == page(view)
    view.save(tmp_path / "one.svg", kind="encoder", layer=1, head=2)
    assert "<svg" in (tmp_path / "one.svg").read_text(encoding="utf-8")
    view.save(str(tmp_path / "grid.PNG"), layer=1)
    view.save(tmp_path / "mean.png", layer=1, head="mean")
    grid, mean = (Image.open(tmp_path / name).size for name in ("grid.PNG", "mean.png"))
    assert grid[0] > 1.3 * mean[0]
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"kind": "self"}, r"kind is 'self', but there are \['encoder', 'decoder', 'cross'\]"),
        ({"layer": 0}, "layer is 0, but layers count from 1 to 2"),
        ({"head": 4}, "head is 4, but heads count from 1 to 3"),
        ({"head": "all"}, "head is 'all'"),
    ],
)
def test_save_refuses_what_is_not_there(tmp_path, choice, message):
    with pytest.raises(ValueError, match=message):
        AttentionView(recorded(), SRC, TGT).save(tmp_path / "map.svg", **choice)


def test_save_refuses_another_suffix(tmp_path):
    with pytest.raises(ValueError, match=r"saved as .html, .svg or .png, not as 'map.pdf'"):
        AttentionView(CROSS, SRC, TGT).save(tmp_path / "map.pdf")
    assert list(tmp_path.iterdir()) == []


def test_figures_show_hostile_tokens_too(tmp_path, recwarn):
    view = AttentionView(weights(1, 1, len(HOSTILE), len(HOSTILE)), HOSTILE)
    view.save(tmp_path / "map.png")
    assert not [str(w.message) for w in recwarn if "Glyph" in str(w.message)]


def test_the_viewer_loads_no_matplotlib_before_a_picture_is_wanted():
    code = "import sys, transformer_lib.viewer; print('matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("word", ["innerHTML", "outerHTML", "http", "require(", "eval(", "setHTML"])
def test_the_script_does_without(word):
    assert word not in SCRIPT


def test_the_script_fits_into_a_page():
    lines = SCRIPT.splitlines()
    assert [line for line in lines if line.count("`") % 2] == [], "indents are cut: no long texts"
    assert "</script" not in SCRIPT.lower()
    assert "<!--" not in SCRIPT
    assert re.search(r'\(\(\) => \{\n  "use strict";', SCRIPT)


# ---- in a real browser


@pytest.fixture
def open_page(browser, tmp_path):
    """Open a page from a file, without network; at the end nothing may have gone wrong in it."""
    problems, pages = [], []

    def open_page(text, theme="light", width=900, **options):
        context = browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 800}, **options
        )
        context.set_offline(True)
        tab = context.new_page()
        pages.append(context)
        address = (tmp_path / f"page{len(pages)}.html").as_uri()
        tab.on("console", lambda message: problems.append(message.text))
        tab.on("pageerror", lambda error: problems.append(str(error)))
        tab.on("request", lambda r: r.url in (address, "about:srcdoc") or problems.append(r.url))
        (tmp_path / f"page{len(pages)}.html").write_text(text, encoding="utf-8")
        tab.goto(address)
        return tab

    yield open_page
    for context in pages:
        context.close()
    assert problems == []


def choose(frame, name, group=0):
    frame.locator(".chip", has_text=re.compile(rf"^{name}$")).nth(group).locator("input").click()


def choose_head(frame, number, panel=0):
    heads = frame.locator("fieldset", has=frame.locator("legend", has_text=re.compile("^Head$")))
    heads.nth(panel).locator("input").nth(number - 1).click()


def choose_layer(frame, number, panel=0):
    layers = frame.locator("fieldset", has=frame.locator("legend", has_text=re.compile("^Layer$")))
    layers.nth(panel).locator("input").nth(number - 1).click()


def hover(frame, row, column, rows=T, columns=S, panel=0):
    cells = frame.locator(".cells").nth(panel)
    box = cells.bounding_box()
    place = {
        "x": (column + 0.5) * box["width"] / columns,
        "y": (row + 0.5) * box["height"] / rows,
    }
    cells.hover(position=place, force=True)


def spoken(frame):
    return frame.locator("output").inner_text()


def shown(weight):
    return f"{np.rint(float(weight) * 100) / 100:.2f}"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_cell_under_the_pointer_is_said_with_its_true_weight(open_page, theme):
    tab = open_page(page(AttentionView(recorded(), SRC, TGT)), theme)
    choose(tab, "one head")
    for layer, head, row, column in [(1, 1, 0, 0), (1, 3, 4, 6), (2, 2, 3, 5), (2, 3, 1, 2)]:
        choose_layer(tab, layer)
        choose_head(tab, head)
        hover(tab, row, column)
        weight = shown(CROSS[layer - 1, head - 1, row, column])
        number = f" ({column + 1})" if SRC[column] == "the" else ""
        assert spoken(tab) == f"“{TGT[row]}” looks at “{SRC[column]}”{number}: {weight}"
    assert tab.locator(".label.on").all_inner_texts() == [SRC[2], TGT[1]]


def test_mean_several_and_two_to_compare(open_page):
    tab = open_page(page(AttentionView(recorded(), SRC, TGT)))
    hundredths = np.rint(CROSS.double().numpy() * 100) / 100
    hover(tab, 2, 4)
    assert spoken(tab).endswith(f": {hundredths[1, :, 2, 4].mean():.2f}")
    choose_head(tab, 1)  # leaves it out
    hover(tab, 2, 4)
    assert spoken(tab).endswith(f": {hundredths[1, 1:, 2, 4].mean():.2f}")
    choose(tab, "several")
    assert tab.locator(".heatmap").count() == 2
    hover(tab, 2, 4)
    two, three = (f"layer 2, head {h} {hundredths[1, h - 1, 2, 4]:.2f}" for h in (2, 3))
    assert spoken(tab).endswith(f": {two}; {three}")
    choose(tab, "compare two")
    choose_layer(tab, 1, panel=1)
    choose_head(tab, 1, panel=1)
    hover(tab, 2, 4)
    one = f"layer 1, head 1 {hundredths[0, 0, 2, 4]:.2f}"
    assert spoken(tab).endswith(f": {two}; {one}")


def test_decoding_step_by_step(open_page):
    tab = open_page(page(AttentionView(recorded(), SRC, TGT)))
    slider = tab.locator("input[type=range]")
    slider.fill("2")
    assert "step 2 of 5 writes “Kind”" in tab.locator(".decoding").inner_text()
    written = tab.locator(".sentence.writes .word:visible").all_inner_texts()
    assert written == TGT[:2]
    read = tab.locator(".sentence.reads .word").evaluate_all(
        "words => words.map(word => getComputedStyle(word).backgroundColor)"
    )
    tab.get_by_label("One step on").click()
    assert tab.locator(".sentence.writes .word:visible").all_inner_texts() == TGT[:3]
    assert read != tab.locator(".sentence.reads .word").evaluate_all(
        "words => words.map(word => getComputedStyle(word).backgroundColor)"
    )
    assert spoken(tab).startswith("“isst” looks at “")
    hover(tab, 4, 0)  # not written yet
    assert "</s>" not in spoken(tab)
    choose(tab, "decoder self")
    assert slider.input_value() == "5"
    assert tab.locator(".sentence.reads .word").all_inner_texts() == ["<s>", *TGT[:-1]]
    choose(tab, "encoder self")
    assert not tab.locator(".decoding").is_visible()


def test_decoding_plays_and_stops(open_page):
    tab = open_page(page(AttentionView(CROSS, SRC, TGT)))
    play = tab.get_by_label("Play or pause")
    play.click()
    assert play.inner_text() == "Pause"
    assert tab.locator("input[type=range]").input_value() == "1"
    tab.get_by_text("step 2 of 5").wait_for()
    play.click()
    assert play.inner_text() == "Play"
    still = open_page(page(AttentionView(CROSS, SRC, TGT)), reduced_motion="reduce")
    assert not still.get_by_label("Play or pause").is_visible()


def test_lines_follow_a_word_on_either_side(open_page):
    tab = open_page(page(AttentionView(CROSS, SRC, TGT)))
    choose(tab, "lines")
    choose(tab, "one head")
    tab.locator(".label.left").nth(3).hover()
    row = CROSS[1, 0, 3].mul(100).round()
    best = [SRC[i] for i in row.argsort(descending=True, stable=True)[:3]]
    assert re.findall("“(.*?)”", spoken(tab)) == ["Äpfel", *best]
    assert tab.locator(".weight").all_inner_texts() == [shown(weight / 100) for weight in row]
    tab.locator(".label.right").nth(5).hover()
    column = CROSS[1, 0, :, 5].mul(100).round()
    best = [TGT[i] for i in column.argsort(descending=True, stable=True)[:3]]
    assert re.findall("“(.*?)”", spoken(tab)) == ["apple", *best]
    assert "is looked at by" in spoken(tab)


def test_a_row_without_weights_looks_at_nothing(open_page):
    tab = open_page(page(AttentionView(torch.zeros(1, 1, S, S), SRC)))
    choose(tab, "lines")
    tab.locator(".label.left").nth(2).hover()
    assert spoken(tab) == "“eats” looks at nothing in particular"


def test_the_overview_leads_to_a_head(open_page):
    tab = open_page(page(AttentionView(CROSS, SRC, TGT)))
    choose(tab, "all heads")
    assert tab.locator(".overview button").count() == LAYERS * HEADS
    tab.get_by_label("layer 1, head 3").click()
    hover(tab, 1, 1)
    assert spoken(tab) == f"“Kind” looks at “child”: {shown(CROSS[0, 2, 1, 1])}"


def test_the_keyboard_reaches_everything(open_page):
    tab = open_page(page(AttentionView(recorded(), SRC, TGT)))
    expected = ["View", "Attention", "compare", "Layer", "Show", "Head", "Head", "Head"]
    expected += ["One step back", "Decoding step", "One step on", "Play", "layer 2, mean"]
    for name in expected:
        tab.keyboard.press("Tab")
        about = tab.evaluate(
            """() => {
                const now = document.activeElement;
                const shape = now.type === "radio" || now.type === "checkbox"
                    ? now.nextElementSibling : now;
                const group = now.closest("fieldset")?.textContent;
                return [group || now.ariaLabel || now.parentElement.textContent,
                        getComputedStyle(shape).outlineStyle, getComputedStyle(shape).outlineWidth];
            }"""
        )
        assert about[0].startswith(name)
        assert about[1:] == ["solid", "3px"], f"{name} does not show its focus"
    for key in ["Down", "Down", "Down", "Right", "Right", "Right", "Up", "Left"]:
        tab.keyboard.press(f"Arrow{key}")
    mean = np.rint(CROSS[1, :, 1, 1].double().numpy() * 100).mean() / 100
    assert spoken(tab) == f"“Kind” looks at “child”: {mean:.2f}"
    tab.keyboard.press("End")
    assert "looks at “.”" in spoken(tab)
    tab.keyboard.press("Escape")
    assert spoken(tab).startswith("Point at")
    for _ in range(8):  # back to Show
        tab.keyboard.press("Shift+Tab")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    assert tab.evaluate("document.activeElement.nextElementSibling.textContent") == "one head"
    assert "layer 2, head 1" in tab.locator("figcaption").inner_text()


def test_a_choice_of_view_keeps_the_keyboard_where_it_is(open_page):
    tab = open_page(page(AttentionView(recorded(), SRC, TGT)))
    tab.keyboard.press("Tab")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert tab.locator(".overview").count() == 1
    assert tab.evaluate("document.activeElement.parentElement.textContent") == "all heads"


@contextmanager
def two_views(open_page, theme, background):
    """Open a page with two views in frames, as a notebook has them."""
    views = AttentionView(recorded(), SRC, TGT), AttentionView(weights(1, 2, S, S), SRC)
    body = "<p>between</p>".join(view._repr_html_() for view in views)
    text = f'<!doctype html><meta charset="utf-8"><body style="background:{background}">{body}'
    tab = open_page(text, theme)
    yield tab, [tab.frame_locator("iframe >> nth=0"), tab.frame_locator("iframe >> nth=1")]


@pytest.mark.parametrize(
    ("theme", "background", "expected"),
    [("light", "#111", "dark"), ("dark", "white", "light"), ("dark", "transparent", "dark")],
)
def test_two_views_in_frames_take_the_theme_of_their_page(open_page, theme, background, expected):
    with two_views(open_page, theme, background) as (tab, frames):
        for frame in frames:
            assert frame.locator("html").get_attribute("data-theme") == expected
        tab.evaluate("document.body.style.background = '#111'")
        frames[0].locator("html[data-theme=dark]").wait_for()
        hover(frames[1], 3, 4, S, S)
        assert "looks at" in spoken(frames[1])
        assert "looks at" not in spoken(frames[0])
        choose(frames[1], "lines")
        assert frames[0].locator(".heatmap").count() == 1


def test_the_picture_is_seen_where_the_viewer_is_not(open_page, monkeypatch):
    (picture, _), (viewer, _) = displayed(AttentionView(CROSS, SRC, TGT), monkeypatch)
    image = f'<img src="data:image/png;base64,{picture["image/png"]}">'
    html = viewer["text/html"]
    outputs = [image, html, image, re.sub("<iframe.*?</iframe>", "", html, flags=re.S), image]
    outputs = [f'<div class="jp-OutputArea-child">{output}</div>' for output in outputs]
    tab = open_page("<!doctype html>" + "".join(outputs))
    assert [image.is_visible() for image in tab.locator("img").all()] == [False, True, True]


def test_a_saved_page_opens_with_what_was_chosen(open_page, tmp_path):
    view = AttentionView(recorded(), SRC, TGT)
    view.save(tmp_path / "map.html", kind="encoder", layer=1, head=2)
    tab = open_page((tmp_path / "map.html").read_text(encoding="utf-8"))
    hover(tab, 1, 5, S, S)
    weight = shown(recorded()["encoder.layers.0.self_attention"][0, 1, 1, 5])
    assert spoken(tab) == f"“child” looks at “apple”: {weight}"


def test_frames_are_as_high_as_their_content(open_page):
    with two_views(open_page, "light", "white") as (tab, frames):
        for i, frame in enumerate(frames):
            for view in ("lines", "heat map"):
                choose(frame, view)
                frame_height = tab.locator("iframe").nth(i).evaluate("frame => frame.clientHeight")
                content = frame.locator("main").evaluate("main => main.offsetHeight")
                assert frame_height == content


def test_the_script_leaves_no_globals(open_page):
    with two_views(open_page, "light", "white") as (tab, _):
        ours, plain = tab.evaluate(
            """() => {
                const plain = document.body.appendChild(document.createElement("iframe"));
                return [document.querySelector("iframe"), plain].map(
                    (frame) => Object.getOwnPropertyNames(frame.contentWindow));
            }"""
        )
        assert [name for name in ours if name not in plain and not name.isdigit()] == []


@pytest.mark.parametrize("framed", [False, True], ids=["file", "frame"])
def test_hostile_tokens_are_only_text(open_page, framed):
    n = len(HOSTILE)
    view = AttentionView({"cross": weights(1, 2, n, n)}, HOSTILE, HOSTILE, title=HOSTILE[0])
    tab = open_page(view._repr_html_() if framed else page(view))
    frame = tab.frame_locator("iframe") if framed else tab
    for name in ("heat map", "lines"):
        choose(frame, name)
        texts = frame.locator(".label:not(.weight)").all_text_contents()
        marks = {"": "∅", " ": "␣", "a\nb\tc": "a↵b⇥c", "\ud800": texts[n - 1]}
        assert sorted(texts) == sorted([marks.get(token, token) for token in HOSTILE] * 2)
        widths = frame.locator(".label").evaluate_all("all => all.map((x) => x.offsetWidth)")
        assert max(widths) < 160
    choose(frame, "heat map")
    hover(frame, 0, 1, n, n)
    assert spoken(frame).startswith("“</script><script>window.parent.hacked")
    assert frame.locator("h1").inner_text() == HOSTILE[0]
    assert frame.locator("img").count() == 0
    assert frame.locator("script").count() == 2
    assert not tab.evaluate("window.hacked")
    assert not frame.locator("html").evaluate("() => window.hacked")
    page_width = frame.locator("html").evaluate("html => html.scrollWidth - html.clientWidth")
    assert page_width == 0


@pytest.mark.parametrize("width", [400, 1000])
def test_long_sentences_stay_inside_the_page(open_page, width):
    words = [f"word{i}" for i in range(64)]
    tab = open_page(page(AttentionView(weights(1, 2, 64, 64), words, words)), width=width)
    for view in ("heat map", "lines"):
        choose(tab, view)
        assert tab.locator(".label:not(.weight):visible").count() == 128
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


REDRAW = """async (input) => {
    const start = performance.now();
    input.click();
    document.body.getBoundingClientRect();
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - start;
}"""


def test_a_change_of_head_or_layer_is_drawn_at_once(open_page):
    words = [f"word{i}" for i in range(64)]
    tab = open_page(page(AttentionView(weights(6, 8, 64, 64), words, words)))
    times = {}
    for view in ("heat map", "lines"):
        choose(tab, view)
        for many in ("one head", "mean", "several"):
            choose(tab, many)
            inputs = tab.locator("fieldset", has_text="Layer").locator("input").all()
            if many == "one head":
                inputs += tab.locator("fieldset", has_text="Head").last.locator("input").all()
            measured = [each.evaluate(REDRAW) for each in inputs[::3]]
            times[f"{view}, {many}"] = f"{np.median(measured):.0f} (at most {max(measured):.0f})"
            assert np.median(measured) < 1000
    print("milliseconds until drawn, 64 × 64 tokens:", times)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shades_grow_evenly_and_text_is_readable(open_page, theme):
    tab = open_page(page(AttentionView(CROSS, SRC, TGT)), theme)
    pixels = tab.locator(".scale canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 5, 101, 1).data]"
    )
    light = np.array([luminance(pixels[i : i + 3]) for i in range(0, 404, 4)])
    perceived = 116 * np.cbrt(light) - 16  # L* of CIELAB
    steps = np.diff(perceived) * (1 if theme == "dark" else -1)
    assert steps.min() > 0
    assert abs(perceived[-1] - perceived[0]) > 75
    halves = perceived[50] - perceived[0], perceived[100] - perceived[50]
    assert halves[0] == pytest.approx(halves[1], rel=0.1)

    colours = tab.evaluate(
        """() => ["main", ".note", ".name", "output", ".chip span", ".chip :checked + span",
                  ".decoding .note", ".word.on"].map((name) => {
            const element = document.querySelector(name);
            let ground = element;
            const colour = (e) => getComputedStyle(e).backgroundColor;
            while (colour(ground) === "rgba(0, 0, 0, 0)") ground = ground.parentElement;
            return [name, getComputedStyle(element).color, colour(ground)];
        })"""
    )
    for name, *pair in colours:
        bright, dark = sorted((luminance(rgb(colour)) for colour in pair), reverse=True)
        assert (bright + 0.05) / (dark + 0.05) >= 4.5, name


def rgb(colour):
    return [int(number) for number in re.findall(r"\d+", colour)[:3]]


def luminance(colour):
    c = np.array(colour) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


VIEWS = {
    "map-light": ("light", []),
    "lines-dark": ("dark", ["lines", "several"]),
    "compare-dark": ("dark", ["compare two"]),
    "heads-light": ("light", ["all heads"]),
}


def coarse(image):
    """Reduce a picture to how bright its parts are, which hardly depends on fonts."""
    return np.asarray(image.convert("L").resize((24, 18), Image.Resampling.BOX), dtype=float)


def difference(first, second):
    return np.abs(coarse(first) - coarse(second)).mean()


CLOSE = 4.0  # of 255


@pytest.mark.parametrize("name", VIEWS)
def test_the_viewer_looks_as_it_did(open_page, name):
    theme, choices = VIEWS[name]
    sharp = np.eye(T, S) * 0.8 + CROSS.numpy() * 0.2
    maps = {"encoder": of_kind("encoder"), "cross": sharp}
    tab = open_page(page(AttentionView(maps, SRC, TGT)), theme)
    for choice in choices:
        choose(tab, choice)
    picture = Image.open(io.BytesIO(tab.screenshot()))
    file = SCREENSHOTS / f"{name}.png"
    if os.environ.get("UPDATE_SCREENSHOTS"):
        SCREENSHOTS.mkdir(exist_ok=True)
        picture.convert("RGB").quantize(32).save(file, optimize=True)
    assert difference(picture, Image.open(file)) < CLOSE, "UPDATE_SCREENSHOTS=1 if it is wanted"


def test_the_screenshots_are_told_apart():
    pictures = [Image.open(SCREENSHOTS / f"{name}.png") for name in VIEWS]
    for i, first in enumerate(pictures):
        for second in pictures[i + 1 :]:
            assert difference(first, second) > CLOSE
