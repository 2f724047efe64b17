"""The shared ledgers of one process: what they have in common, and how the others' news reach them.

Decides nothing; a grant for one of this activator's tickets comes over one channel for all
endpoints, the silence of another activator from the roster.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from activator.aiokit.garbage import uncollected
from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.coordination.ledger_ops import VERSION
from activator.coordination.redis_ledger import RedisLedger
from activator.coordination.store_clock import StoreClock
from activator.core.hashing import fingerprint, rank
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.coordination.memory import Cancellable, MemoryLedger
    from activator.core.endpoint import Endpoint
    from activator.redisio.link import Link

_log = logging.getLogger("activator.coordination")

SIGN_OFF: Final = 1.0
"""Seconds that signing off may take: afterwards the others learn it from our silence."""


class Others(Protocol):
    """As much of a `Roster` as ledgers need."""

    @property
    def me(self) -> str: ...

    @property
    def members(self) -> frozenset[str]: ...

    @property
    def is_acquainted(self) -> bool: ...

    def on_acquainted(self, told: Callable[[], None]) -> None: ...

    def on_joined(self, told: Callable[[str], None]) -> None: ...

    def on_silent(self, told: Callable[[str], None]) -> None: ...


class LedgerKit:
    """What every ledger of this process is given."""

    def __init__(
        self,
        link: Link,
        roster: Others,
        *,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Cancellable],
    ) -> None:
        self.link = link
        self.me = roster.me
        self.clock = clock
        self.exact_clock: Callable[[], float] = time.monotonic
        """Of the same base; a loop's own may stand still for a turn, however long that lasts."""
        self.call_at = call_at
        self.store_clock = StoreClock(link, clock=clock)
        self.tasks = Tasks("ledgers")
        self.script = load("activator.coordination", "ledger")
        self.version = VERSION
        self.channel = link.keys.shared("grants", "")
        self.ledgers: dict[str, RedisLedger] = {}
        """By endpoint."""
        self.gaps = 0
        """So often something that was called out may have been missed. Who declared what it has
        before the latest gap has to do so again before it says, or gives away, anything."""
        self._roster = roster

    def keys_of(self, endpoint: str) -> list[str]:
        """As `lua/ledger.lua` wants them."""
        parts = ("line", "tickets", "state", "offers")
        return [self.link.keys.of(endpoint, "slots", part) for part in parts]

    def forget(self, ledger: RedisLedger) -> None:
        """It is closed; another one may have its endpoint by now."""
        if self.ledgers.get(ledger.endpoint.name) is ledger:
            del self.ledgers[ledger.endpoint.name]

    def new_name(self) -> str:
        return os.urandom(8).hex()

    def share_of(self, endpoint: Endpoint) -> int:
        """Of the limit of a replica, for a ledger of our own: what is left over goes to those who
        rank first. Nothing before it is known how many there are: others may have all of it, and
        who shares a store is not meant to be alone."""
        if not self._roster.is_acquainted:
            return 0
        members = sorted(
            {*self._roster.members, self.me},
            key=lambda each: rank(fingerprint(endpoint.name.encode()), fingerprint(each.encode())),
        )
        each, over = divmod(endpoint.concurrency, len(members))
        return each + (members.index(self.me) < over)

    def with_share(self, endpoint: Endpoint) -> Endpoint:
        """0 is no limit for a ledger of our own, so a share of nothing is held instead."""
        share = max(self.share_of(endpoint), 1) if endpoint.concurrency else 0
        return replace(endpoint, concurrency=share)


class RedisLedgers:
    """Makes the ledgers of this process."""

    def __init__(
        self,
        link: Link,
        roster: Others,
        *,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Cancellable],
        make_local: Callable[[Endpoint], MemoryLedger],
    ) -> None:
        """`clock` and `call_at` are the loop's."""
        self._kit = LedgerKit(link, roster, clock=clock, call_at=call_at)
        self._make_local = make_local
        self._subscription = link.subscribe(self._kit.channel + roster.me, self._heard)
        link.on_resubscribed(self._catch_up)
        roster.on_silent(self._silent)
        roster.on_joined(self._joined)
        roster.on_acquainted(self._share_anew)

    def make(self, endpoint: Endpoint) -> RedisLedger:
        ledger = RedisLedger(endpoint, self._kit, make_local=self._make_local)
        self._kit.ledgers[endpoint.name] = ledger
        return ledger

    async def aclose(self) -> None:
        """Sign off everywhere; ledgers that are not closed yet are."""
        for ledger in list(self._kit.ledgers.values()):
            ledger.close()
        try:
            async with asyncio.timeout(SIGN_OFF):
                await self._kit.tasks.drained()
        except TimeoutError:
            _log.info("not signed off in time", extra={"action": "not_signed_off"})
        await self._kit.tasks.aclose()
        self._subscription.close()

    def _heard(self, message: bytes) -> None:
        endpoint, seq, replica = message.decode().split("\n")
        ledger = self._kit.ledgers.get(endpoint)
        if ledger is None:
            return
        if seq:
            ledger.offered(seq, replica)
        else:
            ledger.recalled()

    def _catch_up(self) -> None:
        """From here on none acts on what it knew; that each does something about it may take its
        time, those first that have something to declare."""
        kit = self._kit
        kit.store_clock.doubt()
        kit.gaps += 1
        kit.tasks.spawn(self._catch_up_on(kit.gaps), name="catch up")

    async def _catch_up_on(self, gaps: int) -> None:
        slices = Slices()
        idle: list[RedisLedger] = []
        with uncollected():
            for ledgers in (list(self._kit.ledgers.values()), idle):
                for ledger in ledgers:
                    await slices.turn()
                    if self._kit.gaps != gaps:
                        return  # all are gone through anew
                    if ledger.has_tickets or ledgers is idle:
                        self._catch_up_one(ledger)
                    else:
                        idle.append(ledger)

    def _catch_up_one(self, ledger: RedisLedger) -> None:
        try:
            ledger.catch_up()
        except Exception as bug:  # the others are told all the same
            self._kit.tasks.tell_failure(f"catch up {ledger.endpoint.name}", bug)

    def _joined(self, activator: str) -> None:
        for ledger in self._kit.ledgers.values():
            ledger.joined(activator)

    def _share_anew(self) -> None:
        for ledger in self._kit.ledgers.values():
            ledger.share_anew()

    def _silent(self, activator: str) -> None:
        for ledger in self._kit.ledgers.values():
            ledger.silent(activator)
