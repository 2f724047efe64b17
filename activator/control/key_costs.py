"""Charges API keys for what they cost as the day goes on: the counter beside the book of costs.

What each has cost is read from the book, so that it is of all activators and the same that status
tells. One of them charges, so that their counters add up: the leader. The others follow what it
charges without telling it, so that whoever leads next goes on from there. How much is charged when
is `core.key_charges`'.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import Tasks
from activator.control.bookkeeper import EVERY
from activator.core.key_charges import DayCharges
from activator.core.usage import day_of, midnight
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import date

    from activator.control.controller import Controller
    from activator.core.key_usage import DayKeyCost

AFTER: Final = 2.0
"""Seconds after the full ten of the clock, at which all activators book what was used."""

OVER: Final = 300.0
"""Seconds after midnight when a day is over for good: what activators could not book in time
because the store was away has come by then, nearly always."""


class KeyCosts:
    """See the module. `wall` is Unix time."""

    def __init__(
        self,
        divided: Callable[[date, date], Awaitable[Sequence[DayKeyCost]]],
        *,
        controls: Callable[[], Sequence[Controller]],
        leading: Callable[[], bool],
        wall: Callable[[], float],
    ) -> None:
        """`divided`: what keys have cost on these days so far. May raise StoreUnavailable."""
        self._divided = divided
        self._all = controls
        self._leading = leading
        self._wall = wall
        self._days: dict[tuple[date, str], DayCharges] | None = None
        """By day and endpoint; None until the book was read for the first time."""
        self._tasks = Tasks("key costs")

    def start(self) -> None:
        self._tasks.spawn(self._go_on(), name="charge")

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
        today = day_of(self._wall())
        yesterday = today - timedelta(days=1)
        costs: dict[tuple[date, str], dict[str, float]] = {}
        for each in await self._divided(yesterday, today):
            costs.setdefault((each.day, each.endpoint), {})[each.key] = each.share.cost
        is_over = self._wall() >= midnight(today) + OVER
        first, self._days = self._days is None, self._days or {}
        metrics = {control.name: control.live.metrics for control in self._all()}
        for (day, endpoint), money in costs.items():
            over = day < today and is_over
            charges = self._days.setdefault((day, endpoint), DayCharges())
            charged = charges.charge(money, over=over)
            # what there was before this activator others have told
            if self._leading() and not first and endpoint in metrics:
                for key, cost in charged.items():
                    metrics[endpoint].charged(key, cost)
        self._days = {at: charges for at, charges in self._days.items() if at[0] >= yesterday}
