"""The course as a website: built once, its links followed, its pages opened without a network."""

import importlib
import pkgutil
import re
import subprocess
import sys
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from bs4 import BeautifulSoup

import transformer_lib
from notebooks import ROOT, read

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
MODULES = [
    f"transformer_lib.{module.name}"
    for module in pkgutil.iter_modules(transformer_lib.__path__)
    if module.name != "__main__"
]
SAMPLE = [  # a page of each kind
    "index.html",
    "notebooks/00_start_here.html",
    "notebooks/README.html",
    "faq.html",
    "glossary.html",
    "api/pictures.html",
    "search.html",
]
SENTENCE_END = re.compile(r"[.?!]\)?(?=\s|$)")
# Formulas are pictures of many strokes, which MathJax describes; viewers have tests of their own.
AXE = """(rules) => axe.run(
    {exclude: [['mjx-container'], ['iframe']]},
    {resultTypes: ['violations'], preload: false, ...rules}
)"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """Build the book as `make book` does."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "book", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(book):
    """Parse every page."""
    return {
        path: BeautifulSoup(path.read_text("utf-8"), "html.parser")
        for path in book.rglob("*.html")
        if "_static" not in path.parts
    }


# ---- the pages as they are written


def test_each_notebook_is_a_chapter(book, pages):
    for path in NOTEBOOKS:
        page = pages[book / "notebooks" / f"{path.stem}.html"]
        title = re.match("# (.+)", read(path).cells[0].source)[1]
        assert page.h1.get_text().removesuffix("#") == title
        assert page.find("a", href=re.compile(rf"^https://colab.+/{path.name}$"))
        download = page.find("a", href=re.compile(rf"_downloads/.+/{path.name}$"))
        copy = (book / "notebooks" / download["href"]).resolve()
        assert copy.read_bytes() == path.read_bytes()
        assert book / "notebooks" / f"{path.stem}.html" in {
            (book / link["href"]).resolve() for link in pages[book / "index.html"].table("a")
        }


def outputs(path, kind):
    cells = (cell for cell in read(path).cells if cell.cell_type == "code")
    return [o for cell in cells for o in cell.outputs if kind in o.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_are_described_and_viewers_have_none_beside_them(book, pages, path):
    article = pages[book / "notebooks" / f"{path.stem}.html"].article
    pictures, viewers = article("img"), article("iframe")
    assert len(viewers) == len(outputs(path, "text/html"))
    assert len(pictures) == len(outputs(path, "image/png")) - len(viewers)
    for picture in pictures:
        assert len(picture["alt"]) > 20
        assert not re.search(r"\]\(|\*\*", picture["alt"])  # markup


def targets(page):
    """Return what a page loads or leads to."""
    tags = [(tag, "href") for tag in page(["a", "link"], href=True)]
    tags += [(tag, "src") for tag in page(["img", "script", "iframe"], src=True)]
    return [(tag.name, urlsplit(tag[name])) for tag, name in tags]


def test_every_link_and_anchor_leads_somewhere(pages):
    anchors = {path: {tag["id"] for tag in page(id=True)} for path, page in pages.items()}
    wrong = []
    for path, page in pages.items():
        for kind, url in targets(page):
            if url.scheme:
                assert kind == "a", f"{path.name} loads {url.geturl()}"
                continue
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            if not file.exists() or url.fragment not in ("", *anchors.get(file, ())):
                wrong.append(f"{path.name} → {url.geturl()}")
    assert not wrong


@pytest.mark.parametrize("name", MODULES)
def test_every_public_name_is_in_the_reference(book, pages, name):
    documented = {
        tag["id"] for path in book.glob("api/*.html") for tag in pages[path]("dt", id=True)
    }
    public = {f"{name}.{member}" for member in importlib.import_module(name).__all__}
    assert not public - documented


def test_each_answer_is_short_and_leads_to_a_section_of_a_notebook(book, pages):
    questions = [heading.parent for heading in pages[book / "faq.html"].article("h3")]
    assert len(questions) >= 20
    for question in questions:
        answer = question.p
        assert len(SENTENCE_END.findall(answer.get_text())) <= 6, answer
        assert answer.find("a", href=re.compile(r"^notebooks/\w+\.html#")), answer


# ---- the pages as they are seen


@pytest.fixture
def visit(browser, book):
    """Open pages from the disk; whatever they ask of a network, or complain of, fails the test."""
    tabs, troubles = [], []

    def visit(name, theme="light", **options):
        tab = browser.new_page(color_scheme=theme, **options)
        tab.on("request", lambda request: requests.append(request.url))
        tab.on("console", lambda said: said.type == "error" and troubles.append(said.text))
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.goto(f"{book.as_uri()}/{name}")
        tabs.append(tab)
        return tab

    requests = []
    yield visit
    for tab in tabs:
        tab.close()
    troubles += [url for url in requests if not url.startswith(("file:", "data:", "about:"))]
    assert not troubles


@pytest.mark.parametrize("name", SAMPLE)
def test_page_is_accessible(visit, name):
    tab = visit(name)
    tab.evaluate(AXE_SCRIPT)
    found = tab.evaluate(AXE, {})["violations"]
    tab.evaluate("document.documentElement.dataset.theme = 'dark'")
    tab.wait_for_function("document.getAnimations().length === 0")  # colours fade over
    found += tab.evaluate(AXE, {"runOnly": ["color-contrast"]})["violations"]
    assert not [(rule["id"], [node["target"] for node in rule["nodes"]]) for rule in found]


def test_formulas_are_set(visit):
    tab = visit("notebooks/01_scaled_dot_product_attention.html")
    tab.wait_for_selector("mjx-container svg")
    tab.wait_for_function("document.querySelectorAll('mjx-container').length > 10")
    assert tab.locator("mjx-merror").count() == 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_viewer_is_alive(visit, theme):
    frame = visit("notebooks/00_start_here.html", theme).frame_locator("iframe >> nth=0")
    frame.locator(".down .label", has_text="einen").first.hover()
    assert "einen" in frame.locator("output").inner_text()
    assert frame.locator("html").get_attribute("data-theme") == theme


def test_search_finds_a_word(visit):
    tab = visit("search.html?q=rollout")
    tab.wait_for_selector("#search-results li")
    assert "Attention maps" in " ".join(tab.locator("#search-results li").all_inner_texts())


@pytest.mark.parametrize("name", ["index.html", "glossary.html", "notebooks/02_masks.html"])
def test_page_fits_a_phone(visit, name):
    tab = visit(name, viewport={"width": 390, "height": 844})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
