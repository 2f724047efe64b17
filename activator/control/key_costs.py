"""Charges API keys for what they cost as the day goes on: the counter beside the book of costs.

What each has cost is read from the book, so that it is of all activators and the same that status
tells. One of them charges, so that their counters add up: the leader. The others follow what it
charges without telling it, so that whoever leads next goes on from there. How much is charged when
is `core.key_charges`'.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.core.key_charges import DayCharges
from activator.core.usage import day_of, midnight
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.control.bookkeeper import Bookkeeper
    from activator.control.controller import Controller
    from activator.core.key_usage import DayKeyCost

EVERY: Final = 30.0
"""Seconds between two charges, at the same moments of the clock at all activators. What is read
grows with the keys that were used today, so it is not read at every entry of the book."""

AFTER: Final = 2.0
"""Seconds after those moments: all activators have booked by then what was used."""

OVER: Final = 300.0
"""Seconds after midnight when a day is over for good: what activators could not book in time
because the store was away has come by then, nearly always."""


class KeyCosts:
    """See the module. `wall` is Unix time."""

    def __init__(
        self,
        book: Bookkeeper,
        *,
        controls: Callable[[], Mapping[str, Controller]],
        leading: Callable[[], bool],
        wall: Callable[[], float],
    ) -> None:
        self._book = book
        self._all = controls
        self._leading = leading
        self._wall = wall
        self._began = False
        """What there was before this activator, which others have told, is known."""
        self._days: dict[tuple[date, str], DayCharges] = {}
        """By day and endpoint: today, and yesterday until it is over."""
        self._tasks = Tasks("key costs")

    def start(self) -> None:
        self._tasks.spawn_lasting(self._go_on, name="charge")

    async def aclose(self) -> None:
        await self._tasks.aclose()

    async def _go_on(self) -> None:
        while True:
            # while the store is away, what has come since is charged later
            with contextlib.suppress(StoreUnavailable):
                await self.tick()
            await asyncio.sleep(EVERY - (self._wall() - AFTER) % EVERY)

    async def tick(self) -> None:
        """Raises StoreUnavailable."""
        at = self._wall()
        today = day_of(at)
        before = today - timedelta(days=1)
        is_over = at >= midnight(today) + OVER
        if not self._began and not is_over:
            self._charge(await self._book.keys(before, before), over=False)
        elif is_over and any(day < today for day, _ in self._days):
            self._charge(await self._book.keys(before, before), over=True)
            self._days = {of: day for of, day in self._days.items() if of[0] == today}
        self._charge(await self._book.keys_today(), over=False)
        self._began = True

    def _charge(self, divided: Sequence[DayKeyCost], *, over: bool) -> None:
        costs: dict[tuple[date, str], dict[str, float]] = {}
        for each in divided:
            costs.setdefault((each.day, each.endpoint), {})[each.key] = each.share.cost
        controls = self._all()
        for (day, endpoint), money in costs.items():
            charges = self._days.setdefault((day, endpoint), DayCharges())
            charged = charges.charge(money, over=over)
            control = controls.get(endpoint)
            if self._leading() and self._began and control is not None:
                for key, cost in charged.items():
                    control.live.metrics.charged(key, cost)
