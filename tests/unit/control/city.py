"""Several activators' controllers over one store and one cluster, in virtual time.

Whatever goes between them takes its time, may be lost, and waits while an activator stands still.
The cluster notes every request that was cut, or sent to a replica that had been stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.tasks import Tasks
from activator.control.controller import Controller
from activator.coordination.board import SharedBoard
from activator.coordination.lease import SharedLease
from activator.coordination.memory import MemoryLedger
from activator.coordination.memory_wishes import MemoryWishes
from activator.coordination.roster import SharedRoster
from activator.coordination.shared_memory import SharedMemory
from activator.core.endpoint import Endpoint, ScalePolicy, Timeouts
from activator.drivers.base import DriverError, Phase, Sighting, Snapshot
from activator.errors import StoreUnavailable
from activator.telemetry.events import EventLog
from activator.telemetry.metrics import Metrics
from activator.upstream.gate import Gate
from activator.upstream.pool import UpstreamKit
from activator.upstream.registry import LiveEndpoint
from tests.unit.control.world import BACKEND, Caller, ScriptedProbes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from random import Random

T = TypeVar("T")

TOTAL = 120.0
"""Seconds after which no request can be in flight any more."""
START = 0.3
"""Seconds from an order until a replica runs."""


class Nature:
    """How one activator fares: how long its messages take, if it stands still or is cut off."""

    def __init__(self, random: Random, *, slow: float) -> None:
        self.random = random
        self.slow = slow
        """How often a message takes long, or its answer is lost."""
        self.still_until = 0.0
        self.cut_until = 0.0

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    async def passes(self) -> None:
        """A message on its way."""
        long = self.random.random() < self.slow
        await asyncio.sleep(self.random.uniform(0.0, 0.3 if long else 0.003))
        await self.awake()

    async def awake(self) -> None:
        while self.now < self.still_until:
            await asyncio.sleep(self.still_until - self.now + 0.001)

    async def ask(self, what: Callable[[], Awaitable[T]]) -> T:
        """The store: StoreUnavailable before it was done, or after."""
        await self.passes()
        if self.now < self.cut_until:
            raise StoreUnavailable("cut off")
        done = await what()
        await self.passes()
        if self.now < self.cut_until or self.random.random() < self.slow / 3:
            raise StoreUnavailable("cut off, though it was done")
        return done


class Inbox:
    """What is told to one activator, one after the other."""

    def __init__(self, nature: Nature, tasks: Tasks) -> None:
        self._nature = nature
        self._queue: asyncio.Queue[Callable[[], None]] = asyncio.Queue()
        tasks.spawn(self._run(), name="inbox")

    def put(self, what: Callable[[], None]) -> None:
        self._queue.put_nowait(what)

    async def _run(self) -> None:
        while True:
            what = await self._queue.get()
            await self._nature.passes()
            what()


class FarStore:
    """SharedMemory (or its board) as one activator reaches it."""

    def __init__(self, store: object, nature: Nature, inbox: Inbox) -> None:
        self._store = store
        self._nature = nature
        self._inbox = inbox

    def __getattr__(self, verb: str) -> Any:
        method = getattr(self._store, verb)

        async def ask(*args: Any, **words: Any) -> Any:
            return await self._nature.ask(lambda: method(*args, **words))

        return ask

    def listen(self, *listeners: Callable[..., None]) -> None:
        def hear(told: Callable[..., None]) -> Callable[..., None]:
            def heard(*said: Any) -> None:
                if self._nature.now >= self._nature.cut_until:
                    self._inbox.put(lambda: told(*said))

            return heard

        cast("Any", self._store).listen(*map(hear, listeners))
        self.missed = listeners[-1]


@dataclass
class Replica:
    id: str
    ordered_at: float
    phase: Phase = Phase.REQUESTED
    since: float = 0.0
    in_flight: int = 0


class Cluster:
    """Keeps what is asked for, as an API server does."""

    def __init__(self, tasks: Tasks) -> None:
        self.loop = asyncio.get_running_loop()
        self.wanted = 0
        self.fence = 1
        self.replicas: dict[str, Replica] = {}
        self.orders: list[tuple[float, int]] = []
        self.refused: list[str] = []
        self.wrongs: list[str] = []
        """Requests that were cut, or sent to a replica that had been stopped."""
        self.watchers: list[Callable[[Snapshot], None]] = []
        self._tasks = tasks
        self._made = 0

    def snapshot(self) -> Snapshot:
        return Snapshot(
            wanted=self.wanted,
            replicas=tuple(
                Sighting(each.id, each.phase, each.since, each.ordered_at, "127.0.0.1", 80)
                for each in self.replicas.values()
            ),
            fence=str(self.fence),
        )

    def changed(self) -> None:
        for watcher in self.watchers:
            watcher(self.snapshot())

    def bump(self) -> int:
        self.fence += 1
        self.changed()
        return self.fence

    def scale(
        self, count: int, *, victims: tuple[str, ...], before: int | None, fence: str
    ) -> None:
        if before is not None and before != self.wanted:
            return  # somebody else was faster
        if fence and fence != str(self.fence):
            self.refused.append(fence)
            raise DriverError("revived")
        if count == self.wanted:
            return
        self.orders.append((self.loop.time(), count))
        self.wanted = count
        self.fence += 1
        living = [each for each in self.replicas.values() if each.phase is not Phase.STOPPING]
        for each in sorted(living, key=lambda each: each.id in victims)[count:]:
            self._stop(each)
        for _ in range(count - len(living)):
            self._made += 1
            each = Replica(f"m-{self._made}", self.loop.time())
            self.replicas[each.id] = each
            self._tasks.spawn(self._start(each), name="start")
        self.changed()

    async def _start(self, replica: Replica) -> None:
        await asyncio.sleep(START)
        if replica.phase is Phase.REQUESTED:
            replica.phase, replica.since = Phase.STARTED, self.loop.time()
            self.changed()

    def _stop(self, replica: Replica) -> None:
        if replica.in_flight:
            self.wrongs.append(f"{replica.id} was stopped with {replica.in_flight} in flight")
        replica.phase, replica.since = Phase.STOPPING, self.loop.time()
        self._tasks.spawn(self._end(replica), name="stop")

    async def _end(self, replica: Replica) -> None:
        await asyncio.sleep(0.1)
        del self.replicas[replica.id]
        self.changed()

    def sent_to(self, replica_id: str) -> Replica | None:
        """A request arrives there; None: nobody is there, which is wrong."""
        replica = self.replicas.get(replica_id)
        if replica is None or replica.phase is not Phase.STARTED:
            self.wrongs.append(f"sent to {replica_id}, which had been stopped")
            return None
        replica.in_flight += 1
        return replica


class FarDriver:
    """The cluster as one activator reaches it: what it sees is a moment old."""

    def __init__(self, cluster: Cluster, nature: Nature, inbox: Inbox) -> None:
        self._cluster = cluster
        self._nature = nature
        self._inbox = inbox
        self._report: Callable[[Snapshot], None] | None = None
        self._seen = Snapshot(wanted=0)
        self._newer = asyncio.Event()
        self._held_back: list[Snapshot] | None = None
        cluster.watchers.append(self._told)

    def hold_back(self) -> None:
        """Nothing is heard of the cluster until `release`."""
        self._held_back = []

    def release(self) -> None:
        unheard, self._held_back = self._held_back, None
        for snapshot in unheard or ():
            self._told(snapshot)

    def _told(self, snapshot: Snapshot) -> None:
        if self._held_back is not None:
            self._held_back.append(snapshot)
        else:
            self._inbox.put(lambda: self._see(snapshot))

    def _see(self, snapshot: Snapshot) -> None:
        self._seen = snapshot
        if self._report is not None:
            self._report(snapshot)
        self._newer.set()
        self._newer = asyncio.Event()

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        self._report = report
        self._see(self._cluster.snapshot())
        await asyncio.Event().wait()

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        await self._nature.passes()
        self._cluster.scale(replicas, victims=victims, before=before, fence=fence)
        await self._has_seen(self._cluster.fence)
        await self._nature.passes()

    async def bump_fence(self) -> None:
        await self._nature.passes()
        await self._has_seen(self._cluster.bump())

    async def _has_seen(self, fence: int) -> None:
        while int(self._seen.fence or 0) < fence:
            await self._newer.wait()

    async def discard(self) -> None:
        """Nothing was made."""

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        return ()


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
            kit=UpstreamKit(loop=loop, deadlines=self.deadlines, clock=loop.time),
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
