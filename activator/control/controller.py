"""One endpoint's control loop: look, ask the brain, carry out its effects, sleep until it matters.

Facts come from the driver (what runs), the prober (what answers) and the demand board (who
wants). Decisions are `core.lifecycle`'s; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from math import inf
from typing import TYPE_CHECKING

from activator.aiokit.pace import Pace
from activator.aiokit.tasks import Tasks
from activator.control.account import Account
from activator.control.coldstart import ColdStarts
from activator.control.errands import Errands
from activator.control.everywhere import Everywhere
from activator.control.member import EndpointMember
from activator.control.observing import Observer
from activator.control.prober import Prober
from activator.control.report import endpoint_status, gauges, outlook, waiting_for
from activator.control.rotation import Rotation
from activator.control.verbs import Verbs
from activator.core.effects import (
    Answer,
    AskQuiet,
    FailHeld,
    Record,
    Retire,
    Revive,
    SetReplicas,
    WakeAt,
)
from activator.core.endpoint import Owner
from activator.core.history import Day, History
from activator.core.lifecycle import Lifecycle, State
from activator.core.usage import NOTHING
from activator.drivers.base import Phase, Snapshot
from activator.upstream.refusals import failed_start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.control.prober import Probes
    from activator.coordination.base import DemandBoard, Lease, Wishes
    from activator.core.effects import Effect
    from activator.core.endpoint import Endpoint
    from activator.core.status import EndpointStatus
    from activator.core.usage import Usage
    from activator.drivers.base import Driver
    from activator.telemetry.events import EventLog
    from activator.upstream.registry import LiveEndpoint

_log = logging.getLogger("activator.control")

GATHER = 0.005
"""Seconds between two looks: what happens within it is seen at once instead of one by one."""

SAMPLE = 1.0
"""Seconds between two looks at an endpoint that may have more replicas than it has: requests that
find a slot at once wake nobody, and demand is averaged over no less than six seconds."""

RETIRED_LOOK = 0.05
"""Seconds between two looks at whether retired replicas have finished."""


class Controller:
    """Runs one endpoint over one driver until it is closed."""

    def __init__(
        self,
        live: LiveEndpoint,
        driver: Driver,
        *,
        scalable: bool,
        board: DemandBoard,
        lease: Lease,
        wishes: Wishes,
        probes: Probes,
        events: EventLog,
        clock: Callable[[], float],
        pace: Pace | None = None,
    ) -> None:
        """`pace`: shared with those that may wake at the same moment."""
        endpoint = live.endpoint
        self.name = endpoint.name
        self.live = live
        self.scalable = scalable
        self._driver = driver
        self._board = board
        self._lease = lease
        self._wishes = wishes
        self._events = events
        self._clock = clock
        self._pace = pace or Pace()
        self._wake = asyncio.Event()
        wake = self._wake.set
        self._tasks = Tasks(
            f"control/{self.name}", on_failure=partial(_task_failed, events, self.name)
        )
        self.snapshot = Snapshot(wanted=0)
        self._untaken: Snapshot | None = None
        """What the driver told last, if it could not be taken in."""
        self._reported = False
        self.life = Lifecycle(endpoint.scale, now=clock(), scalable=scalable)
        self.cold_starts = ColdStarts(live.metrics, clock=clock)
        self.account = Account(endpoint, cold_starts=self.cold_starts, clock=clock)
        self.rotation = Rotation(live, account=self.account, paces=scalable)
        self._everywhere = Everywhere(live, board)
        self.prober = Prober(
            probes,
            endpoint.probe,
            clock=clock,
            load=self._everywhere.in_flight,
            progressed=self.rotation.progressed,
            awaited=self._is_awaited,
            changed=self._readiness_changed,
            name=self.name,
        )
        self.prober.stall = endpoint.stall
        self._member = EndpointMember(live, driver, offer=self._offer, wake=wake)
        self._errands = Errands(
            self.name, driver=driver, board=board, lease=lease, tasks=self._tasks, wake=wake
        )
        self._observer = Observer(
            driver,
            prober=self.prober,
            everywhere=self._everywhere,
            errands=self._errands,
            lease=lease,
        )
        self.verbs = Verbs(
            self.name,
            life=self.life,
            gate=live.gate,
            events=events,
            wake=wake,
            refused=self._errands.refusal,
        )
        self._history = History(self.life.state, at=time.time())
        self._unfollow: Callable[[], None] | None = None
        """Ends being told of changes of the lease."""
        self._driver_task: asyncio.Task[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Take the endpoint over."""
        live = self.live
        self.account.begin()
        live.gate.wake = self._wake.set
        live.refusal = lambda: self.life.refusal(now=self._clock())
        live.eta = self.cold_starts.remaining
        live.waiting_for = partial(waiting_for, self)
        live.outlook = lambda: outlook(self, now=self._clock())
        live.unreachable = self.prober.refused
        live.answered = self._answered
        live.state = lambda: self.life.state.value
        live.record = partial(self._events.record, self.name)
        live.metrics.gauges = lambda: gauges(self, now=self._clock())
        live.gate.held_elsewhere = self._everywhere.held_elsewhere
        live.keys.used_elsewhere = self._everywhere.used_elsewhere
        self._board.join(self.name, self._member)
        self._wishes.join(self.name, self.verbs)
        # which all endpoints are told of at the same moment
        self._unfollow = self._lease.on_change(partial(self._pace.call, self._wake.set))
        self._driver_task = self._tasks.spawn(self._drive(), name="driver")
        self._loop_task = self._tasks.spawn_lasting(self._loop, name="loop", again=self._wake.set)

    async def _drive(self) -> None:
        await self._pace.turn()
        await self._driver.run(self._told)

    # --- what operators and the configuration ask for ------------------------------------------

    def reconfigure(self, endpoint: Endpoint) -> None:
        """Everything but the backend has changed."""
        self.live.reconfigure(endpoint)
        self.life.reconfigure(endpoint.scale)
        self.prober.reconfigure(endpoint.probe)
        self.prober.stall = endpoint.stall
        self.account.reprice(endpoint)
        self._wake.set()

    def remember(self) -> None:
        """Note how many requests have ended by now; the more often, the finer the history."""
        self._history.count(self.live.metrics.ended, at=time.time())

    def day(self) -> Day:
        self.remember()
        return self._history.day(at=time.time())

    def status(self, *, today: Usage = NOTHING) -> EndpointStatus:
        return endpoint_status(self, today=today, now=self._clock())

    def usage(self) -> Usage:
        """Of its endpoint, since the first of those that have followed one another was made."""
        return self.account.usage()

    @property
    def is_at_rest(self) -> bool:
        """There is no replica of it, so that all it does is to save money."""
        return not self.snapshot.replicas and not self.account.is_waiting

    # --- what happens ---------------------------------------------------------------------------

    def _told(self, snapshot: Snapshot) -> None:
        """By the driver, which goes on whatever becomes of it here."""
        self._untaken = None
        try:
            self._seen(snapshot)
        except Exception as bug:
            self._untaken = snapshot
            self._tasks.tell_failure("snapshot", bug)
            self._wake.set()

    def _seen(self, snapshot: Snapshot) -> None:
        if snapshot.is_blind:
            self.snapshot = snapshot  # there is nothing to decide from yet
            return
        self._reported = True
        self._member.saw(self.snapshot, snapshot)
        self.snapshot = snapshot
        self.rotation.saw(snapshot)
        self._observer.saw(snapshot)
        self.prober.watch(each for each in snapshot.replicas if each.phase is Phase.STARTED)
        self.account.runs(len(snapshot.replicas))
        self._offer()
        self._board.saw(self.name, fence=snapshot.fence, empty=not snapshot.wanted)
        self._wake.set()

    def _readiness_changed(self) -> None:
        self._wake.set()
        self._offer()  # whatever becomes of what is told
        for each in self.snapshot.replicas:
            ready_at = self.prober.ready_at(each.id)
            if ready_at is not None and self.prober.ready(each.id) is not None:
                self._observer.note_ready(each.id)
                phases = self.cold_starts.became_ready(each, ready_at=ready_at)
                if phases:
                    self.account.started(sum(phases.values()))
                    words = ", ".join(f"{phase} {took:.2f} s" for phase, took in phases.items())
                    self._events.record(
                        self.name, "replica_ready", words, replica=each.id, **phases
                    )

    def _answered(self, replica_id: str) -> None:
        seconds = self.cold_starts.answered(replica_id)
        if seconds is not None:
            self._events.record(
                self.name,
                "first_byte",
                f"{seconds * 1000:.0f} ms after the replica was ready",
                replica=replica_id,
                first_byte=seconds,
            )

    def _offer(self) -> None:
        self.rotation.offer(self.snapshot, ready=self.prober.ready, withheld=self._member.withheld)

    def _is_awaited(self) -> bool:
        """Somebody waits for a replica, whoever it is that will tell them of it."""
        if self.scalable and self.life.state is State.ACTIVATING:
            return True
        gate = self.live.gate
        return bool(gate.held or gate.held_elsewhere()[0] or self.live.queued())

    # --- the loop -------------------------------------------------------------------------------

    async def _loop(self) -> None:
        while True:
            await self._wake.wait()
            await self._pace.turn()
            self._wake.clear()
            if self._untaken is not None:
                self._seen(self._untaken)
                self._untaken = None
            self.live.gate.turn_away()  # whoever has come to wait although nobody may
            if not self._reported:
                continue
            wake_at = self._observe()
            await asyncio.sleep(GATHER)
            if wake_at is not None and not self._wake.is_set():
                await self._sleep_until(wake_at)

    async def _sleep_until(self, moment: float) -> None:
        try:
            async with asyncio.timeout(max(0.0, moment - self._clock())):
                await self._wake.wait()
        except TimeoutError:
            self._wake.set()

    def _observe(self) -> float | None:
        """Look once and act; the moment at which to look again at the latest."""
        now, life = self._clock(), self.life
        seen = self._observer.look(self.snapshot, is_starting=life.state is State.ACTIVATING)
        wake_at: float | None = None
        for effect in life.observe(seen, now=now):
            if isinstance(effect, WakeAt):
                wake_at = effect.at
            else:
                self._carry_out(effect)
        self.verbs.looked()
        self.prober.look()
        self._history.enter(self.life.state, at=time.time())
        if self.life.state is not State.ACTIVATING:
            self.cold_starts.called_off()
        elif self.scalable and not any(
            each.phase is not Phase.STOPPING for each in self.snapshot.replicas
        ):
            self.cold_starts.began()
        if self._may_resize:
            wake_at = min(inf if wake_at is None else wake_at, now + SAMPLE)
        return wake_at

    @property
    def _may_resize(self) -> bool:
        policy = self.live.endpoint.scale
        if self.life.state is not State.ACTIVE or not self.scalable or self.life.paused:
            return False
        return policy.owner is Owner.ACTIVATOR and policy.max > max(policy.min, 1)

    def _carry_out(self, effect: Effect) -> None:
        """One that meets a bug keeps no other from being carried out: none is asked for twice."""
        try:
            self._do(effect)
        except Exception as bug:
            self._tasks.tell_failure("effect", bug)
            if isinstance(effect, SetReplicas) and not self._errands.is_scaling:
                self._errands.refuse(effect, bug, refused=self._put_back)

    def _do(self, effect: Effect) -> None:
        match effect:
            case SetReplicas():
                self._scale(effect)
            case AskQuiet():
                self._errands.ask_quiet(fence=self.snapshot.fence)
            case Revive():
                self._errands.forget_quiet()
                self._board.revive(self.name)
            case Retire(victims):
                self.rotation.retire(victims)
                self._offer()
            case FailHeld(cause, retry_after):
                self.live.gate.refuse_held(failed_start(cause, retry_after=retry_after))
                self.account.started(self.cold_starts.failed())
            case Answer():
                self.verbs.answered(effect)
            case Record(action, reason):
                self._events.record(self.name, action, reason)
            case WakeAt():
                raise AssertionError("WakeAt is the loop's")

    def _scale(self, order: SetReplicas) -> None:
        self.rotation.leave(order.victims)
        self._offer()
        self._errands.scale(order, seen=self.snapshot, refused=self._put_back)
        # told once it is on its way, whatever becomes of what is told
        staying = [each for each in self.snapshot.replicas if each.phase is not Phase.STOPPING]
        direction = "up" if order.count > len(staying) else "down"
        self.live.metrics.scaled(direction=direction, reason=order.reason)
        # whoever waits is why, where that is known here: the line may be another activator's
        cause = self.live.gate.first_in_line if direction == "up" else ""
        self._events.record(
            self.name,
            f"scaling_{direction}",
            order.reason,
            replicas=order.count,
            before=self.snapshot.wanted,
            **({"request_id": cause} if cause else {}),
        )

    def _put_back(self, order: SetReplicas) -> None:
        """It was not taken: whoever was to go stays."""
        self.rotation.stay(order.victims)
        self._offer()

    # --- endings --------------------------------------------------------------------------------

    async def retire(self, *, within: float) -> None:
        """Give the replicas nothing new, order no others, let these finish what they have."""
        self.rotation.close()
        if self._loop_task is not None:
            self._loop_task.cancel()
        self._offer()
        until = self._clock() + within
        # the end of a request at a replica that is no longer offered wakes nobody
        while self._is_busy and self._clock() < until:  # noqa: ASYNC110
            await asyncio.sleep(RETIRED_LOOK)

    async def discard(self) -> None:
        """After `retire`, if the endpoint is gone or runs otherwise from now on: leave nothing
        behind of what only it has needed."""
        await self._driver.discard()

    @property
    def _is_busy(self) -> bool:
        return any(self.prober.load(each.id) for each in self.snapshot.replicas)

    def hurry(self) -> None:
        """While it closes: cancelled a second time, a driver waits no longer than it must."""
        if self._driver_task is not None:
            self._driver_task.cancel()

    async def aclose(self) -> None:
        """Stop looking, and stop the driver: what must not outlive us is stopped by it. Of one that
        was never started the endpoint knows nothing."""
        self.rotation.close()
        ends: tuple[Callable[[], Awaitable[object] | None], ...] = (
            self.prober.aclose,
            self._tasks.aclose,
        )
        if self._unfollow is not None:
            ends = (
                self._offer,
                *ends,
                self._unfollow,
                self.account.end,
                partial(self._wishes.leave, self.name),
                partial(self._board.leave, self.name),
                self.live.gate.revive,  # who waits for the next one was given no word
            )
        await self._tasks.end_each(*ends)
        # of thousands that come and go each is to be freed at once: the collector looks seldom
        self._driver_task = self._loop_task = None
        self._member.close()
        self.verbs.close()


def _task_failed(events: EventLog, endpoint: str, name: str, failure: BaseException) -> None:
    """A loop of this endpoint has a bug; say so instead of standing still in silence."""
    _log.error(
        "control failed",
        extra={"action": "control_failed", "endpoint": endpoint},
        exc_info=failure,
    )
    events.record(endpoint, "control_failed", f"{name}: {failure!r}")
