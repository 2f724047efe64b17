"""The book of costs of the only activator there is: it ends with the process."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from activator.core.key_usage import UNUSED, DayKeyUse, KeyUse
from activator.core.usage import KEPT_DAYS, Booked, DayUsage, Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date

    from activator.core.key_usage import KeyEntry
    from activator.core.usage import Entry


class MemoryCostBook:
    """Implements `coordination.base.CostBook`."""

    def __init__(self) -> None:
        self._days: dict[date, dict[str, Usage]] = {}
        self._until: dict[str, float] = {}
        self._keys: dict[tuple[date, str, str], KeyUse] = {}
        """By day, endpoint and key."""
        self._numbers: dict[str, int] = {}
        """Of the last entry of each activator."""

    async def book(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            more = entry.beyond(self._until.get(entry.endpoint, 0.0))
            if more is None:
                continue
            day = self._days.setdefault(entry.day, {})
            day[entry.endpoint] = day.get(entry.endpoint, Usage()) + more
            self._until[entry.endpoint] = entry.ended
        if self._days:
            oldest = max(self._days) - timedelta(days=KEPT_DAYS)
            self._days = {day: used for day, used in self._days.items() if day >= oldest}

    async def booked(self, endpoints: Collection[str], day: date) -> Mapping[str, Booked]:
        used = self._days.get(day, {})
        return {
            name: Booked(used.get(name, Usage()), self._until.get(name, 0.0)) for name in endpoints
        }

    async def days(self, first: date, last: date) -> list[DayUsage]:
        return [
            DayUsage(endpoint, day, used)
            for day in sorted(self._days)
            if first <= day <= last
            for endpoint, used in sorted(self._days[day].items())
        ]

    async def book_keys(self, entries: Sequence[KeyEntry]) -> None:
        for entry in entries:
            if entry.number <= self._numbers.get(entry.by, 0):
                continue
            self._numbers[entry.by] = entry.number
            for key, use in entry.uses.items():
                at = (entry.day, entry.endpoint, key)
                self._keys[at] = self._keys.get(at, UNUSED) + use
        if self._keys:
            oldest = max(day for day, _, _ in self._keys) - timedelta(days=KEPT_DAYS)
            self._keys = {at: use for at, use in self._keys.items() if at[0] >= oldest}

    async def keys(self, first: date, last: date) -> list[DayKeyUse]:
        return [
            DayKeyUse(endpoint, day, key, use)
            for (day, endpoint, key), use in sorted(self._keys.items(), key=lambda each: each[0])
            if first <= day <= last
        ]
