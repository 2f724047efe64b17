"""The book of costs of the only activator there is: it ends with the process."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from activator.aiokit.slices import Slices
from activator.core.key_usage import UNUSED, DayKeyUse, KeyUse
from activator.core.usage import KEPT_DAYS, Booked, DayUsage, Usage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import date

    from activator.core.key_usage import KeyEntry
    from activator.core.usage import Entry

T = TypeVar("T")


class MemoryCostBook:
    """Implements `coordination.base.CostBook`."""

    def __init__(self) -> None:
        self._days: dict[date, dict[str, Usage]] = {}
        self._until: dict[str, float] = {}
        self._keys: dict[date, dict[str, dict[str, KeyUse]]] = {}
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
        slices = Slices()
        booked: dict[str, Booked] = {}
        for name in endpoints:
            await slices.turn()
            used = self._days.get(day, {}).get(name)
            booked[name] = Booked(used or Usage(), self._until.get(name, 0.0))
        return booked

    async def days(self, first: date, last: date, *, endpoint: str | None = None) -> list[DayUsage]:
        slices = Slices()
        found: list[DayUsage] = []
        for day, used in _between(self._days, first, last):
            for name in sorted(used) if endpoint is None else used.keys() & {endpoint}:
                found.append(DayUsage(name, day, used[name]))
                await slices.turn()
        return found

    async def book_keys(self, entries: Sequence[KeyEntry]) -> None:
        for entry in entries:
            if entry.number <= self._numbers.get(entry.by, 0):
                continue
            self._numbers[entry.by] = entry.number
            keys = self._keys.setdefault(entry.day, {}).setdefault(entry.endpoint, {})
            for key, use in entry.uses.items():
                keys[key] = keys.get(key, UNUSED) + use
        if self._keys:
            oldest = max(self._keys) - timedelta(days=KEPT_DAYS)
            self._keys = {day: used for day, used in self._keys.items() if day >= oldest}

    async def keys(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> list[DayKeyUse]:
        slices = Slices()
        found: list[DayKeyUse] = []
        for day, used in _between(self._keys, first, last):
            for name in sorted(used) if endpoint is None else used.keys() & {endpoint}:
                keys = sorted(used[name].items())
                found += (DayKeyUse(name, day, key, use) for key, use in keys)
                await slices.turn()
        return found


def _between(days: Mapping[date, T], first: date, last: date) -> list[tuple[date, T]]:
    return [(day, days[day]) for day in sorted(days) if first <= day <= last]
