"""Write each notebook twice for a class: without its solutions, and with them filled in.

python tools/exercises.py               writes the folders exercises/ and solutions/

An exercise is a code cell tagged `exercise`, the stub; below it the cell that checks it, a folded
hint and a folded solution, whose Python block takes the stub's place.
"""

import re
from copy import deepcopy
from typing import NamedTuple

from notebooks import ROOT, clean, read, write

FOLDED = r"(?s)<details><summary>{}</summary>\n\n(.+)\n\n</details>"
PYTHON = r"(?s)```python\n(.+?)\n```"


class Exercise(NamedTuple):
    """One exercise of a notebook: the numbers of its cells, and the solution's code."""

    stub: int
    check: int
    hint: int
    solution: int
    code: str


def exercises(notebook):
    """Find the exercises of a notebook.

    Raises:
        ValueError: one of them lacks its check, its hint or its solution.
    """
    found = []
    for stub, cell in enumerate(notebook.cells):
        if "exercise" in cell.metadata.get("tags", []):
            check, hint, solution = (deepcopy(c) for c in notebook.cells[stub + 1 : stub + 4])
            answer = re.fullmatch(FOLDED.format("Solution"), solution.source)
            code = re.search(PYTHON, answer[1]) if answer else None
            if not re.fullmatch(r"check\.\w+\(.+\)", check.source):
                raise ValueError(f"no check below the stub\n{cell.source}")
            if not re.fullmatch(FOLDED.format("Hint"), hint.source) or not code:
                raise ValueError(f"no folded hint and solution below the stub\n{cell.source}")
            found.append(Exercise(stub, stub + 1, stub + 2, stub + 3, code[1]))
    return found


def without_solutions(notebook):
    """Copy a notebook, its solutions left out."""
    copy = deepcopy(notebook)
    solutions = {exercise.solution for exercise in exercises(notebook)}
    copy.cells = [cell for i, cell in enumerate(copy.cells) if i not in solutions]
    return copy


def with_solutions(notebook):
    """Copy a notebook, each stub replaced by its solution, nothing executed."""
    copy = deepcopy(notebook)
    for exercise in exercises(notebook):
        copy.cells[exercise.stub].source = exercise.code
    for cell in copy.cells:
        if cell.cell_type == "code":
            cell.update(outputs=[], execution_count=None)
    return copy


def main():
    """Write both versions of every notebook that has exercises."""
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        notebook = read(path)
        if exercises(notebook):
            for name, make in (("exercises", without_solutions), ("solutions", with_solutions)):
                folder = ROOT / name
                folder.mkdir(exist_ok=True)
                write(folder / path.name, clean(make(notebook)))
                print(f"{name}/{path.name}")


if __name__ == "__main__":
    main()
