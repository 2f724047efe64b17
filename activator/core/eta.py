"""How long a start takes, learned from earlier ones: quantiles of the last few.

Decides what to expect. Measuring the phases is the control loop's business, turning the
expectation into `Retry-After` or words is the proxy's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REMEMBERED_STARTS = 20
"""Enough for quantiles, few enough that a new image or node type is learned within a day's use."""

_LOW, _TYPICAL, _HIGH = 0.1, 0.5, 0.9

_DOUBT = 0.5
"""How far one single start is trusted: the next may differ by this share of half of it. Shrinks as
1 / (starts + 1), so that twenty starts speak for themselves."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds. About eight of ten starts end between `low` and `high`."""

    low: float
    typical: float
    high: float


class StartTimes:
    """The phase durations of the last `REMEMBERED_STARTS` successful starts."""

    __slots__ = ("_starts",)

    def __init__(self) -> None:
        self._starts: deque[dict[str, float]] = deque(maxlen=REMEMBERED_STARTS)

    def learn(self, phases: Mapping[str, float]) -> None:
        """One start: seconds spent in each phase, one after the other (`requested`, `started`,
        `ready`, `first_byte`, or whichever are known). A start without phases teaches nothing."""
        if phases:
            self._starts.append({name: max(spent, 0.0) for name, spent in phases.items()})

    def recall(self, earlier: Sequence[Mapping[str, float]]) -> None:
        """Starts from before all that were learned so far, the oldest first."""
        later = self._starts
        self._starts = deque(maxlen=REMEMBERED_STARTS)
        for phases in (*earlier, *later):
            self.learn(phases)

    def estimate(self) -> Estimate | None:
        """What a whole start takes; None before the first has been learned."""
        totals = sorted(sum(start.values()) for start in self._starts)
        if not totals:
            return None
        typical = _quantile(totals, _TYPICAL)
        doubt = typical * _DOUBT / (len(totals) + 1)
        return Estimate(
            low=max(_quantile(totals, _LOW) - doubt, 0.0),
            typical=typical,
            high=_quantile(totals, _HIGH) + doubt,
        )

    def remaining(self, elapsed: float) -> Estimate | None:
        """What is left of a start that has taken `elapsed` seconds so far.

        Shrinks with `elapsed` and never goes below zero: a start that takes longer than all that
        is known is expected any moment.
        """
        whole = self.estimate()
        if whole is None:
            return None
        return Estimate(
            low=max(whole.low - elapsed, 0.0),
            typical=max(whole.typical - elapsed, 0.0),
            high=max(whole.high - elapsed, 0.0),
        )

    def phases(self) -> dict[str, float]:
        """The median of each phase in seconds, in the order in which phases were first told."""
        spent: dict[str, list[float]] = {}
        for start in self._starts:
            for name, seconds in start.items():
                spent.setdefault(name, []).append(seconds)
        return {name: _quantile(sorted(each), _TYPICAL) for name, each in spent.items()}


def _quantile(ordered: Sequence[float], share: float) -> float:
    """Linear interpolation between the two nearest ranks (R's and numpy's type 7)."""
    position = share * (len(ordered) - 1)
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)
