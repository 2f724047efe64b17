"""The book of costs in Redis: a hash an endpoint and month, with the figures of its days.

A hash a day would be thirty times as many keys to read for a month's bill, and to keep.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from activator.aiokit.slices import Slices
from activator.core.key_usage import OTHERS, USES, DayKeyUse, KeyUse
from activator.core.usage import (
    FIGURES,
    KEPT_DAYS,
    Booked,
    DayUsage,
    Usage,
    day_of,
    midnight,
    months,
)
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from activator.core.key_usage import KeyEntry
    from activator.core.usage import Entry
    from activator.redisio.link import Link

T = TypeVar("T")

_DAY: Final = 86400
KEPT: Final = (KEPT_DAYS + 31) * _DAY
"""Seconds after its last entry that a month is kept: its first day as long as its last."""
MOST_FIELDS: Final = 50_000
"""Of an endpoint's month, all keys and days together; what further keys use goes to the others."""
AT_ONCE: Final = 25
"""Commands sent together: so few that no request is held up while their answers are read."""
FEW_DAYS: Final = 7
"""Of a month: so many are asked for by the names of their figures, more with the whole month."""
PARSED: Final = 400
"""Words of an answer that are read in one piece: some tenths of a millisecond."""
SCANNED: Final = 10_000
"""Fields of a month that Redis looks through at once: it answers nobody else for 2 ms."""


class RedisCostBook:
    """Implements `coordination.base.CostBook`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "costs")
        self._names = link.keys.shared("costs")
        """ZSET: endpoint -> the Unix time until which it is in the book."""
        self._keys_script = load("activator.coordination", "costs_keys")
        self._keyed = link.keys.shared("costs:keys")
        """ZSET: endpoint -> the Unix time at which the last day of a key's use began."""

    async def book(self, entries: Sequence[Entry]) -> None:
        for some in _in_parts(entries):
            # a name too many is harmless, one too few is a bill that nobody sees
            names = {each.endpoint: each.ended for each in some}
            flat = [word for name, ended in names.items() for word in (ended, name)]
            await self._link.command("ZADD", self._names, *flat)
            await self._link.pipeline([self._script([self._key(e)], _words(e)) for e in some])
        if entries:
            gone = entries[-1].ended - KEPT
            await self._link.pipeline(
                [
                    ("ZREMRANGEBYSCORE", self._names, "-inf", gone),
                    ("EXPIRE", self._names, KEPT),
                ]
            )

    async def booked(self, endpoints: Collection[str], day: date) -> Mapping[str, Booked]:
        fields = [f"{day:%d}:{figure}" for figure in FIGURES]
        found: dict[str, Booked] = {}
        for some in _in_parts(endpoints):
            replies = await self._link.pipeline(
                [("HMGET", self._month(name, day), "until", *fields) for name in some]
            )
            for name, (until, *values) in zip(some, replies, strict=True):
                read = dict(zip(FIGURES, values, strict=True))
                found[name] = Booked(_usage(read), float(until or 0.0))
        return found

    async def days(self, first: date, last: date, *, endpoint: str | None = None) -> list[DayUsage]:
        slices = Slices()
        found: dict[date, list[DayUsage]] = {}
        fields = {month: _fields(month, first, last) for month in months(first, last)}
        for some in _in_parts(await self._months(self._names, first, last, endpoint)):
            replies = await self._link.pipeline(
                [
                    ("HMGET", self._month(name, month), *fields[month])
                    if fields[month]
                    else ("HGETALL", self._month(name, month))
                    for name, month in some
                ]
            )
            for (name, month), flat in zip(some, replies, strict=True):
                for each in _days(name, month, _with_names(fields[month], flat)):
                    if first <= each.day <= last:
                        found.setdefault(each.day, []).append(each)
                await slices.turn()
        return _in_order(found)

    async def _months(
        self, names: str, first: date, last: date, endpoint: str | None
    ) -> Iterator[tuple[str, date]]:
        """The hashes that may have something, as endpoint and month; by endpoint."""
        if endpoint is not None:
            return ((endpoint, month) for month in months(first, last))
        found = await self._link.command("ZRANGEBYSCORE", names, midnight(first), "+inf")
        known = sorted(name.decode() for name in found)
        return ((name, month) for name in known for month in months(first, last))

    async def book_keys(self, entries: Sequence[KeyEntry]) -> None:
        for some in _in_parts(entries):
            names = [word for each in some for word in (midnight(each.day), each.endpoint)]
            await self._link.command("ZADD", self._keyed, "GT", *names)
            await self._link.pipeline(
                [self._keys_script([self._keys_of(e.endpoint, e.day)], _key_words(e)) for e in some]
            )
        if entries:
            gone = midnight(entries[-1].day) - KEPT
            await self._link.pipeline(
                [
                    ("ZREMRANGEBYSCORE", self._keyed, "-inf", gone),
                    ("EXPIRE", self._keyed, KEPT),
                ]
            )

    async def keys(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> list[DayKeyUse]:
        slices = Slices()
        found: dict[date, list[DayKeyUse]] = {}
        for some in _in_parts(await self._months(self._keyed, first, last, endpoint)):
            of = f"{first:%d}:*" if first == last else "*"
            flats = await self._scan([self._keys_of(*each) for each in some], of)
            for (name, month), flat in zip(some, flats, strict=True):
                for number, keys in (await _by_day(flat, slices)).items():
                    day = month.replace(day=number)
                    if first <= day <= last:
                        uses = (
                            DayKeyUse(name, day, key, _key_use(keys[key])) for key in sorted(keys)
                        )
                        found.setdefault(day, []).extend(uses)
                    await slices.turn()
        return _in_order(found)

    async def _scan(self, keys: Sequence[str], of: str) -> list[list[bytes]]:
        """Of each of these months' hashes the fields of this pattern; others stay where they are.
        A large one is read a piece at a time, so that Redis has turns for others."""
        found: list[list[bytes]] = [[] for _ in keys]
        cursors: dict[int, bytes] = dict.fromkeys(range(len(keys)), b"0")
        while cursors:
            replies = await self._link.pipeline(
                [
                    ("HSCAN", keys[number], cursor, "MATCH", of, "COUNT", SCANNED)
                    for number, cursor in cursors.items()
                ]
            )
            for number, (cursor, flat) in zip(list(cursors), replies, strict=True):
                found[number] += flat
                cursors[number] = cursor
            cursors = {number: cursor for number, cursor in cursors.items() if cursor != b"0"}
        return found

    def _keys_of(self, endpoint: str, day: date) -> str:
        return self._link.keys.of(endpoint, "costs", "keys", f"{day:%Y-%m}")

    def _key(self, entry: Entry) -> str:
        return self._month(entry.endpoint, entry.day)

    def _month(self, endpoint: str, day: date) -> str:
        return self._link.keys.of(endpoint, "costs", f"{day:%Y-%m}")


def _words(entry: Entry) -> list[str | float]:
    figures = [word for name in FIGURES for word in (name, getattr(entry.usage, name))]
    return [f"{day_of(entry.began):%d}", entry.began, entry.ended, KEPT, *figures]


def _key_words(entry: KeyEntry) -> list[str | float]:
    flat = [
        word
        for key, use in entry.uses.items()
        for figure in USES
        for word in (figure, key, getattr(use, figure))
    ]
    return [f"{entry.day:%d}", entry.by, entry.number, KEPT, MOST_FIELDS, OTHERS, *flat]


async def _by_day(flat: Sequence[bytes], slices: Slices) -> dict[int, dict[str, dict[str, float]]]:
    """What keys have used on each day of a month, by figure."""
    found: dict[int, dict[str, dict[str, float]]] = {}
    for first in range(0, len(flat), PARSED):
        some = flat[first : first + PARSED]
        for field, value in zip(some[::2], some[1::2], strict=True):
            day, _, rest = field.decode().partition(":")
            figure, colon, key = rest.partition(":")
            if colon and figure in USES:  # a newer version may count more
                found.setdefault(int(day), {}).setdefault(key, {})[figure] = float(value)
        await slices.turn()
    return found


def _key_use(figures: Mapping[str, float]) -> KeyUse:
    read: dict[str, Any] = {**figures, "requests": round(figures.get("requests", 0.0))}
    return KeyUse(**read)


def _fields(month: date, first: date, last: date) -> list[str]:
    """Of the days from first to last; none: all of the month's."""
    following = (month + timedelta(days=32)).replace(day=1)
    first, end = max(first, month), min(last + timedelta(days=1), following)
    days = [first + timedelta(days=number) for number in range((end - first).days)]
    if len(days) > FEW_DAYS:
        return []
    return [f"{day:%d}:{figure}" for day in days for figure in FIGURES]


def _with_names(fields: Sequence[str], values: Sequence[bytes | None]) -> list[bytes]:
    """A hash's fields and values, be it all of them or those that were asked for."""
    if not fields:
        return [each for each in values if each is not None]
    pairs = zip(fields, values, strict=True)
    return [word for name, value in pairs if value is not None for word in (name.encode(), value)]


def _days(endpoint: str, month: date, flat: Sequence[bytes]) -> Iterator[DayUsage]:
    by_day: dict[int, dict[str, bytes]] = {}
    for field, value in zip(flat[::2], flat[1::2], strict=True):
        day, colon, figure = field.decode().partition(":")
        if colon and figure in FIGURES:  # a newer version may count more
            by_day.setdefault(int(day), {})[figure] = value
    for number, figures in by_day.items():
        yield DayUsage(endpoint, month.replace(day=number), _usage(figures))


def _usage(figures: Mapping[str, bytes | None]) -> Usage:
    read: dict[str, Any] = {name: float(value or 0.0) for name, value in figures.items()}
    return Usage(**read | {"cold_starts": round(read.get("cold_starts", 0.0))})


def _in_order(found: Mapping[date, list[T]]) -> list[T]:
    return [each for day in sorted(found) for each in found[day]]


def _in_parts(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, AT_ONCE)):
        yield some
