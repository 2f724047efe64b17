"""What activators share in a Redis: the link to it, and everything that stands on it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.coordination.board import SharedBoard
from activator.coordination.deeds import SharedDeeds
from activator.coordination.lease import SharedLease
from activator.coordination.redis_board import RedisBoardStore
from activator.coordination.redis_costs import RedisCostBook
from activator.coordination.redis_deeds import RedisDeedStore
from activator.coordination.redis_events import RedisEventStore
from activator.coordination.redis_lease import RedisLeaseStore
from activator.coordination.redis_ledgers import RedisLedgers
from activator.coordination.redis_models import RedisModelList
from activator.coordination.redis_quotas import RedisQuotas
from activator.coordination.redis_roster import RedisRosterStore
from activator.coordination.redis_starts import RedisStartLog
from activator.coordination.redis_wishes import RedisWishStore
from activator.coordination.roster import SharedRoster
from activator.coordination.shared_events import SharedEvents
from activator.coordination.wishes import SharedWishes
from activator.drivers.owned import OwnedDriver
from activator.queueing.redis_bodies import RedisBodies
from activator.queueing.redis_jobs import RedisJobs
from activator.redisio.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.app.stores import Times
    from activator.config.settings import Store
    from activator.coordination.base import SlotLedger
    from activator.coordination.memory import MemoryLedger
    from activator.core.endpoint import Endpoint
    from activator.core.jobs import JobsPolicy
    from activator.drivers.base import Driver
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics


GOODBYE = 0.5
"""Seconds for each thing that the store is told at the end; without it the others see us gone."""


class RedisStores:
    """See `stores.Stores`."""

    turn = None

    def __init__(
        self,
        store: Store,
        *,
        jobs: JobsPolicy,
        metrics: Metrics,
        events: EventLog,
        make_local: Callable[[Endpoint], MemoryLedger],
        times: Times,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._events = events
        self._metrics = metrics
        self._was_down = False
        self._tasks = Tasks("stores")
        self.link = Link(store.url, prefix=store.prefix, timeout=store.timeout)
        self.link.on_failure(metrics.store_failed)
        self.link.on_change(self._changed)
        self.roster = SharedRoster(
            RedisRosterStore(self.link), beat=times.beat, silence=times.silence
        )
        self.bodies = RedisBodies(
            self.link,
            max_bytes=store.max_bytes,
            holder=self.roster.me,
            failed=metrics.store_failed,
        )
        self.jobs = RedisJobs(
            self.link,
            self.bodies.budget,
            me=self.roster.me,
            policy=jobs,
            failed=metrics.store_failed,
        )
        self.lease = SharedLease(RedisLeaseStore(self.link), self.roster, pace=times.pace)
        self.wishes = SharedWishes(
            RedisWishStore(self.link), self.roster.me, leading=lambda: self.lease.leading
        )
        self.board = SharedBoard(
            RedisBoardStore(self.link),
            self.roster,
            term=lambda: self.lease.term,
            overruled=self._overruled,
            call_later=loop.call_later,
        )
        self.costs = RedisCostBook(self.link)
        self._shared_events = SharedEvents(RedisEventStore(self.link), events, me=self.roster.me)
        self.deeds = SharedDeeds(RedisDeedStore(self.link), self.roster, pace=times.pace)
        self.starts = RedisStartLog(self.link)
        self.models = RedisModelList(self.link)
        self.quotas = RedisQuotas(self.link)
        self._ledgers = RedisLedgers(
            self.link, self.roster, clock=loop.time, call_at=loop.call_at, make_local=make_local
        )

    def make_ledger(self, endpoint: Endpoint) -> SlotLedger:
        return self._ledgers.make(endpoint)

    def share(
        self,
        endpoint: str,
        make: Callable[[int], Driver],
        *,
        in_flight: Callable[[str], int],
        patience: Callable[[], float],
        lasting: bool,
    ) -> Driver:
        return OwnedDriver(
            endpoint,
            self.deeds.of(endpoint),
            make=make,
            in_flight=in_flight,
            patience=patience,
            lasting=lasting,
        )

    def leave(self) -> None:
        self.deeds.leave()

    async def open(self) -> None:
        await self.link.open()
        if not self.link.up:
            self._changed(False)
        self._shared_events.open()
        await self.roster.open()
        await self.wishes.open()
        self.lease.open()
        self.deeds.open()

    async def aclose(self) -> None:
        self.link.hasten(GOODBYE)
        await self._tasks.end_each(
            self._shared_events.aclose,
            self.wishes.aclose,
            self.deeds.aclose,
            self.board.aclose,
            self.lease.aclose,
            self._ledgers.aclose,
            self.jobs.aclose,
            self.bodies.aclose,
            self.roster.aclose,
            self.link.aclose,
        )

    def _changed(self, up: bool) -> None:
        if not up:
            self._was_down = True
            self._events.record("", "store_down", self.link.cause)
        elif self._was_down:
            self._events.record("", "store_up", "the store is back")

    def _overruled(self, endpoint: str, act: str) -> None:
        self._metrics.overruled += 1
        why = f"activator {act}, which may exist, was silent for longer than `timeouts.total`"
        self._events.record(endpoint, "activator_overruled", why, activator=act)
