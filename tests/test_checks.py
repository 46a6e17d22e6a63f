"""The exercises' checkers: each accepts what is right, however written, and names the mistake.

`tests/wrong_answers/` holds plausible wrong answers, and right ones unlike those of the notebooks.
A table of what was caught stands at the end of the test run. That the notebooks run with their
solutions filled in is shown by `tests/test_lab.py`.
"""

import ast
import copy
import re
import time
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import torch

from exercises import exercises, without_solutions
from notebooks import ROOT, read
from transformer_lib import checks
from transformer_lib.checks import judging
from transformer_lib.checks.judging import EXERCISES, NotRight, exercise

NOTEBOOKS = {path.name[:2]: path for path in sorted(ROOT.glob("notebooks/*.ipynb"))}
WITH_EXERCISES = [f"{number:02}" for number in range(1, 12)]


def answers(kind):
    """Collect the answers of one kind from every file: (exercise, label, answer)."""
    for path in sorted(Path(__file__).with_name("wrong_answers").glob("*.py")):
        spec = spec_from_file_location(f"wrong_answers_{path.stem}", path)
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, labelled in getattr(module, kind).items():
            yield from ((name, label, answer) for label, answer in labelled.items())


WRONG, ALSO_RIGHT = list(answers("WRONG")), list(answers("ALSO_RIGHT"))


def names_of(cases):
    return [f"{name}: {label}" for name, label, _ in cases]


def in_notebooks():
    """Every exercise in the notebooks: its name → (notebook, exercise)."""
    found = {}
    for number, path in NOTEBOOKS.items():
        notebook = read(path)
        for one in exercises(notebook):
            name = re.match(r"check\.(\w+)", notebook.cells[one.check].source)[1]
            found[name] = number, notebook, one
    return found


IN_NOTEBOOKS = in_notebooks()


def answer_of(name, code):
    """Run the notebook's imports and the code, and return what the check cell would be given."""
    _, notebook, one = IN_NOTEBOOKS[name]
    space = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and "subprocess" not in cell.source:
            nodes = ast.parse(cell.source).body
            imports = [n for n in nodes if isinstance(n, ast.Import | ast.ImportFrom)]
            exec(compile(ast.Module(imports, []), "imports", "exec"), space)
    plt = space.get("plt")
    if plt:
        plt.switch_backend("agg")
    exec("from transformer_lib import *", space)
    exec(code, space)
    argument = re.fullmatch(r"check\.\w+\((.+)\)", notebook.cells[one.check].source)[1]
    return eval(argument, space)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right_and_the_stub_is_not_done_yet(name, record_property):
    assert name in IN_NOTEBOOKS, "no notebook has this exercise"
    number, notebook, one = IN_NOTEBOOKS[name]
    entry = EXERCISES[name]
    assert int(number) == entry.notebook
    stub = entry.judge(answer_of(name, notebook.cells[one.stub].source))
    assert stub == (None, f"… {name}: not done yet")
    start = time.process_time()
    solution = entry.judge(answer_of(name, one.code))
    assert solution == (True, f"✓ {name}: right")
    assert time.process_time() - start < 30  # a second on a quiet machine; the limit is generous
    record_property("checker", ["solution", number, name])


@pytest.mark.parametrize(("name", "label", "case"), WRONG, ids=names_of(WRONG))
def test_a_wrong_answer_is_recognised(name, label, case, record_property):
    answer, words = case
    verdict = EXERCISES[name].judge(answer)
    assert verdict.right is False, verdict.words
    assert words in verdict.words
    assert "Traceback" not in verdict.words
    record_property("checker", ["wrong", f"{EXERCISES[name].notebook:02}", name])


@pytest.mark.parametrize(("name", "label", "answer"), ALSO_RIGHT, ids=names_of(ALSO_RIGHT))
def test_a_right_answer_is_accepted_however_written(name, label, answer):
    verdict = EXERCISES[name].judge(answer)
    assert verdict.right, verdict.words


def test_every_exercise_has_three_wrong_answers():
    counts = {name: sum(wrong[0] == name for wrong in WRONG) for name in EXERCISES}
    assert {name: count for name, count in counts.items() if count < 3} == {}
    assert {name for name, *_ in WRONG + ALSO_RIGHT} <= EXERCISES.keys()


def test_every_check_in_a_notebook_exists():
    assert IN_NOTEBOOKS.keys() == EXERCISES.keys()
    assert list(IN_NOTEBOOKS) == list(EXERCISES), "the order is another one"
    assert EXERCISES.keys() < set(checks.__all__)


@pytest.mark.parametrize("number", WITH_EXERCISES)
def test_each_notebook_has_four_to_six_exercises(number):
    notebook = read(NOTEBOOKS[number])
    found = exercises(notebook)
    assert 4 <= len(found) <= 6
    head = r"(?s)### (\d) · .+?\n\n([●○]{4}) · (\d+) minutes · (.+?)\n\n.+"
    heads = [c.source for c in notebook.cells if re.match(r"### \d · ", c.source)]
    matches = [re.fullmatch(head, source) for source in heads]
    assert all(matches), "a head must be: ### 1 · Title, ●●○○ · 10 minutes · kind, then the task"
    assert [int(match[1]) for match in matches] == list(range(1, len(found) + 1))
    assert all(re.fullmatch("●+○*", match[2]) for match in matches)
    kinds = {match[4] for match in matches}
    known = {"by hand", "predict, then run", "write the function", "find the bug", "explain a map"}
    assert kinds <= known
    assert "predict, then run" in kinds


def test_a_notebook_without_solutions_keeps_everything_else():
    notebook = read(NOTEBOOKS["01"])
    stripped = without_solutions(notebook)
    count = len(exercises(notebook))
    assert len(stripped.cells) == len(notebook.cells) - count
    assert "<summary>Solution" not in str(stripped)
    assert str(stripped).count("<summary>Hint") == count


# --- judging ----------------------------------------------------------------------------


def judged(checker, answer):
    """Register a checker for a moment and judge an answer with it."""
    exercise(99, 1)(checker)
    return EXERCISES.pop(checker.__name__).judge(answer)


def test_the_learners_random_numbers_stay_as_they_are():
    torch.manual_seed(3)
    expected = torch.rand(5)
    torch.manual_seed(3)
    judged(lambda answer: torch.rand(7), 0)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 1 / 0, "stopped with ZeroDivisionError: division by zero"),
        (lambda x: exit(3), "stopped with SystemExit"),
        (lambda x, y: x, "missing 1 required positional argument"),
        (lambda x: answer_without_end(x), "stopped with RecursionError"),
        (lambda x: x.add_(1), "changed its input"),
        (lambda x: None, "is the return missing?"),
        (lambda x: {1: 2}, "a tensor"),
        (lambda x: x[:2], "expected  shape (3,)"),
        (lambda x: x * float("nan"), "division by zero"),
        (lambda x: x + 1, "came      [1, 2, 3]"),
        (lambda x: (_ for _ in ()).throw(ValueError("long " * 100)), "long long lo…"),
        (3, "callable"),
    ],
)
def test_whatever_a_learner_does_becomes_words(answer, words):
    def checker(answer):
        judging.expect_true(callable(answer), "something callable is expected")
        judging.expect("x", answer(torch.arange(3.0)), torch.arange(3.0))

    verdict = judged(checker, answer)
    assert verdict.right is False
    assert words in verdict.words
    assert len(verdict.words) < 500


def answer_without_end(x):
    return answer_without_end(x)


@pytest.mark.parametrize("answer", [..., lambda x: ..., lambda x: (x, ...)])
def test_an_untouched_stub_is_not_done_yet(answer):
    def checker(answer):
        judging.unpack(answer(1), "a", "b")

    assert judged(checker, answer).right is None


def test_a_tuple_of_another_length_is_named():
    with pytest.raises(NotRight, match=r"a tuple \(output, weights\) is expected, 3 came"):
        judging.unpack(3, "output", "weights")
    assert judging.unpack([1, 2], "a", "b") == (1, 2)


def test_a_mask_of_numbers_is_not_a_mask():
    true = torch.tensor([True, False])
    judging.expect("mask", true, true)
    with pytest.raises(NotRight, match=r"dtype torch.float32"):
        judging.expect("mask", true.float(), true)


def test_a_known_mistake_that_is_right_here_is_no_mistake():
    x = torch.ones(3)
    judging.expect("x", x, x, {"wrong": x.clone()})
    with pytest.raises(NotRight, match="likely    doubled"):
        judging.expect("x", 2 * x, x, {"wrong": x, "doubled": 2 * x})


def test_progress_counts_what_is_right_in_this_session(capsys):
    kept = copy.copy(judging._verdicts)
    try:
        judging._verdicts.clear()
        checks.weight_of_milk(0.53)
        checks.ten_times_the_queries("a")
        checks.attention_weights(...)
        capsys.readouterr()
        checks.progress()
        assert re.search(r"notebook 01  ●✗○+  1 of \d", capsys.readouterr().out)
    finally:
        judging._verdicts.clear()
        judging._verdicts.update(kept)
