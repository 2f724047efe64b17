"""Interleaved rounds: every contestant is measured once a round, so that what the machine does
meanwhile hits all of them alike; the median round speaks."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.report import Cell

C = TypeVar("C")
T = TypeVar("T")


def interleaved(
    contestants: Sequence[C], *, rounds: int, measure: Callable[[C], T]
) -> list[list[T]]:
    """Of each contestant its measurements, one a round; each round begins with another one."""
    taken: list[list[T]] = [[] for _ in contestants]
    for turn in range(rounds):
        for step in range(len(contestants)):
            at = (turn + step) % len(contestants)
            taken[at].append(measure(contestants[at]))
    return taken


def middle(values: Iterable[float]) -> float:
    return float(median(values))


def spread(values: Sequence[float]) -> str:
    """How far the rounds lie apart, relative to their median."""
    centre = middle(values)
    if len(values) < 2 or not centre:
        return "-"
    return f"±{(max(values) - min(values)) / 2 / centre:.0%}"


def ratio(value: float, to: float | None) -> Cell:
    """None where there is nothing to compare with."""
    return None if not to else value / to


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest rank, of values in order. Raises ValueError if there are none."""
    if not ordered:
        raise ValueError("no values")
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
