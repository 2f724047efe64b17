"""Demand averaged over time: a long, stable window and a short one that notices a panic.

Decides what "the demand lately" is. How many replicas that asks for is `autoscaling`'s business.
The two windows are Knative's (60 s and a tenth of it).
"""

from __future__ import annotations

from bisect import bisect_left

STABLE_WINDOW = 60.0
"""Seconds. Long enough that a burst of short requests does not start a GPU for itself."""

PANIC_WINDOW = 6.0
"""Seconds. Short enough to follow a surge before the line is long."""

_BUCKET = 1.0

_KEPT = 256
"""Buckets after which those before the window are swept out: a few times what it holds."""


class DemandWindow:
    """Time-weighted averages of a level that holds from each `record` to the next.

    The area under the level is kept in buckets of a second, so memory is bounded by the window
    and not by traffic. Moments must not go backwards; one that does counts as the latest.
    """

    __slots__ = ("_begun", "_changed_at", "_level", "_now", "_numbers", "_sums")

    def __init__(self) -> None:
        self._numbers: list[int] = []
        """Of the buckets that are not empty, oldest first."""
        self._sums: list[float] = []
        """Demand-seconds up to the end of each of them: an area is one difference."""
        self._begun: float | None = None
        self._now = 0.0
        self._level = 0
        self._changed_at = 0.0

    def record(self, demand: int, now: float) -> None:
        """From `now` on the demand is `demand`."""
        self._advance(now)
        if demand != self._level:
            self._level = demand
            self._changed_at = self._now

    def stable(self, now: float) -> float:
        """The average over the last 60 s, or over as long as there have been records."""
        return self._average(now, STABLE_WINDOW)

    def panic(self, now: float) -> float:
        """The average over the last 6 s, or over as long as there have been records."""
        return self._average(now, PANIC_WINDOW)

    def is_flat(self, now: float) -> bool:
        """Both averages are the present demand and stay so until it changes."""
        return self._begun is None or now - self._changed_at >= STABLE_WINDOW

    def forget(self) -> None:
        """As if nothing had been recorded."""
        self._numbers.clear()
        self._sums.clear()
        self._begun = None
        self._level = 0

    def _average(self, now: float, window: float) -> float:
        if self._begun is None:
            return 0.0
        self._advance(now)
        if self.is_flat(self._now):
            return float(self._level)
        span = min(window, self._now - self._begun)
        if span <= 0:
            return float(self._level)
        return self._area(self._now - span, begun=self._begun) / span

    def _area(self, since: float, *, begun: float) -> float:
        """Demand-seconds from then until now; within a bucket demand counts as even."""
        if not self._sums:
            return 0.0
        number = int(since // _BUCKET)
        at = bisect_left(self._numbers, number)
        before = self._sums[at - 1] if at else 0.0
        area = self._sums[-1] - before
        if at < len(self._numbers) and self._numbers[at] == number:
            start = max(number * _BUCKET, begun)
            end = min((number + 1) * _BUCKET, self._now)
            if end > start:
                area -= (self._sums[at] - before) * max(since - start, 0.0) / (end - start)
        return area

    def _advance(self, now: float) -> None:
        if self._begun is None:
            self._begun = self._now = self._changed_at = now
            return
        if now <= self._now:
            return
        if self._level:
            self._fill(max(self._now, now - STABLE_WINDOW - _BUCKET), now)
        self._now = now
        if len(self._numbers) > _KEPT:
            self._sweep(int((now - STABLE_WINDOW) // _BUCKET))

    def _sweep(self, oldest: int) -> None:
        gone = bisect_left(self._numbers, oldest)
        if gone:
            # what is left counts from nothing again, so that no sum grows until it is imprecise
            swept = self._sums[gone - 1]
            self._numbers = self._numbers[gone:]
            self._sums = [each - swept for each in self._sums[gone:]]

    def _fill(self, start: float, end: float) -> None:
        number = int(start // _BUCKET)
        while start < end:
            edge = min((number + 1) * _BUCKET, end)
            self._add(number, self._level * (edge - start))
            start = edge
            number += 1

    def _add(self, number: int, area: float) -> None:
        total = (self._sums[-1] if self._sums else 0.0) + area
        if self._numbers and self._numbers[-1] == number:
            self._sums[-1] = total
        else:
            self._numbers.append(number)
            self._sums.append(total)
