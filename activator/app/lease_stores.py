"""What an activator keeps that serves while it holds a lease: everything in its memory, as if it
were the only one."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING

from activator.app.stores import MemoryStores, Turn
from activator.coordination.lease import SharedLease
from activator.coordination.taken_over import TakenBoard

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.app.cluster import OneCluster
    from activator.app.stores import Times
    from activator.config.settings import Store
    from activator.coordination.memory import MemoryLedger
    from activator.core.endpoint import Endpoint
    from activator.core.jobs import JobsPolicy
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics


class LeaseStores(MemoryStores):
    """See `stores.Stores`."""

    def __init__(
        self,
        store: Store,
        *,
        jobs: JobsPolicy,
        metrics: Metrics,
        events: EventLog,
        make_local: Callable[[Endpoint], MemoryLedger],
        cluster: OneCluster,
        finishing: Callable[[], float],
        times: Times,
    ) -> None:
        """Raises StartError."""
        me = f"{socket.gethostname()}_{os.urandom(8).hex()}"
        super().__init__(store, jobs=jobs, metrics=metrics, make_local=make_local, me=me)
        self._events = events
        self._metrics = metrics
        self._trouble = ""
        record = cluster.make_lease_store(
            namespace=store.url.namespace,
            name=store.url.lease,
            pace=times.pace,
            finishing=finishing,
            troubled=self._troubled,
        )
        self._name = str(record)
        self._lease = self.lease = SharedLease(record, self.roster, pace=times.pace, is_all=True)
        self._taken = self.board = TakenBoard(clock=time.monotonic)
        self.turn = Turn(self._lease, self._taken, self._name, lambda: self._trouble)

    async def open(self) -> None:
        self._lease.open()

    async def aclose(self) -> None:
        await self._taken.aclose()
        await self._lease.aclose()

    def _troubled(self, why: str | None) -> None:
        before, self._trouble = self._trouble, why or ""
        if why:
            self._metrics.store_failed()
        if why and not before:
            self._events.record("", "store_down", f"lease {self._name}: {why}")
        elif before and not why:
            self._events.record("", "store_up", f"lease {self._name} can be asked for again")
