"""The final definitions in the notebooks are those of the library."""

import ast

import nbformat
import pytest

import mirror
from notebooks import ROOT, read, write

HOMES = [pytest.param(*home, id=home[0].stem) for home in mirror.homes()]
LIBRARY = {module: ROOT / "transformer_lib" / f"{module}.py" for module in mirror.HOMES}


def mirrored_names(notebook):
    cells = mirror.mirror_cells(notebook)
    return sorted(str(mirror.name_of(n)) for c in cells for n in ast.parse(c.source).body)


@pytest.mark.parametrize("module", LIBRARY)
def test_every_definition_is_public(module):
    body = ast.parse(LIBRARY[module].read_text("utf-8")).body
    defined = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    assert defined <= set(mirror.public(LIBRARY[module]))


@pytest.mark.parametrize(("module", "path"), HOMES)
def test_mirror_cells_hold_each_public_name_once_and_nothing_else(module, path):
    assert mirrored_names(read(path)) == sorted(mirror.public(module))


@pytest.mark.parametrize(("module", "path"), HOMES)
def test_notebook_and_library_agree(module, path):
    diff = mirror.differences(module, read(path))
    assert not diff, f"{path.name} differs from {module.name}; run `make mirror`\n{diff}"


def test_drafts_carry_other_names():
    public = {name for module in LIBRARY.values() for name in mirror.public(module)}
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        notebook = read(path)
        drafts = [c for c in notebook.cells if c.cell_type == "code"]
        drafts = [c for c in drafts if c not in mirror.mirror_cells(notebook)]
        taken = {name for c in drafts for name in mirror.definitions(c.source)} & public
        assert not taken, f"{path.name} defines {taken} outside its mirror cells"


MODULE = '''\
from functools import cache

__all__ = ["BASE", "power"]

BASE = 2


@cache
def power(n):
    """Raise BASE to n."""
    return BASE**n  # fast
'''
GOOD = '''\
BASE = 2


@cache
def power(n):
    """Raise BASE to n."""
    # Comments and layout are free.
    return (BASE ** n)'''


@pytest.fixture
def course(tmp_path):
    """Build a course of one module and one notebook; return a function that does it."""
    module = tmp_path / "transformer_lib" / "attention.py"
    path = tmp_path / "notebooks" / f"{mirror.HOMES['attention']}.ipynb"

    def build(source):
        for file in (module, path):
            file.parent.mkdir()
        module.write_text(MODULE)
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["mirror"]})
        write(path, nbformat.v4.new_notebook(cells=[cell]))
        return module, path

    return build


def test_comments_and_layout_are_free(course):
    module, path = course(GOOD)
    before = path.read_bytes()
    mirror.main(path.parents[1])
    assert mirror.differences(module, read(path)) == ""
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [("** n", "* n"), ("@cache\n", ""), ("Raise BASE to n.", "Power."), ("= 2", "= 3")],
)
def test_a_difference_is_seen_and_mended(course, old, new):
    module, path = course(GOOD.replace(old, new))
    assert (new or "+@cache") in mirror.differences(module, read(path))
    mirror.main(path.parents[1])
    assert mirror.differences(module, read(path)) == ""
    assert mirrored_names(read(path)) == ["BASE", "power"]


@pytest.mark.parametrize(
    "source",
    [
        GOOD + "\n\n\nprint(1)",
        GOOD + "\n\n\ndef other(): ...",
        GOOD.replace("BASE = 2", "BASE = 2\nBASE = 2"),
    ],
)
def test_a_stray_statement_is_seen(course, source):
    module, path = course(source)
    assert mirrored_names(read(path)) != sorted(mirror.public(module))
