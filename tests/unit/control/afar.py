"""The store and the cluster as one activator of a city reaches them: what passes takes its time,
may be lost, and waits while the activator stands still."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from activator.drivers.base import DriverError, Phase, Sighting, Snapshot
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

    from activator.aiokit.tasks import Tasks

T = TypeVar("T")

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
