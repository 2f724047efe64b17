"""Demand averaged over time: a long, stable window and a short one that notices a panic.

Decides what "the demand lately" is. How many replicas that asks for is `autoscaling`'s business.
The two windows are Knative's (60 s and a tenth of it).
"""

from __future__ import annotations

from collections import deque

STABLE_WINDOW = 60.0
"""Seconds. Long enough that a burst of short requests does not start a GPU for itself."""

PANIC_WINDOW = 6.0
"""Seconds. Short enough to follow a surge before the line is long."""

_BUCKET = 1.0


class DemandWindow:
    """Time-weighted averages of a level that holds from each `record` to the next.

    The area under the level is kept in buckets of a second, so memory is bounded by the window
    and not by traffic. Moments must not go backwards; one that does counts as the latest.
    """

    __slots__ = ("_areas", "_begun", "_changed_at", "_level", "_now")

    def __init__(self) -> None:
        self._areas: deque[tuple[int, float]] = deque()
        """(number of the bucket, demand-seconds in it), oldest first; empty ones are left out."""
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
        self._areas.clear()
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
        since = self._now - span
        area = 0.0
        for number, in_bucket in self._areas:
            start = max(number * _BUCKET, self._begun)
            end = min((number + 1) * _BUCKET, self._now)
            if end > since and end > start:
                area += in_bucket * min((end - since) / (end - start), 1.0)
        return area / span

    def _advance(self, now: float) -> None:
        if self._begun is None:
            self._begun = self._now = self._changed_at = now
            return
        if now <= self._now:
            return
        if self._level:
            self._fill(max(self._now, now - STABLE_WINDOW - _BUCKET), now)
        self._now = now
        oldest = int((now - STABLE_WINDOW) // _BUCKET)
        while self._areas and self._areas[0][0] < oldest:
            self._areas.popleft()

    def _fill(self, start: float, end: float) -> None:
        number = int(start // _BUCKET)
        while start < end:
            edge = min((number + 1) * _BUCKET, end)
            self._add(number, self._level * (edge - start))
            start = edge
            number += 1

    def _add(self, number: int, area: float) -> None:
        if self._areas and self._areas[-1][0] == number:
            area += self._areas.pop()[1]
        self._areas.append((number, area))
