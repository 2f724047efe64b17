"""A controller at work over a scripted driver and scripted probes, in the loop's (virtual) time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.aiokit.tasks import Tasks
from activator.control.controller import Controller
from activator.coordination.base import ASKED
from activator.coordination.memory import MemoryBoard, MemoryLease, MemoryLedger
from activator.coordination.memory_wishes import MemoryWishes
from activator.core.dispatch import Ticket
from activator.core.endpoint import Endpoint, ProbePolicy, ProcessBackend, ScalePolicy
from activator.core.held import HeldRequest
from activator.core.readiness import Answer, ProbeOutcome
from activator.telemetry.events import EventLog
from activator.telemetry.metrics import Metrics
from activator.upstream.gate import Gate
from activator.upstream.pool import UpstreamKit
from activator.upstream.registry import LiveEndpoint
from tests.scripted import ScriptedDriver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.core.endpoint import Replica
    from activator.errors import ActivatorError

BACKEND = ProcessBackend(("model", "{port}"))


class ScriptedProbes:
    """Answers probes as told: each replica after `answers_after` seconds of life, unless it is
    named in `broken`, which says how it fails."""

    def __init__(self) -> None:
        self.answers_after = 1.0
        self.broken: dict[str, Answer] = {}
        self.hanging: set[str] = set()
        self.asked: list[tuple[str, float]] = []
        self.open = 0
        self.crowd = 0
        self.most_open = 0
        self.born: dict[str, float] = {}

    async def probe(self, replica: Replica, policy: ProbePolicy) -> ProbeOutcome:
        now = asyncio.get_running_loop().time()
        self.asked.append((replica.id, now))
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            if replica.id in self.hanging:
                await asyncio.sleep(policy.timeout)
                return ProbeOutcome(Answer.TIMEOUT)
        finally:
            self.open -= 1
        if replica.id in self.broken:
            return ProbeOutcome(self.broken[replica.id], "as the test says")
        if now < self.born.setdefault(replica.id, now) + self.answers_after:
            return ProbeOutcome(Answer.REFUSED)
        return ProbeOutcome(Answer.ANSWERED)


def _nobody(ticket: Ticket, replica: Replica | None) -> None:
    raise AssertionError("a ledger in memory asks nobody")


class Caller:
    """One request as the gate knows it: held until it is granted, then in flight until `done`."""

    request_id = b"r-1"

    def __init__(self, gate: Gate) -> None:
        self.held_bytes = 0
        self.replica: Replica | None = None
        self.error: ActivatorError | None = None
        self.granted_at: float | None = None
        """If it was held."""
        self._gate = gate
        self._ticket = Ticket()
        gate.arrive()
        replica = gate.acquire_now(self._ticket, _nobody)
        assert replica is not ASKED
        self.replica = replica
        if self.replica is None:
            gate.hold(self)
            self.replica = gate.acquire(self._ticket, self._granted)
            if self.replica is not None:
                gate.unhold(self)

    @property
    def described(self) -> HeldRequest:
        return HeldRequest("r", None, 0.0, "", "GET", "/", 3, self.held_bytes)

    def refused(self, error: ActivatorError) -> None:
        self.error = error
        self._gate.unhold(self)
        self._gate.withdraw(self._ticket)
        self._gate.leave(served=False)

    def done(self) -> None:
        """The end of its answer."""
        self._gate.release(self._ticket)
        self._gate.leave(served=True)

    def _granted(self, _: Ticket, replica: Replica) -> None:
        self.replica = replica
        self.granted_at = asyncio.get_running_loop().time()
        self._gate.unhold(self)


class World:
    """One endpoint under control."""

    def __init__(
        self,
        *,
        concurrency: int = 0,
        stall: float = 0.0,
        probe: ProbePolicy | None = None,
        scalable: bool = True,
        start_delay: float = 0.5,
        sees_nothing: bool = False,
        scale: ScalePolicy | None = None,
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.clock: Callable[[], float] = self.loop.time
        self.probes = ScriptedProbes()
        self.events = EventLog()
        self.metrics = Metrics()
        self.board = MemoryBoard()
        self.wishes = MemoryWishes()
        self.tasks = Tasks("world")
        self.deadlines = Deadlines(self.loop)
        self.scalable = scalable
        self._ports = iter(range(20000, 30000))
        self.endpoint = Endpoint(
            "m",
            BACKEND,
            concurrency=concurrency,
            stall=stall,
            probe=probe or ProbePolicy(),
            scale=scale or ScalePolicy(idle_timeout=60.0),
        )
        self.live = self.make_live(self.endpoint)
        self.driver = ScriptedDriver("m", factory=self._start, start_delay=start_delay)
        self.driver.sees_nothing = sees_nothing
        self.control = self.make_controller(self.live, self.driver)

    async def _start(self, _replica_id: str) -> tuple[str, int]:
        return "127.0.0.1", next(self._ports)

    def make_driver(self, name: str) -> ScriptedDriver:
        return ScriptedDriver(name, factory=self._start, start_delay=0.5)

    def make_live(self, endpoint: Endpoint) -> LiveEndpoint:
        ledger = MemoryLedger(
            endpoint,
            clock=self.clock,
            call_soon=self.loop.call_soon,
            call_at=self.loop.call_at,
            dice=lambda _: 0,
        )
        return LiveEndpoint(
            endpoint,
            gate=Gate(endpoint, ledger, clock=self.clock),
            metrics=self.metrics.endpoint(endpoint.name),
            kit=UpstreamKit(
                loop=self.loop, deadlines=self.deadlines, outbox=Outbox(), clock=self.clock
            ),
            tasks=self.tasks,
        )

    def make_controller(self, live: LiveEndpoint, driver: ScriptedDriver) -> Controller:
        return Controller(
            live,
            driver,
            scalable=self.scalable,
            board=self.board,
            lease=MemoryLease(),
            wishes=self.wishes,
            probes=self.probes,
            events=self.events,
            clock=self.clock,
        )

    # --- what a test does and sees

    @property
    def ordered_at(self) -> float:
        """The moment of the latest order."""
        return self.driver.calls[-1].at

    def call(self) -> Caller:
        return Caller(self.live.gate)

    @property
    def state(self) -> str:
        return str(self.control.life.state)

    @property
    def orders(self) -> list[int]:
        return [call.replicas for call in self.driver.calls]

    @property
    def actions(self) -> list[str]:
        return [event.action for event in self.events.since(0)]

    async def until_granted(self, caller: Caller) -> None:
        await self.until(lambda: caller.replica)

    async def serve(self) -> None:
        """A request, from zero if need be, to its end."""
        caller = self.call()
        await self.until_granted(caller)
        caller.done()

    async def until_told(self, action: str) -> None:
        """Returns in the turn of the loop in which this is recorded."""
        with self.events.subscribe() as told:
            while action not in [event.action for event in told.take()[1]]:
                await told.wait()

    async def until(self, check: Callable[[], object], *, within: float = 600.0) -> None:
        """Waits in virtual time; returns up to 50 ms late."""
        deadline = self.clock() + within
        while not check():
            assert self.clock() < deadline, (self.state, self.orders, self.actions)
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def world(**given: object) -> AsyncIterator[World]:
    """A world whose controller has been started; afterwards nothing of it is left."""
    before = asyncio.all_tasks()
    made = World(**given)  # type: ignore[arg-type]  # checked at the one place that reads them
    made.control.start()
    try:
        yield made
    finally:
        await made.control.aclose()
        await made.tasks.aclose()
        made.live.gate.close()
        made.deadlines.close()
    assert asyncio.all_tasks() <= before
