"""Every notebook has the same anatomy and runs on any machine.

A check takes a notebook and its path and yields what is wrong with it, in words.
"""

import ast
import itertools
import re
import statistics
from copy import deepcopy
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from install_cell import INSTALL_CELL, REPOSITORY
from notebooks import ROOT, clean, read, write

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
COLAB = "https://colab.research.google.com/github/{}/blob/main/notebooks/{}"
SECTIONS = [
    "You are here",
    "The problem",
    "What if we got it wrong",
    "Check against PyTorch",
    "Where we differ from the paper",  # the only one that may be left out
    "What it costs",
    "Exercises",
    "Summary",
]
OWN_SECTIONS = {
    "00": [
        "The finished thing",
        "Where does it look?",
        "What a map does not show",
        "The map of the course",
        "How to use it",
        "Shapes and symbols",
        "What comes next",
    ],
    "13": [
        "You are here",
        "The problem",
        "The model that works",
        "Loud",
        "Silent",
        "What did not break",
        "Side by side",
        "How would you notice?",
        "What three seeds cannot tell",
        "Live",
        "Your own break",
        "Summary",
    ],
}
TAGS = {"mirror", "exercise", "hide-input", "nbval-ignore-output"}
IMPORTS = """collections contextlib copy ctypes dataclasses functools importlib itertools json math
    os pathlib random statistics sys tempfile textwrap time typing warnings
    torch numpy matplotlib.pyplot sacrebleu tqdm transformer_lib"""
NOT_PYTHON = ast.Module([], [])
NOT_PORTABLE = {
    "a machine's path": r"(?<![\w/.])(/(root|home|work|tmp|Users)\b|C:\\)",
    "a package registry": r"(?i)index-url|pypi|pythonhosted",
    "a remote image": r"!\[[^]]*\]\(https?:|<img[^>]+src=.?https?:",
}


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def tree(cell):
    try:
        return ast.parse(cell.source)
    except SyntaxError:
        return NOT_PYTHON


def prose(cell):
    """Return a markdown cell's text without its code blocks; nothing for other cells."""
    text = cell.source if cell.cell_type == "markdown" else ""
    return re.sub(r"(?ms)^```.*?^```", "", text)


def headings(notebook):
    text = "\n".join(map(prose, notebook.cells))
    return [(len(level), title) for level, title in re.findall(r"(?m)^(#+) (.+?)\s*$", text)]


def anchors(notebook):
    return {re.sub(r"[`*]", "", title).replace(" ", "-") for _, title in headings(notebook)}


def links(cell):
    return re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(cell)))


def check_first_cell(notebook, path):
    first = notebook.cells[0]
    if [title for level, title in headings(notebook) if level == 1] != re.findall(
        rf"\A# ({path.name[:2]} · .+)", first.source
    ):
        yield f"the only H1 must be the first line, '# {path.name[:2]} · Title'"
    names = sorted(p.name for p in path.parent.glob("*.ipynb"))
    here = names.index(path.name)
    badges = [COLAB.format(REPOSITORY.removeprefix("https://github.com/"), path.name)]
    badges += names[max(here - 1, 0) : here] + names[here + 1 : here + 2]
    if (found := [link for link in links(first) if link.endswith(".ipynb")]) != badges:
        yield f"badges lead to {found}, not to {badges}"
    for line in (
        r"\*\*You build:\*\* .+",
        r"\*\*Time:\*\* about \d+ minutes of reading, \d+ s of computing on a laptop CPU\.",
        r"\*\*Paper:\*\* sections? .+",
    ):
        if not re.search(rf"(?m)^{line}$", first.source):
            yield f"no line in the first cell matches {line}"


def check_install_cell(notebook, path):
    if code_cells(notebook)[0].source != INSTALL_CELL:
        yield "the first code cell must be the install cell (python tools/install_cell.py)"


def check_sections(notebook, path):
    wanted = OWN_SECTIONS.get(path.name[:2], SECTIONS)
    found = [title for level, title in headings(notebook) if level == 2 and title in wanted]
    if found not in (wanted, [s for s in wanted if s != "Where we differ from the paper"]):
        yield f"sections are {found}"


def check_outputs(notebook, path):
    cells = code_cells(notebook)
    counts = [cell.execution_count for cell in cells]
    if counts != list(range(1, len(cells) + 1)):
        yield f"execution counts are {counts}: run `make notebooks`"
    if clean(deepcopy(notebook)) != notebook:
        yield "metadata that differ between machines: run `make notebooks`"
    for cell in cells:
        for output in cell.outputs:
            if output.output_type == "error" or output.get("name") == "stderr":
                yield f"an error or a warning is stored below\n{cell.source}"


def check_short_cells(notebook, path):
    lengths = []
    for cell in code_cells(notebook):
        if "mirror" not in tags(cell) and cell.source != INSTALL_CELL:
            lines = sum(bool(line.strip()) for line in cell.source.splitlines())
            lengths += [] if "hide-input" in tags(cell) else [lines]
            if lines > 25:
                yield f"{lines} lines are too many:\n{cell.source}"
    if lengths and statistics.median(lengths) > 5:
        yield f"the median code cell has {statistics.median(lengths)} lines, more than 5"
    for kind, run in itertools.groupby(notebook.cells, lambda cell: cell.cell_type):
        if kind == "code" and len(run := list(run)) > 3:
            yield f"{len(run)} code cells without prose between them, from\n{run[0].source}"


def check_every_cell_does_something(notebook, path):
    does = ast.Assert, ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom
    does += ast.Assign, ast.AugAssign, ast.AnnAssign
    for cell in code_cells(notebook):
        if not cell.outputs and not any(isinstance(n, does) for n in ast.walk(tree(cell))):
            yield f"shows, asserts and defines nothing:\n{cell.source}"


def check_tags(notebook, path):
    for cell in notebook.cells:
        if wrong := tags(cell) - TAGS:
            yield f"unknown tags {wrong}"


def check_plain_python(notebook, path):
    for cell in code_cells(notebook):
        if cell.source == INSTALL_CELL:
            continue
        if tree(cell) is NOT_PYTHON:
            yield f"not plain Python (a magic? a shell command?):\n{cell.source}"
        for node in ast.walk(tree(cell)):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for name in modules:
                if not {name, name.split(".")[0]} & set(IMPORTS.split()):
                    yield f"imports {name}"


def check_portable(notebook, path):
    texts = [cell.source for cell in notebook.cells]
    for output in (output for cell in code_cells(notebook) for output in cell.outputs):
        data = output.get("data", {})
        texts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    for what, pattern in NOT_PORTABLE.items():
        for text in texts:
            if match := re.search(pattern, text):
                yield f"{what} ({match[0]}) in\n{text[:500]}"
    if any(cell.get("attachments") for cell in notebook.cells):
        yield "an attachment"
    if path.stat().st_size > 400_000:
        yield f"{path.stat().st_size} bytes, more than 400 kB"


def check_links(notebook, path):
    for link in (link for cell in notebook.cells for link in links(cell)):
        if not re.match(r"https?:", link):
            file, _, anchor = link.partition("#")
            target = path.parent / file if file else path
            if not target.exists():
                yield f"{link} leads nowhere"
            elif anchor and unquote(anchor) not in anchors(read(target)):
                yield f"{link} names no heading"


def check_captions(notebook, path):
    caption = r"(?s)\*\*What you see\.\*\*.+\*\*What it does not show\.\*\*"
    pairs = itertools.pairwise([*notebook.cells, new_markdown_cell()])
    pictures = [(c, below) for c, below in pairs if "image/png" in str(c.get("outputs"))]
    for cell, below in pictures[1:]:
        if not re.match(caption, prose(below)):
            yield f"no caption below\n{cell.source}"


CHECKS = [check for name, check in globals().items() if name.startswith("check_")]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, check):
    problems = list(check(read(path), path))
    assert not problems, "\n\n".join([path.name, *problems])


def test_notebook_00_lists_every_other_with_its_minutes():
    start, *others = NOTEBOOKS
    text = "\n".join(map(prose, read(start).cells))
    minutes = {p.name: re.search(r"about (\d+) min", read(p).cells[0].source)[1] for p in others}
    assert dict(re.findall(r"(?m)^\| \[.+?\]\((\S+)\) \|.+\| (\d+) \|$", text)) == minutes


def small_notebook():
    """Build the smallest notebook that passes every check."""
    badge = COLAB.format(REPOSITORY.removeprefix("https://github.com/"), "02_b.ipynb")
    first = f"""# 02 · B
[Open in Colab]({badge}) · [← previous](01_a.ipynb) · [next →](03_c.ipynb)

**You build:** it.

**Time:** about 1 minutes of reading, 2 s of computing on a laptop CPU.

**Paper:** section 3."""
    caption = "**What you see.** A.\n\n**What it does not show.** B."
    code = [new_code_cell(INSTALL_CELL), new_code_cell("import math")]
    notebook = new_notebook(cells=[new_markdown_cell(first), *code])
    for title in SECTIONS:
        picture = new_output("display_data", {"image/png": "", "text/plain": "<Figure>"})
        notebook.cells += [
            new_markdown_cell(f"## {title}"),
            new_code_cell("draw()", outputs=[picture]),
            new_markdown_cell(f"{caption} [See](#What-it-costs)."),
        ]
    for count, cell in enumerate(code_cells(notebook), 1):
        cell.execution_count = count
    return clean(notebook)


def problems_of(notebook, folder):
    for name in ("01_a", "02_b", "03_c"):
        write(folder / f"{name}.ipynb", notebook)
    return {
        c.__name__.removeprefix("check_"): [*c(notebook, folder / "02_b.ipynb")] for c in CHECKS
    }


def test_a_good_notebook_passes(tmp_path):
    assert not any(problems_of(small_notebook(), tmp_path).values())


@pytest.mark.parametrize(
    ("check", "cell", "change"),
    [
        ("first_cell", 0, {"source": "# 2 · B"}),
        ("first_cell", 5, {"source": "# Another H1"}),
        ("install_cell", 1, {"source": "import transformer_lib"}),
        ("sections", 3, {"source": "### You are here"}),
        ("outputs", 4, {"execution_count": None}),
        ("outputs", 4, {"metadata": {"collapsed": True}}),
        ("outputs", 4, {"outputs": [new_output("stream", name="stderr", text="hm")]}),
        ("outputs", 4, {"outputs": [new_output("error", ename="", evalue="", traceback=[])]}),
        ("short_cells", 4, {"source": "x = 1\n" * 26}),
        ("short_cells", 3, {"cell_type": "code", "execution_count": 1, "outputs": []}),
        ("every_cell_does_something", 4, {"outputs": []}),
        ("tags", 4, {"metadata": {"tags": ["hidden"]}}),
        ("plain_python", 4, {"source": "%time draw()"}),
        ("plain_python", 4, {"source": "!ls"}),
        ("plain_python", 4, {"source": "import seaborn"}),
        ("plain_python", 4, {"source": "from socket import socket"}),
        ("portable", 4, {"source": "open('/home/me/x')"}),
        ("portable", 4, {"outputs": [new_output("stream", text="C:\\x")]}),
        ("portable", 5, {"source": "![a](https://example.org/a.png)"}),
        ("portable", 5, {"source": '<img src="https://example.org/a.png">'}),
        ("portable", 5, {"attachments": {"a.png": {"image/png": ""}}}),
        ("portable", 5, {"source": "x" * 400_000}),
        ("links", 5, {"source": "[there](04_d.ipynb)"}),
        ("links", 5, {"source": "[there](01_a.ipynb#Nowhere)"}),
        ("captions", 8, {"source": "**What you see.** A."}),
    ],
)
def test_each_check_can_fail(check, cell, change, tmp_path):
    notebook = small_notebook()
    notebook.cells[cell].update(nbformat.from_dict(change))
    assert problems_of(notebook, tmp_path)[check]


def test_long_cells_are_seen(tmp_path):
    notebook = small_notebook()
    for cell in code_cells(notebook)[1:]:
        cell.source = "x = 1\n" * 6
    assert problems_of(notebook, tmp_path)["short_cells"]


def test_some_notebooks_have_sections_of_their_own():
    cells = [new_markdown_cell(f"## {title}") for title in OWN_SECTIONS["00"]]
    own, common = Path("00_a.ipynb"), Path("01_a.ipynb")
    assert not [*check_sections(new_notebook(cells=cells), own)]
    assert [*check_sections(new_notebook(cells=cells[1:]), own)]
    assert [*check_sections(new_notebook(cells=cells), common)]


def test_the_guide_for_authors_shows_the_install_cell():
    assert INSTALL_CELL in (ROOT / "tools" / "README.md").read_text("utf-8")
