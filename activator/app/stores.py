"""What this activator keeps outside of its own objects, by `store.url`: in memory, in the memory of
whoever holds a lease, or in Redis.

Decides which implementation is which; what each of them promises is its protocol's business.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from activator.config.store_url import Kind
from activator.coordination.memory import MemoryBoard, MemoryLease, MemoryRoster
from activator.coordination.memory_costs import MemoryCostBook
from activator.coordination.memory_models import MemoryModelList
from activator.coordination.memory_quotas import MemoryQuotas
from activator.coordination.memory_starts import MemoryStartLog
from activator.coordination.memory_wishes import MemoryWishes
from activator.core.election import Pace
from activator.core.liveness import BEAT, SILENCE
from activator.errors import StartError
from activator.queueing.budget import Budget
from activator.queueing.memory import MemoryStore
from activator.queueing.memory_book import Book
from activator.queueing.memory_jobs import MemoryJobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.app.cluster import OneCluster
    from activator.config.settings import Store
    from activator.coordination.base import (
        CostBook,
        DemandBoard,
        Lease,
        ModelList,
        Quotas,
        Roster,
        SlotLedger,
        StartLog,
        Wishes,
    )
    from activator.coordination.lease import SharedLease
    from activator.coordination.memory import MemoryLedger
    from activator.coordination.taken_over import TakenBoard
    from activator.core.endpoint import Endpoint
    from activator.core.jobs import JobsPolicy
    from activator.drivers.base import Driver
    from activator.queueing.base import BodyStore
    from activator.queueing.jobs import JobStore
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds after which activators miss each other; the same for all of a store."""

    beat: float = BEAT
    silence: float = SILENCE
    pace: Pace = field(default_factory=Pace)


class Stores(Protocol):
    """Made in a running event loop, used between `open` and `aclose`."""

    @property
    def bodies(self) -> BodyStore: ...

    @property
    def jobs(self) -> JobStore: ...

    @property
    def roster(self) -> Roster: ...

    @property
    def board(self) -> DemandBoard: ...

    @property
    def lease(self) -> Lease: ...

    @property
    def wishes(self) -> Wishes: ...

    @property
    def costs(self) -> CostBook: ...

    @property
    def starts(self) -> StartLog: ...

    @property
    def models(self) -> ModelList: ...

    @property
    def quotas(self) -> Quotas: ...

    @property
    def turn(self) -> Turn | None:
        """Whose turn it is to serve, where one activator does all there is to do."""

    def make_ledger(self, endpoint: Endpoint) -> SlotLedger: ...

    def share(
        self,
        endpoint: str,
        make: Callable[[int], Driver],
        *,
        in_flight: Callable[[str], int],
        patience: Callable[[], float],
        lasting: bool,
    ) -> Driver:
        """The driver of replicas that one activator runs for all. `make`: one that really runs
        them, in a term of its own; `in_flight`: requests at a replica, of all activators;
        `patience`: seconds that these may have to finish; `lasting`: they outlive who runs them."""

    def leave(self) -> None:
        """This activator is about to end: what it runs for others should be had elsewhere."""

    async def open(self) -> None:
        """Raises StartError if the store must not be used; one that is away may come later."""

    async def aclose(self) -> None:
        """After everybody who uses it."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Of activators of which one serves."""

    lease: SharedLease
    board: TakenBoard
    name: str
    """Of the lease, for people."""
    trouble: Callable[[], str]
    """Why it cannot be asked for just now; empty: it can."""


class MemoryStores:
    """Of the only activator there is."""

    turn: Turn | None = None
    lease: Lease
    board: MemoryBoard

    def __init__(
        self,
        store: Store,
        *,
        jobs: JobsPolicy,
        metrics: Metrics,
        make_local: Callable[[Endpoint], MemoryLedger],
        me: str = "",
    ) -> None:
        budget = Budget(store.max_bytes)
        self.bodies = MemoryStore(max_bytes=budget, failed=metrics.store_failed)
        self.roster = MemoryRoster(me)
        self.jobs = MemoryJobs(
            Book(budget), me=self.roster.me, policy=jobs, clock=time.time, dice=random.random
        )
        self.board = MemoryBoard()
        self.lease = MemoryLease()
        self.wishes = MemoryWishes()
        self.costs = MemoryCostBook()
        self.starts = MemoryStartLog()
        self.models = MemoryModelList()
        self.quotas = MemoryQuotas()
        self._make_local = make_local

    def make_ledger(self, endpoint: Endpoint) -> MemoryLedger:
        return self._make_local(endpoint)

    def share(
        self,
        endpoint: str,
        make: Callable[[int], Driver],
        *,
        in_flight: Callable[[str], int],
        patience: Callable[[], float],
        lasting: bool,
    ) -> Driver:
        """Nobody else is there."""
        return make(1)

    def leave(self) -> None:
        """Nobody need know."""

    async def open(self) -> None:
        """Nothing to be done."""

    async def aclose(self) -> None:
        """Nothing to be done."""


def make_stores(
    store: Store,
    *,
    jobs: JobsPolicy,
    metrics: Metrics,
    events: EventLog,
    make_local: Callable[[Endpoint], MemoryLedger],
    cluster: Callable[[], OneCluster],
    finishing: Callable[[], float],
    times: Times | None = None,
) -> Stores:
    """`make_local`: an endpoint's ledger as one process alone has it; `cluster`: made when it is
    needed; `finishing`: seconds that what is in flight may still take, when this activator ends.

    Raises StartError: what is needed for it is not installed, or not in order.
    """
    if store.url.kind is Kind.MEMORY:
        return MemoryStores(store, jobs=jobs, metrics=metrics, make_local=make_local)
    if store.url.kind is Kind.LEASE:
        from activator.app.lease_stores import LeaseStores  # noqa: PLC0415 - only where it is used

        return LeaseStores(
            store,
            jobs=jobs,
            metrics=metrics,
            events=events,
            make_local=make_local,
            cluster=cluster(),
            finishing=finishing,
            times=times or Times(),
        )
    try:
        from activator.app.redis_stores import RedisStores  # noqa: PLC0415 - only where it is used
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise StartError(
            "store.url: Redis needs a package more: pip install 'activator[redis]'"
        ) from error
    return RedisStores(
        store,
        jobs=jobs,
        metrics=metrics,
        events=events,
        make_local=make_local,
        times=times or Times(),
    )
