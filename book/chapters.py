"""Makes a chapter of a notebook: what suits JupyterLab, but not a page, is changed as Sphinx reads.

The notebooks themselves stay as they are.
"""

import re
import shutil
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def copy_notebooks(app, config):
    """Put the notebooks into the book's folder: Sphinx does not look beyond it."""
    shutil.rmtree(app.srcdir / "notebooks", ignore_errors=True)
    shutil.copytree(ROOT / "notebooks", app.srcdir / "notebooks")


def read_notebook(app, name, source):
    """Change a notebook (JSON text) on its way into the book."""
    if app.env.doc2path(name).suffix != ".ipynb":
        return
    notebook = nbformat.reads(source[0], as_version=4)
    add_download(notebook.cells[0], f"{name}.ipynb")
    notebook.cells[1].metadata.tags = ["hide-cell"]  # the installation
    cells = notebook.cells
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = point_into_repository(cell.source)
    for before, cell, after in zip(cells, cells[1:], cells[2:], strict=False):
        if cell.cell_type == "code":
            keep_one_of_picture_and_viewer(cell)
            describe_pictures(cell, before, after)
    source[0] = nbformat.writes(notebook)


def add_download(cell, path):
    """Put a link to the file behind the link to Colab."""
    colab = re.compile(r"\[Open in Colab\]\([^)]+\)")
    cell.source = colab.sub(rf"\g<0> · {{download}}`Download </{path}>`", cell.source, count=1)


def keep_one_of_picture_and_viewer(cell):
    """Drop the still picture that goes out before each interactive viewer."""
    html = [output.get("data", {}).get("text/html", "") for output in cell.outputs]
    cell.outputs = [
        output
        for output, following in zip(cell.outputs, [*html[1:], ""], strict=False)
        if "attention-view" not in following
    ]


def describe_pictures(cell, before, after):
    """Give a cell's pictures an alternative text: how the caption that stands below begins.

    A drawing without a caption ("You are here") is described in the cell above.
    """
    caption = re.match(r"\*\*What you see\.\*\* *(.+)", after.source)
    text = caption[1] if caption else before.source.split("\n\n")[-1]
    cell.metadata.mystnb = {"image": {"alt": opening(text)}}


def opening(text):
    """Return a Markdown paragraph's first sentences, at least 60 characters, without markup."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)  # links
    text = re.sub(r"[*`$]", "", text)
    return re.match(r".{60,}?[.?!](?= |$)|.*", text)[0]


def point_into_repository(markdown):
    """Lead links out of the notebooks' folder to the API reference, or to the repository."""
    markdown = re.sub(
        r"\[([^]]+)\]\(\.\./transformer_lib/(\w+)\.py\)",
        r"{py:mod}`\1 <transformer_lib.\2>`",
        markdown,
    )
    return markdown.replace("](../", f"]({REPOSITORY}/blob/main/")


def list_chapters(app, name, source):
    """Fill the table of chapters: each with what its reader builds."""
    if name == "index":
        rows = [chapter_row(nbformat.read(path, as_version=4), path) for path in NOTEBOOKS]
        source[0] = source[0].replace("CHAPTERS", "\n".join(rows))


def chapter_row(notebook, path):
    """Return the line of one notebook, from its first cell."""
    first = notebook.cells[0].source
    title = re.match(r"# (.+)", first)[1]
    built = re.search(r"\*\*You build:\*\* (.+)", first)[1]
    minutes = re.search(r"about (\d+) minutes", first)[1]
    return f"| [{title}](notebooks/{path.name}) | {opening(built)} | {minutes} |"


def setup(app):
    """Take part in the reading of sources."""
    app.connect("config-inited", copy_notebooks)
    app.connect("source-read", read_notebook)
    app.connect("source-read", list_chapters)
    return {"parallel_read_safe": True}
