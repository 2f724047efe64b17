"""The policies that are compared: scaling bounds, an idle timeout, and hours in which one stays up.

Decides what a schedule means. Which policies are worth comparing is the command line's business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

    from activator.core.endpoint import ScalePolicy

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SCHEDULE = re.compile(
    r"(?:(?P<first>[a-z]{3})(?:-(?P<last>[a-z]{3}))? )?"
    r"(?P<start>\d\d?:\d\d)-(?P<end>\d\d?:\d\d)"
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One replica is kept up between two times of day, on these days; the end is exclusive.

    An end before the start, or at it, is on the next day.
    """

    days: frozenset[int]
    """0 = Monday."""
    start: time
    end: time
    zone: tzinfo = UTC
    words: str = ""

    def is_on(self, at: float) -> bool:
        """At this Unix time."""
        today = datetime.fromtimestamp(at, self.zone).replace(hour=0, minute=0, second=0)
        return any(
            begin <= at < end
            for begin, end in map(self._window, (today - timedelta(days=1), today))
        )

    def next_change(self, after: float) -> float:
        """The first Unix time later than `after` at which it begins or ends."""
        today = datetime.fromtimestamp(after, self.zone).replace(hour=0, minute=0, second=0)
        edges = (
            edge
            for days in range(-1, 9)
            for edge in self._window(today + timedelta(days=days))
            if edge > after
        )
        return min(edges, default=float("inf"))

    def _window(self, day: datetime) -> tuple[float, float]:
        """Of this day, as Unix times; empty and in the past if it has none."""
        if day.weekday() not in self.days:
            return float("-inf"), float("-inf")
        begin = datetime.combine(day.date(), self.start, self.zone)
        ending = day.date() + timedelta(days=self.end <= self.start)
        return begin.timestamp(), datetime.combine(ending, self.end, self.zone).timestamp()


def parse_schedule(text: str, *, zone: tzinfo = UTC) -> Schedule:
    """`mon-fri 08:00-18:00`, `sat 9:00-12:00` or, every day, `22:00-6:00`. Raises ValueError."""
    found = _SCHEDULE.fullmatch(text.strip().lower())
    try:
        if found is None:
            raise ValueError("its form is wrong")
        days = frozenset(range(7))
        if found["first"]:
            first = DAYS.index(found["first"])
            last = DAYS.index(found["last"]) if found["last"] else first
            days = frozenset((first + i) % 7 for i in range((last - first) % 7 + 1))
        start, end = _time_of_day(found["start"]), _time_of_day(found["end"])
    except ValueError as wrong:
        raise ValueError(
            f"{text!r} is no schedule; one looks like 'mon-fri 08:00-18:00'"
        ) from wrong
    return Schedule(days, start, end, zone, words=text.strip().lower())


def _time_of_day(text: str) -> time:
    hour, minute = text.split(":")
    return time(int(hour), int(minute))


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to scale an endpoint."""

    name: str
    scale: ScalePolicy
    schedule: Schedule | None = None

    def scale_at(self, at: float) -> ScalePolicy:
        """What holds at this Unix time."""
        if self.schedule is None or not self.schedule.is_on(at):
            return self.scale
        return replace(self.scale, min=max(self.scale.min, 1))

    def next_change(self, after: float) -> float:
        """When another scale policy holds; infinity if never."""
        return self.schedule.next_change(after) if self.schedule else float("inf")
