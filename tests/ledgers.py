"""Slot ledgers over a real Redis, as several activators would have them."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from activator.coordination.memory import MemoryLedger
from activator.coordination.redis_ledger import RedisLedger
from activator.coordination.redis_ledgers import RedisLedgers
from activator.redisio.link import Link
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from activator.coordination.base import SlotLedger
    from activator.core.endpoint import Endpoint


@dataclass
class ToldRoster:
    """A roster whose members and silences the test decides."""

    me: str
    members: frozenset[str]
    is_acquainted: bool = True
    _told: list[Callable[[str], None]] = field(default_factory=list)
    _acquainted: list[Callable[[], None]] = field(default_factory=list)
    _joined: list[Callable[[str], None]] = field(default_factory=list)

    def on_silent(self, told: Callable[[str], None]) -> None:
        self._told.append(told)

    def on_acquainted(self, told: Callable[[], None]) -> None:
        self._acquainted.append(told)

    def get_acquainted(self) -> None:
        self.is_acquainted = True
        for told in self._acquainted:
            told()

    def on_joined(self, told: Callable[[str], None]) -> None:
        self._joined.append(told)

    def join(self, activator: str) -> None:
        self.members |= {activator}
        for told in self._joined:
            told(activator)

    def silence(self, activator: str) -> None:
        """The others take it for dead."""
        self.members -= {activator}
        for told in self._told:
            told(activator)


@dataclass
class Activator:
    """As much of one as a ledger needs."""

    link: Link
    roster: ToldRoster
    ledgers: RedisLedgers


@asynccontextmanager
async def activators(
    url: str, *, prefix: str, names: Sequence[str] = ("one",), timeout: float = 2.0
) -> AsyncIterator[list[Activator]]:
    loop = asyncio.get_running_loop()

    def make_local(endpoint: Endpoint) -> MemoryLedger:
        return MemoryLedger(
            endpoint,
            clock=loop.time,
            call_soon=loop.call_soon,
            call_at=loop.call_at,
            dice=Random(1).randrange,
        )

    async with AsyncExitStack() as stack:
        made = []
        for name in names:
            link = Link(url, prefix=prefix, timeout=timeout)
            await link.open()
            stack.push_async_callback(link.aclose)
            roster = ToldRoster(name, frozenset(names))
            ledgers = RedisLedgers(
                link, roster, clock=loop.time, call_at=loop.call_at, make_local=make_local
            )
            stack.push_async_callback(ledgers.aclose)
            made.append(Activator(link, roster, ledgers))
        yield made


async def settled(*ledgers: SlotLedger) -> None:
    """Until the store knows of everything that has happened, and has answered."""
    for ledger in ledgers:
        assert isinstance(ledger, RedisLedger)
        await eventually(partial(getattr, ledger, "is_settled"))
