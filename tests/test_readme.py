"""What the README and CONTRIBUTING say is there, is there."""

import re
import subprocess

import pytest

from exercises import exercises
from notebooks import ROOT, read
from picture import FIGURES, FOLDER, thumbnail

README = (ROOT / "README.md").read_text("utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "tools/README.md"]
NOTEBOOKS = sorted(path.stem for path in ROOT.glob("notebooks/*.ipynb"))


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_each_notebook_has_its_row(name):
    [row] = re.findall(rf"^\|.*\(notebooks/{name}\.ipynb\).*\|$", README, re.MULTILINE)
    head = read(ROOT / f"notebooks/{name}.ipynb").cells[0].source
    title, minutes = re.search(r"# (.+)", head)[1], re.search(r"about (\d+) minutes", head)[1]
    assert f"[{title}]" in row
    assert f"| {minutes} |" in row
    assert f".github/thumbnails/{name}.png" in row
    assert f"/blob/main/notebooks/{name}.ipynb)" in row


def test_each_notebook_has_a_picture_to_take():
    assert list(FIGURES) == NOTEBOOKS
    for name, words in FIGURES.items():
        thumbnail(name, words)
    assert {path.stem for path in (FOLDER / "thumbnails").iterdir()} == set(NOTEBOOKS)


def test_the_number_of_exercises_is_right():
    count = sum(len(exercises(read(ROOT / f"notebooks/{name}.ipynb"))) for name in NOTEBOOKS)
    assert set(re.findall(r"(?:of the|\|) (\d\d)(?: has|, with)", README)) == {str(count)}


def test_the_layout_is_complete():
    block = README.split("## What is where")[1].split("```")[1]
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode()
    folders = {name.split("/")[0] for name in listed.split("\0") if "/" in name}
    assert set(re.findall(r"^(\w+)/", block, re.MULTILINE)) == {
        folder for folder in folders if not folder.startswith(".")
    }


@pytest.mark.parametrize("page", PAGES)
def test_links_paths_and_commands_exist(page):
    text, folder = (ROOT / page).read_text("utf-8"), (ROOT / page).parent
    prose = re.sub(r"(?s)```.*?```", "", text)
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)|src=\"([^\"]+)\"", prose)
    local = {link for pair in links for link in pair if link and "://" not in link}
    assert {link for link in local if not (folder / link).exists()} == set()
    paths = re.findall(r"`((?:tools|tests|transformer_lib|data|benchmarks|book)/[\w./-]*)`", text)
    assert {path for path in paths if not (ROOT / path).exists()} == set()
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    code = "\n".join(re.findall(r"`+[^`]+`+", text))
    assert set(re.findall(r"\bmake ([a-z]+)\b", code)) <= {*targets}
