"""Several activators' controllers over one store and one cluster, in virtual time.

Whatever goes between them takes its time, may be lost, and waits while an activator stands still.
The cluster notes every request that was cut, or sent to a replica that had been stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.aiokit.tasks import Tasks
from activator.control.controller import Controller
from activator.coordination.board import SharedBoard
from activator.coordination.lease import SharedLease
from activator.coordination.memory import MemoryLedger
from activator.coordination.memory_wishes import MemoryWishes
from activator.coordination.roster import SharedRoster
from activator.coordination.shared_memory import SharedMemory
from activator.core.endpoint import Endpoint, ScalePolicy, Timeouts
from activator.telemetry.events import EventLog
from activator.telemetry.metrics import Metrics
from activator.upstream.gate import Gate
from activator.upstream.pool import UpstreamKit
from activator.upstream.registry import LiveEndpoint
from tests.unit.control.afar import Cluster, FarDriver, FarStore, Inbox, Nature
from tests.unit.control.world import BACKEND, Caller, ScriptedProbes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from random import Random

TOTAL = 120.0
"""Seconds after which no request can be in flight any more."""


class Probes(ScriptedProbes):
    def __init__(self) -> None:
        super().__init__()
        self.answers_after = 0.05


class Activator:
    """One of a city."""

    def __init__(self, city: City, nature: Nature) -> None:
        loop = city.loop
        self.city = city
        self.nature = nature
        self.tasks = Tasks("activator")
        inbox = Inbox(nature, self.tasks)
        store: Any = FarStore(city.store, nature, inbox)
        self.board_store = FarStore(city.store.board, nature, inbox)
        self.roster = SharedRoster(store, clock=loop.time, ended=nobody_knows)
        self.lease = SharedLease(store, self.roster, clock=loop.time)
        self.overruled: list[tuple[str, str]] = []
        self.board = SharedBoard(
            cast("Any", self.board_store),
            self.roster,
            term=lambda: self.lease.term,
            overruled=lambda endpoint, act: self.overruled.append((endpoint, act)),
            call_later=loop.call_later,
            clock=loop.time,
        )
        self.events = EventLog()
        self.metrics = Metrics()
        self.deadlines = Deadlines(loop)
        endpoint = city.endpoint
        ledger = MemoryLedger(
            endpoint,
            clock=loop.time,
            call_soon=loop.call_soon,
            call_at=loop.call_at,
            dice=lambda _: 0,
        )
        self.live = LiveEndpoint(
            endpoint,
            gate=Gate(endpoint, ledger, clock=loop.time),
            metrics=self.metrics.endpoint(endpoint.name),
            kit=UpstreamKit(loop=loop, deadlines=self.deadlines, outbox=Outbox(), clock=loop.time),
            tasks=self.tasks,
        )
        self.driver = FarDriver(city.cluster, nature, Inbox(nature, self.tasks))
        self.control = Controller(
            self.live,
            self.driver,
            scalable=True,
            board=self.board,
            lease=self.lease,
            wishes=MemoryWishes(),
            probes=Probes(),
            events=self.events,
            clock=loop.time,
        )

    async def open(self) -> None:
        await self.roster.open()
        self.lease.open()
        self.control.start()

    def heal(self) -> None:
        """Nothing goes wrong any more; what may have been missed is caught up with."""
        self.nature.still_until = self.nature.cut_until = self.nature.slow = 0.0
        self.board_store.missed()

    async def request(self, *, takes: float) -> None:
        """One whole request: it arrives, may wait, is at a replica for so long, and ends."""
        await self.nature.awake()
        caller = Caller(self.live.gate)
        self.city.open += 1
        while caller.replica is None:
            assert caller.error is None, caller.error
            await asyncio.sleep(0.005)
        replica = self.city.cluster.sent_to(caller.replica.id.partition("~")[0])
        await asyncio.sleep(takes)
        await self.nature.awake()
        if replica is not None:
            replica.in_flight -= 1
        caller.done()
        self.city.open -= 1
        self.city.served += 1

    async def aclose(self) -> None:
        await self.control.aclose()
        await self.board.aclose()
        await self.lease.aclose()
        await self.roster.aclose()
        await self.tasks.aclose()
        self.live.gate.close()
        self.deadlines.close()


@dataclass
class City:
    """See the module; made by `city`."""

    random: Random
    endpoint: Endpoint
    activators: list[Activator] = field(default_factory=list)
    open: int = 0
    """Requests that have arrived and not ended."""
    served: int = 0

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks = Tasks("city")
        self.store = SharedMemory()
        self.cluster = Cluster(self.tasks)

    async def add(self, *, slow: float) -> Activator:
        made = Activator(self, Nature(self.random, slow=slow))
        self.activators.append(made)
        await made.open()
        return made

    def leader(self) -> Activator | None:
        return next((each for each in self.activators if each.lease.leading), None)

    def request(self, at: Activator, *, takes: float = 0.0) -> None:
        self.tasks.spawn(at.request(takes=takes), name="request")

    async def until(self, check: Callable[[], object], *, within: float) -> None:
        deadline = self.loop.time() + within
        while not check():
            assert self.loop.time() < deadline, self.told()
            await asyncio.sleep(0.01)

    def told(self) -> str:
        lines = [f"{self.open} open, {self.cluster.snapshot()}"]
        for each in self.activators:
            state, gate = each.control.life.state, each.live.gate
            seat = each.board._words._seats["m"]
            lines.append(
                f"{each.roster.me} {state} demand {gate.demand} {seat.word} "
                f"joined {seat.joined} leads {each.lease.leading} "
                f"{[event.action for event in each.events.since(0)][-8:]}"
            )
        return "\n".join(lines)


def nobody_knows(_record: Mapping[str, object]) -> bool:
    return False


@contextlib.asynccontextmanager
async def city(
    random: Random, *, size: int, slow: float = 0.0, scale: ScalePolicy | None = None
) -> AsyncIterator[City]:
    policy = scale or ScalePolicy(idle_timeout=2.0)
    made = City(random, Endpoint("m", BACKEND, scale=policy, timeouts=Timeouts(total=TOTAL)))
    try:
        for _ in range(size):
            await made.add(slow=slow)
        yield made
    finally:
        for each in made.activators:
            each.nature.slow = each.nature.still_until = each.nature.cut_until = 0.0
        await made.tasks.aclose()
        for each in made.activators:
            await each.aclose()
