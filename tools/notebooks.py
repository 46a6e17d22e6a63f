"""Execute notebooks in fresh kernels, clean them, and save those whose bytes changed.

python tools/notebooks.py [NOTEBOOK ...]        all of the course when none is named
"""

import base64
import io
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def read(path):
    """Read a notebook."""
    return nbformat.read(path, as_version=4)


def write(path, notebook):
    """Save a notebook, all of it or nothing; say whether its bytes changed."""
    new = (nbformat.writes(notebook).rstrip("\n") + "\n").encode()
    if path.exists() and path.read_bytes() == new:
        return False
    draft = path.with_suffix(".tmp")
    draft.write_bytes(new)
    draft.replace(path)
    return True


def execute(path):
    """Run every cell in a fresh kernel, in the notebook's folder, and return the notebook.

    Raises:
        RuntimeError: a cell failed, took too long or wrote to stderr.
    """
    notebook = read(path)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    client = NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        counts = [cell.get("execution_count") or 0 for cell in notebook.cells]
        raise RuntimeError(f"{path.name}, code cell {max(counts)}:\n{error}") from None
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise RuntimeError(
                    f"{path.name}, code cell {cell.execution_count} writes to stderr:\n\n"
                    f"{cell.source}\n\n{output.text}"
                )
    return notebook


def shrink(notebook):
    """Reduce pictures to 128 colours, a quarter of the bytes; with 64, colour bars break up."""
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        if "image/png" in output.get("data", {}):
            png = base64.b64decode(output.data["image/png"])
            small = io.BytesIO()
            image = Image.open(io.BytesIO(png)).convert("RGB")
            image.quantize(128, dither=Image.Dither.NONE).save(small, "png", optimize=True)
            output.data["image/png"] = base64.b64encode(small.getvalue()).decode()
    return notebook


def clean(notebook):
    """Drop what differs between machines or from run to run; tags and ids stay."""
    language = dict(notebook.metadata.get("language_info", {}))
    language.pop("version", None)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": language})
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
    while notebook.cells and not notebook.cells[-1].source.strip():
        notebook.cells.pop()
    return notebook


def main(names):
    """Execute, clean and save; stop at the first notebook that fails."""
    for path in [Path(name) for name in names] or sorted(ROOT.glob("notebooks/*.ipynb")):
        start = time.perf_counter()
        try:
            notebook = execute(path)
        except RuntimeError as error:
            sys.exit(f"\n{error}")
        changed = write(path, clean(shrink(notebook)))
        seconds = time.perf_counter() - start
        print(f"{seconds:6.1f} s  {path.name}{'  (saved)' if changed else ''}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
