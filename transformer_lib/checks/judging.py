"""How an answer is judged: call it safely, compare, and say the likely mistake in words.

A checker is a function of one answer. It calls `expect`, `expect_number`, `expect_choice` or
`expect_true`, one mechanism after the other, and is registered with `@exercise`.
"""

import copy
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

__all__ = [
    "EXERCISES",
    "Exercise",
    "NotDone",
    "NotRight",
    "Verdict",
    "exercise",
    "expect",
    "expect_choice",
    "expect_number",
    "expect_true",
    "guard",
    "progress",
    "shaken",
    "unpack",
]


class NotDone(Exception):
    """The stub has not been touched."""


class NotRight(Exception):
    """What is wrong with an answer, in words for the learner."""


class Verdict(NamedTuple):
    """What a checker says: right, or not, or not done yet (None); and the words for it."""

    right: bool | None
    words: str


class Exercise(NamedTuple):
    """An exercise's place in the course, and how to judge an answer to it."""

    notebook: int
    number: int
    name: str
    judge: Callable[[Any], Verdict]


MOST_NUMBERS = 12  # that a verdict shows

EXERCISES: dict[str, Exercise] = {}  # by name, in the order of the course
_verdicts: dict[str, Verdict] = {}  # the last one of each, in memory alone


def exercise(notebook: int, number: int) -> Callable:
    """Make a checker of a function: register it, judge answers with it, print the verdict."""

    def register(checker: Callable[[Any], None]) -> Callable[[Any], None]:
        name = checker.__name__

        def judge(answer: Any) -> Verdict:
            with torch.random.fork_rng(devices=[]):  # the learner's random numbers stay as they are
                torch.manual_seed(0)
                try:
                    if answer is ...:
                        raise NotDone
                    checker(guard(answer) if callable(answer) else answer)
                except NotDone:
                    return Verdict(None, f"… {name}: not done yet")
                except NotRight as problem:
                    return Verdict(False, f"✗ {name}: {problem}")
            return Verdict(True, f"✓ {name}: right")

        @functools.wraps(checker)
        def check(answer: Any) -> None:
            _verdicts[name] = judge(answer)
            print(_verdicts[name].words)

        EXERCISES[name] = Exercise(notebook, number, name, judge)
        return check

    return register


def progress() -> None:
    """Print, for each notebook, how many of its exercises are right in this session."""
    for notebook in sorted({entry.notebook for entry in EXERCISES.values()}):
        names = [entry.name for entry in EXERCISES.values() if entry.notebook == notebook]
        marks = {True: "●", False: "✗", None: "○"}
        line = [marks[_verdicts[name].right if name in _verdicts else None] for name in names]
        print(f"notebook {notebook:02}  {''.join(line)}  {line.count('●')} of {len(line)}")


# --- preparing, and calling what the learner wrote --------------------------------------


def shaken(module: nn.Module) -> nn.Module:
    """Fill a module with random numbers: fresh norms and biases would hide mistakes."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def guard(function: Callable) -> Callable:
    """Wrap a learner's function: its errors become words, and its inputs must stay unchanged."""

    @functools.wraps(function, updated=())
    def guarded(*args, **kwargs):
        before = copy.deepcopy((args, kwargs))
        name = getattr(function, "__name__", "your function")
        try:
            came = function(*args, **kwargs)
        except (NotDone, NotRight):
            raise
        except (Exception, SystemExit) as error:
            raise NotRight(
                f"{name} stopped with {type(error).__name__}: {_short(error)}\n"
                f"  called with  {', '.join(map(_brief, [*args, *kwargs.values()]))}"
            ) from None
        if came is ...:
            raise NotDone
        if came is None:
            raise NotRight(f"{name} returned None: is the return missing?")
        if not _equal(before, (args, kwargs)):
            raise NotRight(
                f"{name} changed its input\n"
                "  likely    an operation in place (an assignment like x[…] = …, +=, or a name "
                "that ends in _): work on a new tensor"
            )
        return came

    return guarded


def unpack(came: Any, *names: str) -> tuple:
    """Take a tuple apart that should hold as many things as there are names."""
    if not isinstance(came, tuple | list) or len(came) != len(names):
        raise NotRight(f"a tuple ({', '.join(names)}) is expected, {_brief(came)} came")
    if any(item is ... for item in came):
        raise NotDone
    return tuple(came)


# --- comparing --------------------------------------------------------------------------


def expect(
    what: str,
    came: Any,
    expected: Tensor,
    mistakes: Mapping[str, Tensor] | None = None,
    tolerance: float = 1e-4,
) -> None:
    """Compare a tensor with the right one; if it is a known wrong one, say which mistake it is.

    Args:
        what: what is being checked, in words.
        came: the learner's; a list, number or array counts as the tensor it would make.
        expected: what is right.
        mistakes: words for a mistake → the tensor that it leads to.
        tolerance: how far each number may be off.
    """
    came = _tensor(what, came)
    for words, wrong in (mistakes or {}).items():
        if _close(came, wrong, tolerance) and not _close(wrong, expected, tolerance):
            raise NotRight(f"{what}\n{_both(came, expected)}\n  likely    {words}")
    if came.shape != expected.shape:
        shapes = f"  expected  shape {tuple(expected.shape)}\n  came      shape {tuple(came.shape)}"
        raise NotRight(f"{what}\n{shapes}")
    if expected.dtype == torch.bool and came.dtype != torch.bool:
        raise NotRight(f"{what}\n  expected  dtype torch.bool\n  came      dtype {came.dtype}")
    if not _close(came, expected, tolerance):
        hint = "\n  likely    a division by zero, or a row in which all is masked"
        nan = came.isnan().any() and not expected.isnan().any()
        raise NotRight(f"{what}\n{_both(came, expected)}{hint if nan else ''}")


def expect_number(
    came: Any,
    expected: float,
    mistakes: Mapping[str, float] | None = None,
    tolerance: float = 0.01,
) -> None:
    """Compare a number with the right one, which is not given away."""
    try:
        value = float(came)
    except (TypeError, ValueError, RuntimeError):
        raise NotRight(f"a number is expected, {_brief(came)} came") from None
    if abs(value - expected) <= tolerance:
        return
    for words, wrong in (mistakes or {}).items():
        if abs(value - wrong) <= tolerance:
            raise NotRight(f"{value:g} is not it\n  likely    {words}")
    raise NotRight(f"{value:g} is not it; it is {'larger' if expected > value else 'smaller'}")


def expect_choice(came: Any, right: str, reasons: Mapping[str, str]) -> None:
    """Compare the letter of an answer with the right one; say why another one is wrong.

    Args:
        came: a letter.
        right: the right one.
        reasons: each other letter → why it is not right.
    """
    letters = sorted([right, *reasons])
    choice = came.strip().lower() if isinstance(came, str) else came
    if choice not in letters:
        names = ", ".join(f'"{letter}"' for letter in letters)
        raise NotRight(f"one of {names} is expected, {_brief(came)} came")
    if choice != right:
        raise NotRight(f'not "{choice}"\n  think of  {reasons[choice]}')


def expect_true(condition: Any, problem: str) -> None:
    """Say what is wrong unless the condition holds."""
    if not condition:
        raise NotRight(problem)


def _tensor(what: str, came: Any) -> Tensor:
    """Turn a list, number or array into a tensor."""
    if isinstance(came, Tensor):
        return came.detach()
    try:
        return torch.as_tensor(came)
    except (TypeError, ValueError, RuntimeError):
        raise NotRight(f"{what}\n  expected  a tensor\n  came      {_brief(came)}") from None


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    """Whether two tensors have the same shape and, up to rounding, the same numbers."""
    if a.shape != b.shape or (a.dtype == torch.bool) != (b.dtype == torch.bool):
        return False
    return torch.allclose(a.double(), b.double(), rtol=0, atol=tolerance, equal_nan=True)


def _equal(a: Any, b: Any) -> bool:
    """Whether two nested structures hold the same tensors; other things count as equal."""
    if isinstance(a, Tensor):
        return a.shape == b.shape and torch.equal(a.nan_to_num(), b.nan_to_num())
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    return True


def _both(came: Tensor, expected: Tensor) -> str:
    """Lay two tensors one under the other; of large ones, the first place where they differ."""
    if came.shape == expected.shape and came.numel() > MOST_NUMBERS:
        place = (came != expected).nonzero()[0].tolist()
        at = f"  at {place} of shape {tuple(came.shape)}"
        came, expected = came[tuple(place)], expected[tuple(place)]
    else:
        at = ""
    return f"  expected  {_numbers(expected)}{at}\n  came      {_numbers(came)}{at}"


def _numbers(x: Tensor) -> str:
    """Write a small tensor out, a large one by its beginning."""
    first = x.flatten()[:MOST_NUMBERS].tolist()
    words = [str(n) if isinstance(n, bool | int) else f"{n:.3g}" for n in first]
    rest = ", …" if x.numel() > MOST_NUMBERS else ""
    shape = f"  shape {tuple(x.shape)}" if x.dim() else ""
    return f"[{', '.join(words)}{rest}]{shape}" if x.dim() else words[0]


def _brief(thing: Any) -> str:
    """Describe anything in a few words."""
    if isinstance(thing, Tensor):
        return f"a tensor of shape {tuple(thing.shape)}"
    if isinstance(thing, nn.Module):
        return type(thing).__name__
    return getattr(thing, "__name__", None) or _short(repr(thing))


def _short(text: Any) -> str:
    """Cut a long text."""
    line = " ".join(str(text).split())
    return line if len(line) <= 160 else line[:157] + "…"
