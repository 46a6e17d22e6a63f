"""Measuring on a machine that others use, too: CPU time, in turns, medians and spreads."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

ROUNDS = (3, 15)  # at least, at most
SECONDS = 40.0  # what the rounds of one comparison may take


@dataclass
class Comparison:
    """What several contestants took for the same thing, in turns.

    Args:
        what: what was measured, for the report.
        unit: of the values: "ms" or "MB"; less is better.
        values: contestant → a value for each round. All the others are compared with the first.
        failures: contestant → why it has no values.
    """

    what: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def reference(self) -> str:
        """The contestant that all are compared with."""
        return next(iter(self.values))

    def ratio(self, who: str, to: str | None = None) -> tuple[float, float, float]:
        """Divide one contestant's values by another's, round by round.

        Args:
            who: the one.
            to: the other; the first of all if None.

        Returns:
            the median of the ratios, and the two ends of their middle half.
        """
        pairs = zip(self.values[who], self.values[to or self.reference], strict=True)
        return spread([a / b for a, b in pairs])


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return the median of the values, and the two ends of their middle half."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def cpu_ms(run: Callable[[], object]) -> float:
    """Run something once; return the processor time that it took, in ms."""
    before = time.process_time()
    run()
    return 1000 * (time.process_time() - before)


def in_turns(
    what: str,
    runs: Mapping[str, Callable[[], object]],
    unit: str = "ms",
    measure: Callable[[Callable[[], object]], float] = cpu_ms,
    seconds: float = SECONDS,
) -> Comparison:
    """Let the contestants take turns, so that what disturbs the machine disturbs all alike.

    Args:
        what: what is measured, for the report.
        runs: contestant → what it does. The first is the one that all are compared with. One
            that fails in its first, unmeasured run is left out and named.
        unit: of what `measure` returns.
        measure: runs it and returns its value.
        seconds: the time after which no new round begins.

    Returns:
        the values of each.

    Raises:
        RuntimeError: the contestant that all are compared with fails.
    """
    found = Comparison(what, unit)
    for name, run in runs.items():
        try:
            run()
            found.values[name] = []
        except Exception as error:  # whatever a peer's library raises
            if not found.values:
                raise RuntimeError(f"{what}: {name}, the measure of all, fails") from error
            found.failures[name] = one_line(error)
    begin, (least, most) = time.perf_counter(), ROUNDS
    for done in range(most):
        if done >= least and time.perf_counter() - begin > seconds:
            break
        for name, values in found.values.items():
            values.append(measure(runs[name]))
    return found


def one_line(error: Exception) -> str:
    """Say in one line what went wrong."""
    text = str(error).strip()
    lines = text.splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[-1][:120]}"
