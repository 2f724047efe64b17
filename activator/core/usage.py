"""What an endpoint has used, as entries of a book that is kept by endpoint and day.

Decides what an entry adds to a book that may have some of its time already: every moment of an
endpoint is booked once, whoever books it and however often that is tried. Counting is `costs`', the
book is the store's.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

KEPT_DAYS: Final = 400
"""Days that are kept: a year can be compared with the one before until its books are closed."""
APART: Final = 60
"""Entries of an endpoint that wait for a store by themselves; older ones become one a day."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds are of one replica; money is in the unit of `costPerReplicaHour`."""

    ready_seconds: float = 0.0
    """Requests could be sent to it."""
    other_seconds: float = 0.0
    """It started, stopped, or was out of rotation."""
    saved_seconds: float = 0.0
    """It did not run, of `max(min, 1)` that would otherwise have."""
    cost: float = 0.0
    saved: float = 0.0
    cold_starts: int = 0
    cold_start_cost: float = 0.0
    """Of the time that starts from zero took; part of `cost`."""

    def __add__(self, other: Usage) -> Usage:
        """Written out, as is the other: they are made for every endpoint again and again."""
        return Usage(
            self.ready_seconds + other.ready_seconds,
            self.other_seconds + other.other_seconds,
            self.saved_seconds + other.saved_seconds,
            self.cost + other.cost,
            self.saved + other.saved,
            self.cold_starts + other.cold_starts,
            self.cold_start_cost + other.cold_start_cost,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.ready_seconds - other.ready_seconds,
            self.other_seconds - other.other_seconds,
            self.saved_seconds - other.saved_seconds,
            self.cost - other.cost,
            self.saved - other.saved,
            self.cold_starts - other.cold_starts,
            self.cold_start_cost - other.cold_start_cost,
        )

    def share(self, part: float) -> Usage:
        """So much of it; a cold start is there or not."""
        scaled = {name: getattr(self, name) * part for name in FIGURES}
        return Usage(**scaled | {"cold_starts": int(scaled["cold_starts"] + 0.5)})


NOTHING: Final = Usage()
FIGURES: Final = tuple(each.name for each in fields(Usage))


@dataclass(frozen=True, slots=True)
class Entry:
    """What one endpoint used from `began` to `ended`, Unix time."""

    endpoint: str
    began: float
    ended: float
    usage: Usage

    @property
    def day(self) -> date:
        """The one, in UTC, that it counts for."""
        return day_of(self.began)

    def beyond(self, until: float) -> Usage | None:
        """What it adds to a book that has everything until then. None: nothing."""
        if self.ended <= until:
            return None
        if self.began >= until:
            return self.usage
        return self.usage.share((self.ended - until) / (self.ended - self.began))


@dataclass(frozen=True, slots=True)
class Booked:
    """What the book has of an endpoint's day."""

    usage: Usage = NOTHING
    until: float = 0.0
    """Unix time; what has come since is in no book."""


@dataclass(frozen=True, slots=True)
class DayUsage:
    endpoint: str
    day: date
    usage: Usage


class Unbooked:
    """What one endpoint has used and the book may lack."""

    __slots__ = ("_at", "_endpoint", "_total", "entries")

    def __init__(self, endpoint: str, *, at: float) -> None:
        self._endpoint = endpoint
        self._at = at
        self._total = Usage()
        self.entries: list[Entry] = []
        """The oldest first."""

    def read(self, total: Usage, *, at: float) -> None:
        """What has been used in all by now, since the counting began."""
        began, self._at = self._at, max(at, self._at)
        if self._at > began:
            self.entries.append(Entry(self._endpoint, began, self._at, total - self._total))
            self._total = total
            self._make_room()

    def restart(self) -> None:
        """From now on it is counted from nothing again."""
        self._total = Usage()

    def booked(self, until: float) -> None:
        self.entries = [each for each in self.entries if each.ended > until]

    def on(self, day: date, *, book: Booked, total: Usage) -> Usage:
        """What there was on a day: what is booked, what waits, and, as it goes on, what has come
        since the last reading."""
        used = book.usage + (total - self._total)
        for each in self.entries:
            more = each.beyond(book.until) if each.day == day else None
            used = used + more if more else used
        return used

    def _make_room(self) -> None:
        if len(self.entries) <= APART:
            return
        for index, (one, next_) in enumerate(zip(self.entries, self.entries[1:], strict=False)):
            if one.day == next_.day:
                both = Entry(self._endpoint, one.began, next_.ended, one.usage + next_.usage)
                self.entries[index : index + 2] = [both]
                return
        del self.entries[0]  # two months of days without a store


def day_of(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()


def midnight(day: date) -> float:
    """Unix time at which it begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def months(first: date, last: date) -> Sequence[date]:
    """The first days of the months that these days and those between them lie in."""
    found = [first.replace(day=1)]
    while (following := (found[-1] + timedelta(days=32)).replace(day=1)) <= last:
        found.append(following)
    return found
