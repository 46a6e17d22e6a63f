"""The guide to the course says what the notebooks say, and its links lead somewhere."""

import re

import pytest
from nbformat.v4 import new_markdown_cell, new_notebook

from notebooks import ROOT, read
from test_notebooks import check_links

GUIDE = ROOT / "notebooks" / "README.md"
TEXT = GUIDE.read_text("utf-8")
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
TIME = r"about (\d+) minutes of reading, (\d+) s of computing"
EXERCISE = r"(?m)^[●○]{4} · (\d+) minutes? · "


def numbers(path):
    """Return a notebook's minutes of reading, seconds of computing, minutes of exercises."""
    cells = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    reading, computing = map(int, re.search(TIME, cells[0]).groups())
    return reading, computing, sum(map(int, re.findall(EXERCISE, "\n".join(cells))))


def table_row(first, numbers):
    return f"| {first} | {' | '.join(str(n) if n else '–' for n in numbers)} |"


def link_problems(text):
    """Say which links of the guide lead nowhere, by the rule for links in notebooks."""
    return list(check_links(new_notebook(cells=[new_markdown_cell(text)]), GUIDE))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_has_its_row(path):
    title = read(path).cells[0].source.splitlines()[0].removeprefix("# ")
    row = table_row(f"[{title}]({path.name})", numbers(path))
    assert row in TEXT, f"{GUIDE.name} needs a line that begins\n{row}"


def test_the_last_row_adds_up():
    row = table_row("together", map(sum, zip(*map(numbers, NOTEBOOKS), strict=True)))
    assert row in TEXT, f"{GUIDE.name} needs the line\n{row}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_each_notebook_has_its_misconceptions(path):
    part = TEXT.partition("## Common misconceptions")[2].partition("\n## ")[0]
    found = re.search(rf"(?m)^\*\*\[.+\]\({path.name}\)\*\*\n((?:- \*.+\n)+)", part)
    assert found, f"no list below a line **[title]({path.name})**"
    assert 2 <= len(found[1].splitlines()) <= 4


def test_links_lead_somewhere():
    assert not link_problems(TEXT)


def test_jupyterlab_can_jump_to_every_section():
    """It compares a heading with the address, in which other signs than these are encoded."""
    assert not [a for a in re.findall(r"ipynb#([^)]+)\)", TEXT) if not a.isascii()]


@pytest.mark.parametrize("link", ["04_d.ipynb", "01_a.ipynb", "02_masks.ipynb#Nowhere"])
def test_a_dead_link_is_found(link):
    assert link_problems(f"[there]({link})")


def test_the_workshop_takes_three_hours_without_a_gap():
    clock = 0
    for hour, minute, minutes in re.findall(r"(?m)^\| (\d):(\d\d) \| (\d+) \|", TEXT):
        assert int(hour) * 60 + int(minute) == clock
        clock += int(minutes)
    assert clock == 180
