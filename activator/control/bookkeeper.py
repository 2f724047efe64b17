"""Keeps the book of costs: reads what every endpoint has used, and has it booked in the store.

All activators of a store see the same replicas, so one of them books: the leader. The others read
the same and drop it once it is in the book, so that whoever leads next goes on where the last one
has stopped. What an entry adds to the book is decided by `core.usage`.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_left, bisect_right
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.core.key_usage import DayKeyCost, KeyUse, divide
from activator.core.usage import NOTHING, Booked, DayUsage, Unbooked, day_of
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import date

    from activator.control.controller import Controller
    from activator.coordination.base import CostBook
    from activator.core.usage import Usage

EVERY: Final = 10.0
"""Seconds between two entries, and at most lost when all activators are killed. They end with the
full ten seconds of the clock, so that none reaches over midnight."""

AT_REST: Final = 1000
"""Endpoints without a replica that are read for one entry. Where there are more they are read in
turn: all that they do is to save, and it is the same however long an entry is."""

LATER: Final = 1.0
"""Seconds after which those that do not lead look at what the leader has booked meanwhile."""


class Bookkeeper:
    """See the module. `wall` is Unix time."""

    def __init__(
        self,
        book: CostBook,
        *,
        controls: Callable[[], Mapping[str, Controller]],
        leading: Callable[[], bool],
        wall: Callable[[], float],
    ) -> None:
        self._book = book
        self._all = controls
        self._leading = leading
        self._wall = wall
        self._began = wall()
        self._controls: dict[str, Controller] = {}
        self._unbooked: dict[str, Unbooked] = {}
        self._waiting: dict[str, None] = {}
        """Which of these have entries: those that were read lately, as a rule."""
        self._awake: set[str] = set()
        """Endpoints that had a replica when they were last read."""
        self._turn = 0
        """Which of those at rest is read next."""
        self._booked: dict[str, Booked] = {}
        """Of all that are in `_unbooked`, once the store was there."""
        self._day = day_of(self._began)
        """Which `_booked` is of."""
        self._tasks = Tasks("costs")

    def start(self) -> None:
        self._tasks.spawn_lasting(self._go_on, name="book")

    async def aclose(self) -> None:
        """Book what is left; after the endpoints were closed."""
        await self._tasks.aclose()
        await self._read(list(self._controls.values()))
        with contextlib.suppress(StoreUnavailable):
            await self._write()

    async def _go_on(self) -> None:
        while True:
            await self.tick()
            await asyncio.sleep(EVERY - self._wall() % EVERY)

    async def tick(self) -> None:
        await self._follow(dict(self._all()))
        # while the store is away entries wait, and what is known of the day stays
        with contextlib.suppress(StoreUnavailable):
            written = await self._write()
            if not written and self._booked:
                await asyncio.sleep(LATER)
            day = day_of(self._wall())
            before = self._booked if day == self._day else {}
            news = list(self._waiting)
            if len(before) < len(self._unbooked):
                known = before.keys() | self._waiting.keys()
                news += [name for name in self._unbooked if name not in known]
            booked = await self._book.booked(news, day)
            before.update(booked)
            self._booked = before
            self._day = day
            slices = Slices()
            for name, one in booked.items():
                await slices.turn()
                self._unbooked[name].booked(inf if written else one.until)
                if not self._unbooked[name].entries:
                    self._waiting.pop(name, None)

    def today(self, endpoint: str) -> Usage:
        """Since midnight UTC: what is booked, and what has come since."""
        return self._on(day_of(self._wall()), endpoint)

    def _on(self, today: date, endpoint: str) -> Usage:
        control = self._controls.get(endpoint)
        if control is None:
            return NOTHING
        book = self._booked.get(endpoint, Booked()) if today == self._day else Booked()
        return self._unbooked[endpoint].on(today, book=book, total=control.usage())

    async def days(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayUsage]:
        """What is booked, of all endpoints or one; of today also what is not yet. Raises
        StoreUnavailable."""
        today = day_of(self._wall())
        slices = Slices()
        now: dict[str, DayUsage] = {}
        # before the book is read: that may take until the day is over, and booked
        for name in self._named(endpoint) if first <= today <= last else ():
            if name in self._controls:
                now[name] = DayUsage(name, today, self._on(today, name))
            await slices.turn()
        booked = await self._book.days(first, last, endpoint=endpoint)
        begun = bisect_left(booked, today, key=_day)
        over = bisect_right(booked, today, key=_day)
        now = {each.endpoint: each for each in booked[begun:over]} | now
        return [*booked[:begun], *(now[name] for name in sorted(now)), *booked[over:]]

    async def keys(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayKeyCost]:
        """The same, divided among API keys by what is booked of their use; whoever runs now has
        up to ten seconds that are not. Raises StoreUnavailable."""
        slices = Slices()
        uses: dict[tuple[date, str], dict[str, KeyUse]] = {}
        for each in await self._book.keys(first, last, endpoint=endpoint):
            uses.setdefault((each.day, each.endpoint), {})[each.key] = each.use
            await slices.turn()
        found: list[DayKeyCost] = []
        for used in await self.days(first, last, endpoint=endpoint):
            shares = divide(used.usage, uses.get((used.day, used.endpoint), {}))
            found += (
                DayKeyCost(used.endpoint, used.day, key, shares[key]) for key in sorted(shares)
            )
            await slices.turn()
        return found

    async def keys_today(self) -> Sequence[DayKeyCost]:
        """The same of today, for who asks often: only what keys have used is read from the book.
        Raises StoreUnavailable."""
        today = day_of(self._wall())
        slices = Slices()
        uses: dict[str, dict[str, KeyUse]] = {}
        for each in await self._book.keys(today, today):
            uses.setdefault(each.endpoint, {})[each.key] = each.use
            await slices.turn()
        found: list[DayKeyCost] = []
        for name in self._named(None):
            if name in self._controls:
                shares = divide(self._on(today, name), uses.get(name, {}))
                found += (DayKeyCost(name, today, key, share) for key, share in shares.items())
            await slices.turn()
        return found

    def _named(self, endpoint: str | None) -> Sequence[str]:
        return list(self._controls) if endpoint is None else [endpoint]

    async def _follow(self, now: dict[str, Controller]) -> None:
        """Read what there is; of controllers that are no longer at work for the last time. `now`:
        those that were at work when this began: one that ends meanwhile is read the next time."""
        await self._read(await self._now_read(now))
        if now != self._controls or len(now) != len(self._unbooked):
            await self._open_accounts(now)
        self._began = self._wall()

    async def _open_accounts(self, now: dict[str, Controller]) -> None:
        """One for each of these; of others, only what waits to be booked is kept."""
        slices = Slices()
        for name, control in now.items():
            if name not in self._unbooked:
                self._unbooked[name] = Unbooked(name, at=self._began)
            known = self._controls.get(name)
            if known is not control:
                if known is None or not control.account.goes_on_from(known.account):
                    self._unbooked[name].restart()
                self._controls[name] = control
            await slices.turn()
        self._controls = now
        for name in [name for name in self._unbooked if name not in now]:
            if not self._leading() or not self._unbooked[name].entries:
                del self._unbooked[name]
                self._waiting.pop(name, None)
                self._booked.pop(name, None)

    async def _now_read(self, now: Mapping[str, Controller]) -> list[Controller]:
        """All of them, unless too many are at rest. `now`: those at work."""
        slices = Slices()
        found: list[Controller] = []
        at_rest: list[Controller] = []
        for name, known in self._controls.items():
            control = now.get(name, known)
            goes_on = control.account.goes_on_from(known.account)
            rests = goes_on and name in now and control.is_at_rest and name not in self._awake
            (at_rest if rests else found).append(control if goes_on else known)
            await slices.turn()
        if len(at_rest) > AT_REST and day_of(self._wall()) == self._day:
            first, self._turn = self._turn % len(at_rest), self._turn + AT_REST
            at_rest = [*at_rest[first:], *at_rest[:first]][:AT_REST]
        self._awake = {control.name for control in found if not control.is_at_rest}
        return found + at_rest

    async def _read(self, controls: Collection[Controller]) -> None:
        at, slices = self._wall(), Slices()
        for control in controls:
            await slices.turn()
            name = control.name
            if name in self._unbooked:
                self._unbooked[name].read(control.usage(), at=at)
                if self._unbooked[name].entries:
                    self._waiting[name] = None

    async def _write(self) -> bool:
        """Whether everything is in the book now."""
        if not self._leading():
            return False
        waiting = iter(list(self._waiting))
        while some := list(islice(waiting, AT_REST)):
            await self._book.book([one for name in some for one in self._unbooked[name].entries])
            await asyncio.sleep(0)
        return True


def _day(used: DayUsage) -> date:
    return used.day
