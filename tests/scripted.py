"""A driver that does what a test tells it: replicas are whatever the test's `factory` provides.

It keeps the semantics of `drivers.base.Driver` and nothing else: no processes, no ports of its
own. Time is the loop's, so that it also runs in virtual time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.core.effects import FailedStart
from activator.drivers.base import DriverError, Exit, Phase, Sighting, Snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


@dataclass(frozen=True, slots=True)
class ScaleCall:
    """One order as the driver got it; `at` in loop time."""

    replicas: int
    victims: tuple[str, ...]
    at: float


@dataclass(slots=True)
class _Scripted:
    id: str
    requested_at: float
    since: float
    phase: Phase = Phase.REQUESTED
    host: str = ""
    port: int = 0
    is_under_way: bool = False


async def _nothing(_id: str) -> None:
    return


class ScriptedDriver:
    """Implements `Driver`.

    `factory(id)` brings a replica up and gives its (host, port); `dispose(id)` takes it down
    again, after a crash too; it may be called twice if `run` is cancelled meanwhile.
    `start_delay` and `stop_delay` (seconds, may be changed at any time) pass before each.
    `calls` holds every order that was taken or refused, `printed` the last lines of replicas.
    """

    def __init__(
        self,
        name: str,
        *,
        factory: Callable[[str], Awaitable[tuple[str, int]]],
        dispose: Callable[[str], Awaitable[None]] = _nothing,
        start_delay: float = 0.0,
        stop_delay: float = 0.0,
    ) -> None:
        self.start_delay = start_delay
        self.stop_delay = stop_delay
        self.sees_nothing = False
        """It has not had a look at the outside world yet."""
        self.calls: list[ScaleCall] = []
        self.printed: dict[str, tuple[str, ...]] = {}
        self._name = name
        self._factory = factory
        self._dispose = dispose
        self._replicas: dict[str, _Scripted] = {}
        self._exits: deque[Exit] = deque(maxlen=8)
        self._failures: deque[FailedStart] = deque()
        self._refusals: deque[str] = deque()
        self._count = 0
        self._fence = 1
        self._report: Callable[[Snapshot], None] | None = None
        self._up: set[str] = set()
        self._changed = asyncio.Event()
        self._tasks = Tasks(f"scripted/{name}", on_failure=self._fail)
        self._failure: BaseException | None = None
        self._has_ended = False

    def fail_next(self, cause: FailedStart | str, *, times: int = 1) -> None:
        """The next starts end with this instead of an address, after `start_delay`."""
        failure = FailedStart(cause) if isinstance(cause, str) else cause
        self._failures.extend([failure] * times)

    def refuse_next(self, why: str) -> None:
        """The next order is not taken: `scale` raises DriverError."""
        self._refusals.append(why)

    def crash(self, replica_id: str, cause: FailedStart | str = "crashed") -> None:
        """A replica that has been started ends unasked. Raises KeyError if it does not run."""
        if replica_id not in self.running:
            raise KeyError(replica_id)
        failure = FailedStart(cause) if isinstance(cause, str) else cause
        self._end_unasked(self._replicas[replica_id], failure)

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the replicas that have an address and were not told to stop, oldest first."""
        return tuple(r.id for r in self._replicas.values() if r.phase is Phase.STARTED)

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        self._report = report
        try:
            while True:
                self._changed.clear()
                if self._failure is not None:
                    raise self._failure
                self._start_what_may_start()
                unseen = Snapshot(wanted=0, is_blind=True)
                report(unseen if self.sees_nothing else self._snapshot())
                await self._changed.wait()
        finally:
            self._has_ended = True
            self._report = None
            self._replicas.clear()
            await self._tasks.aclose()
            for replica_id in list(self._up):
                await self._take_away(replica_id)

    async def bump_fence(self) -> None:
        self._fence += 1
        if self._report is not None:
            self._report(self._snapshot())

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        now = asyncio.get_running_loop().time()
        self.calls.append(ScaleCall(replicas, victims, now))
        if self._has_ended:
            raise DriverError(f"endpoint {self._name} is shutting down")
        if replicas < 0:
            raise DriverError(f"cannot run {replicas} replicas")
        if fence and fence != str(self._fence):
            raise DriverError(f"endpoint {self._name} has been revived")
        if self._refusals:
            raise DriverError(self._refusals.popleft())
        living = [r for r in self._replicas.values() if r.phase is not Phase.STOPPING]
        if before is not None and before != len(living):
            return
        for replica in sorted(living, key=lambda r: r.id in victims)[replicas:]:
            self._stop(replica, now=now)
        for _ in range(replicas - len(living)):
            self._count += 1
            ordered = _Scripted(f"{self._name}-{self._count}", requested_at=now, since=now)
            self._replicas[ordered.id] = ordered
        self._changed.set()
        if len(living) != replicas:
            await self.bump_fence()

    async def discard(self) -> None:
        """`run` takes everything away when it ends."""

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        return self.printed.get(replica_id, ())

    def _start_what_may_start(self) -> None:
        if any(replica.phase is Phase.STOPPING for replica in self._replicas.values()):
            return
        for replica in self._replicas.values():
            if not replica.is_under_way:
                replica.is_under_way = True
                self._tasks.spawn(self._bring_up(replica), name=f"start {replica.id}")

    async def _bring_up(self, replica: _Scripted) -> None:
        await asyncio.sleep(self.start_delay)
        if replica.id not in self._replicas:
            return
        if self._failures:
            self._end_unasked(replica, self._failures.popleft())
            return
        self._up.add(replica.id)
        replica.host, replica.port = await self._factory(replica.id)
        if replica.id not in self._replicas:
            await self._take_away(replica.id)
            return
        replica.phase, replica.since = Phase.STARTED, asyncio.get_running_loop().time()
        self._changed.set()

    def _stop(self, replica: _Scripted, *, now: float) -> None:
        if replica.phase is Phase.REQUESTED:
            del self._replicas[replica.id]
        else:
            replica.phase, replica.since = Phase.STOPPING, now
            self._tasks.spawn(self._take_down(replica), name=f"stop {replica.id}")

    async def _take_down(self, replica: _Scripted) -> None:
        await asyncio.sleep(self.stop_delay)
        await self._take_away(replica.id)
        self._replicas.pop(replica.id, None)
        self._changed.set()

    def _end_unasked(self, replica: _Scripted, cause: FailedStart) -> None:
        del self._replicas[replica.id]
        self._exits.append(Exit(replica.id, cause))
        if replica.id in self._up:
            self._tasks.spawn(self._take_away(replica.id), name=f"dispose {replica.id}")
        self._changed.set()

    async def _take_away(self, replica_id: str) -> None:
        await self._dispose(replica_id)
        self._up.discard(replica_id)

    def _fail(self, _task: str, failure: BaseException) -> None:
        """What the test's own callables raise comes out of `run`."""
        self._failure = failure
        self._changed.set()

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            wanted=sum(r.phase is not Phase.STOPPING for r in self._replicas.values()),
            replicas=tuple(
                Sighting(
                    id=replica.id,
                    phase=replica.phase,
                    since=replica.since,
                    requested_at=replica.requested_at,
                    host=replica.host,
                    port=replica.port,
                    detail="scripted",
                )
                for replica in self._replicas.values()
            ),
            exits=tuple(self._exits),
            fence=str(self._fence),
        )
