"""How long a start takes, learned from earlier ones: quantiles of the last few, less their luck.

Decides what to expect. Measuring the phases is the control loop's business, turning the
expectation into `Retry-After` or words is the proxy's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REMEMBERED_STARTS = 20
"""Enough for quantiles, few enough that a new image or node type is learned within a day's use."""

_LOW, _TYPICAL, _HIGH = 0.1, 0.5, 0.9
_LOWER, _HIGHER = 0.05, 0.95
"""Of starts of one kind, before they are shrunk."""

_USUAL = 0.14
"""How far from the typical start the ends of a range are where nothing is known, as a share of it:
eight of ten starts whose standard deviation is a tenth of what they take."""
_CREDIT = 12
"""As many starts speak for themselves as loudly as that does."""
_APART = 1.5
"""A start that takes so many times as long as the next shorter one is of another kind: its image
had to be fetched, or a machine added."""
_PAST = 1.2
"""Who has taken so many times as long as the longest start of a kind is not of that kind."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds. About eight of ten starts end between `low` and `high`."""

    low: float
    typical: float
    high: float


class StartTimes:
    """The phase durations of the last `REMEMBERED_STARTS` successful starts."""

    __slots__ = ("_known", "_starts")

    def __init__(self) -> None:
        self._starts: deque[dict[str, float]] = deque(maxlen=REMEMBERED_STARTS)
        self._known: tuple[list[float], Estimate] | None = None
        """What is made of these, of whole starts: how long they took, the shortest first, and what
        to expect. It is asked for far more often than there is anything to learn."""

    def learn(self, phases: Mapping[str, float]) -> None:
        """One start: seconds spent in each phase, one after the other (`requested`, `started`,
        `ready`, `first_byte`, or whichever are known). A start without phases teaches nothing."""
        if phases:
            self._starts.append({name: max(spent, 0.0) for name, spent in phases.items()})
            self._known = None

    def recall(self, earlier: Sequence[Mapping[str, float]]) -> None:
        """Starts from before all that were learned so far, the oldest first."""
        later = self._starts
        self._starts = deque(maxlen=REMEMBERED_STARTS)
        for phases in (*earlier, *later):
            self.learn(phases)

    def estimate(self) -> Estimate | None:
        """What a whole start takes; None before the first has been learned."""
        known = self._learned()
        return known[1] if known else None

    def remaining(self, elapsed: float) -> Estimate | None:
        """What is left of a start that has taken `elapsed` seconds so far.

        Shrinks with `elapsed` and never goes below zero: a start that takes longer than all that
        is known is expected any moment. Only one that has outlasted all starts of one kind is
        told what those of the next kind take.
        """
        known = self._learned()
        if known is None:
            return None
        totals, whole = known
        likely = whole
        kinds = _kinds(totals)
        while len(kinds) > 1 and elapsed > kinds[0][-1] * _PAST:
            del kinds[0]
            likely = _expected([total for kind in kinds for total in kind])
        return Estimate(
            low=max(min(likely.low, whole.high) - elapsed, 0.0),
            typical=max(min(likely.typical, whole.high) - elapsed, 0.0),
            high=max(whole.high - elapsed, 0.0),
        )

    def _learned(self) -> tuple[list[float], Estimate] | None:
        if self._known is None and self._starts:
            totals = sorted(sum(start.values()) for start in self._starts)
            self._known = totals, _expected(totals)
        return self._known

    def phases(self) -> dict[str, float]:
        """The median of each phase in seconds, in the order in which phases were first told."""
        spent: dict[str, list[float]] = {}
        for start in self._starts:
            for name, seconds in start.items():
                spent.setdefault(name, []).append(seconds)
        return {name: _quantile(sorted(each), _TYPICAL) for name, each in spent.items()}


def _expected(totals: Sequence[float]) -> Estimate:
    """Of one or more starts, the shortest first. A quantile among starts of one kind reaches to
    the end of that kind."""
    low, typical, high = (_quantile(totals, share) for share in (_LOW, _TYPICAL, _HIGH))
    for kind in _kinds(totals):
        shortest, longest = _span(kind)
        if kind[0] <= low <= kind[-1]:
            low = shortest
        if kind[0] <= high <= kind[-1]:
            high = longest
            break
    return Estimate(min(low, typical), typical, max(high, typical))


def _span(kind: Sequence[float]) -> tuple[float, float]:
    """From where to where most starts of this kind go.

    The outer quantiles of a few starts are mostly luck, so how far they are from the median is
    shrunk towards what is usual. Upwards only where that widens the range: what was late once may
    be again, and to be told too much is better than too little.
    """
    count, middle = len(kind), _quantile(kind, _TYPICAL)
    weight = _CREDIT / (count + _CREDIT)
    usual = middle * _USUAL * (1 + 1 / count)  # the median itself is known no better
    early = middle - _quantile(kind, _LOWER)
    late = _quantile(kind, _HIGHER) - middle
    return (
        middle - early - weight * (usual - early),
        middle + late + max(weight * (usual - late), 0.0),
    )


def _kinds(totals: Sequence[float]) -> list[list[float]]:
    """One or more starts, the shortest first, apart where the next took much longer."""
    kinds = [[totals[0]]]
    for shorter, longer in pairwise(totals):
        if longer > shorter * _APART:
            kinds.append([])
        kinds[-1].append(longer)
    return kinds


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest ranks (R's and numpy's type 7)."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
