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
from activator.control.coldstart import ColdStarts
from activator.control.member import EndpointMember
from activator.control.prober import Prober
from activator.control.report import endpoint_status, gauges, outlook, usage
from activator.control.scaling import Scaler
from activator.control.verbs import Verbs
from activator.coordination.ledger_entry import shared_id
from activator.core.costs import Ledger
from activator.core.duty import Duty
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
from activator.core.lifecycle import Ended, Lifecycle, Observation, SeenReplica, State
from activator.core.usage import NOTHING
from activator.drivers.base import DriverError, Phase, Snapshot
from activator.errors import fault_of_ours
from activator.upstream.refusals import failed_start

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.control.prober import Probes
    from activator.coordination.base import DemandBoard, Lease, Wishes
    from activator.core.effects import Effect, FailedStart
    from activator.core.endpoint import Endpoint, Replica
    from activator.core.status import EndpointStatus
    from activator.core.usage import Usage
    from activator.drivers.base import Driver, Sighting
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Gauges
    from activator.upstream.registry import LiveEndpoint, LiveReplica

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
        self._pace = pace or Pace()
        self.name = endpoint.name
        self.live = live
        self.life = Lifecycle(endpoint.scale, now=clock(), scalable=scalable)
        self.cold_starts = ColdStarts(live.metrics, clock=clock)
        self.costs = Ledger(
            now=clock(),
            always_on=max(endpoint.scale.min, 1),
            price_per_hour=endpoint.cost_per_replica_hour,
        )
        self.serving = Ledger(now=clock())
        """Replica time during which requests could be sent; the rest of `costs` is starting,
        stopping or out of rotation."""
        self._history = History(self.life.state, at=time.time())
        self.snapshot = Snapshot(wanted=0)
        self.leaving: frozenset[str] = frozenset()
        """Ids that receive nothing new: retired, or told to go and not yet gone."""
        self.prober = Prober(
            probes,
            endpoint.probe,
            clock=clock,
            load=self._in_flight,
            progressed=self._progressed,
            awaited=self._is_awaited,
            changed=self._readiness_changed,
            name=self.name,
        )
        self.prober.stall = endpoint.stall
        self._wake = asyncio.Event()
        self._member = EndpointMember(
            live,
            driver,
            offer=self._offer,
            wake=self._wake.set,
        )
        self.verbs = Verbs(
            self.name,
            life=self.life,
            gate=live.gate,
            events=events,
            wake=self._wake.set,
            refused=lambda: None if self._scaling else (self._scale_error or ""),
        )
        self._driver = driver
        self._scaler = Scaler(self.name, driver=driver, board=board)
        self.scalable = scalable
        self._board = board
        self._lease = lease
        self._wishes = wishes
        self._events = events
        self._clock = clock
        self._tasks = Tasks(
            f"control/{self.name}", on_failure=partial(_task_failed, events, self.name)
        )
        self._untaken: Snapshot | None = None
        """What the driver told last, if it could not be taken in."""
        self._reported = False
        self._scaling = False
        self._scale_error: str | None = None
        self._scale_lasting = False
        self._quiet: bool | None = None
        self._questions = 0
        self._unfollow: Callable[[], None] | None = None
        """Ends being told of changes of the lease."""
        self._ever_ready: set[str] = set()
        self._adopted: frozenset[str] = frozenset()
        self._driver_task: asyncio.Task[None] | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self.is_retired = False
        self._reached: dict[str, LiveReplica] = {}
        """Replicas that were offered, by the id they were offered under, while anything is in
        flight there."""

    def start(self) -> None:
        """Take the endpoint over."""
        live = self.live
        live.gate.wake = self._wake.set
        live.refusal = self._refusal
        live.eta = self.cold_starts.remaining
        live.waiting_for = self._waiting_for
        live.outlook = lambda: outlook(self, now=self._clock())
        live.unreachable = self.prober.refused
        live.answered = self._answered
        live.state = lambda: self.life.state.value
        live.record = partial(self._events.record, self.name)
        live.metrics.gauges = self._gauges
        live.gate.held_elsewhere = self._held_elsewhere
        live.keys.used_elsewhere = self._used_elsewhere
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
        self.costs.reprice(
            always_on=max(endpoint.scale.min, 1),
            price_per_hour=endpoint.cost_per_replica_hour,
            now=self._clock(),
        )
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
        """Since this controller was made."""
        return usage(self, now=self._clock())

    @property
    def is_at_rest(self) -> bool:
        """There is no replica of it, so that all it does is to save money."""
        return not self.snapshot.replicas

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
        if not self._reported:
            self._reported = True
            self._adopted = frozenset(each.id for each in snapshot.replicas)
        self._member.saw(self.snapshot, snapshot)
        self.snapshot = snapshot
        started = [each for each in snapshot.replicas if each.phase is Phase.STARTED]
        self.leaving &= {each.id for each in snapshot.replicas}
        for each in snapshot.replicas:
            if self.prober.ready_at(each.id) is not None:
                self._ever_ready.add(each.id)
        told = {each.id for each in snapshot.replicas} | {each.id for each in snapshot.exits}
        self._ever_ready &= told
        self.prober.watch(started)
        self.costs.observe(len(snapshot.replicas), now=self._clock())
        self._offer()
        self._board.saw(self.name, fence=snapshot.fence, empty=not snapshot.wanted)
        self._wake.set()

    def _readiness_changed(self) -> None:
        for each in self.snapshot.replicas:
            ready_at = self.prober.ready_at(each.id)
            if ready_at is not None and self.prober.ready(each.id) is not None:
                self._ever_ready.add(each.id)
                phases = self.cold_starts.became_ready(each, ready_at=ready_at)
                if phases:
                    self.costs.started(sum(phases.values()))
                    words = ", ".join(f"{phase} {took:.2f} s" for phase, took in phases.items())
                    self._events.record(
                        self.name, "replica_ready", words, replica=each.id, **phases
                    )
        self._offer()
        self._wake.set()

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
        """Tell the gate whom it may send requests to, at once: a grant may follow from it."""
        offered: list[tuple[Replica, bool]] = []
        # with none wanted, all that are still seen are on their way out
        nobody = self.is_retired or not self.snapshot.wanted
        out = self.leaving | self._member.withheld
        for each in () if nobody else self.snapshot.replicas:
            if each.phase is Phase.STARTED and each.id not in out:
                replica = self.prober.ready(each.id)
                if replica is not None:
                    offered.append((replica, self.scalable and each.id not in self._adopted))
        self.serving.observe(len(offered), now=self._clock())
        self.live.keys.serving(len(offered), now=self._clock())
        self.live.offer(offered)
        reached = self._reached | self.live.replicas
        self._reached = {
            name: replica
            for name, replica in reached.items()
            if name in self.live.replicas or self.live.gate.load(name)
        }

    def _is_awaited(self) -> bool:
        """Somebody waits for a replica, whoever it is that will tell them of it."""
        if self.scalable and self.life.state is State.ACTIVATING:
            return True
        gate = self.live.gate
        return bool(gate.held or gate.held_elsewhere()[0] or self.live.queued())

    def _progressed(self, replica_id: str) -> float | None:
        replica = self._reached.get(replica_id)
        return replica.last_byte if replica else None

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
        now = self._clock()
        wake_at: float | None = None
        for effect in self.life.observe(self._observation(), now=now):
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

    def _observation(self) -> Observation:
        return Observation(
            demand=self._board.demand(self.name)
            + self.live.queued()
            + self.live.gate.take_sought(),
            wanted=self.snapshot.wanted,
            replicas=tuple(
                self._seen_replica(each)
                for each in self.snapshot.replicas
                if each.phase is not Phase.STOPPING
            ),
            held_up=self._is_held_up,
            last_ended=self._board.last_ended(self.name),
            ended=tuple(
                Ended(each.id, each.cause, was_ready=each.id in self._ever_ready)
                for each in self.snapshot.exits
            ),
            quiet=self._quiet,
            scaling=self._scaling,
            scale_error=self._scale_error,
            scale_lasting=self._scale_lasting,
            out_of_touch=bool(self.snapshot.trouble),
            remembered=self.snapshot.remembered,
            autoscaler=self.snapshot.autoscaler,
            leading=self._lease.leading,
            may_start=self._lease.duty is Duty.SERVES,
            unsure_until=self._board.unsure_until(self.name),
        )

    @property
    def _is_held_up(self) -> bool:
        phases = {each.phase for each in self.snapshot.replicas}
        return Phase.STOPPING in phases and phases <= {Phase.STOPPING, Phase.REQUESTED}

    def _in_flight(self, replica_id: str) -> int:
        """Over all activators. Whoever shares slots has heard more than this, but maybe not since
        it had a request itself."""
        name = shared_id(replica_id)
        elsewhere = self._board.elsewhere(self.name).loads
        return self.live.gate.loads.get(name, 0) + elsewhere.get(name, 0)

    def _seen_replica(self, sighting: Sighting) -> SeenReplica:
        name, ready = sighting.id, self.prober.ready(sighting.id) is not None
        is_waited_for = not ready and self.life.state is State.ACTIVATING
        progressed = self.prober.progressed(name)
        return SeenReplica(
            name,
            ready=ready,
            in_flight=self.prober.load(name),
            last_byte=-inf if progressed is None else progressed,
            reason=self.prober.reason(name) or sighting.detail,
            last_lines=self._driver.last_lines(name) if is_waited_for else (),
            is_retrying=sighting.is_retrying,
            no_capacity=sighting.no_capacity,
            ordinal=sighting.ordinal,
        )

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case SetReplicas():
                self._scale(effect)
            case AskQuiet():
                self._forget_quiet()
                self._scaler.prepare(self.snapshot.fence)
                self._tasks.spawn(self._ask_quiet(), name="quiet")
            case Revive():
                self._forget_quiet()
                self._board.revive(self.name)
            case Retire(victims):
                self.leaving = frozenset(victims)
                self._offer()
            case FailHeld(cause, retry_after):
                self.costs.started(self.cold_starts.failed())
                self.live.gate.refuse_held(failed_start(cause, retry_after=retry_after))
            case Answer():
                self.verbs.answered(effect)
            case Record(action, reason):
                self._events.record(self.name, action, reason)
            case WakeAt():
                raise AssertionError("WakeAt is the loop's")

    def _scale(self, order: SetReplicas) -> None:
        wanted = self.snapshot.wanted
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
            before=wanted,
            **({"request_id": cause} if cause else {}),
        )
        self._scaling = True
        self.leaving |= frozenset(order.victims)
        self._offer()
        agreed = order.count == 0 and self._quiet is True
        if order.count == 0:
            self._forget_quiet()
        self._tasks.spawn(self._ask_driver(order, self.snapshot, agreed=agreed), name="scale")

    async def _ask_driver(self, order: SetReplicas, seen: Snapshot, *, agreed: bool) -> None:
        """`seen`: what it was decided upon."""
        try:
            if self._lease.duty is not Duty.SERVES:  # no longer: this process may have been stopped
                raise DriverError("another activator may serve by now")
            await self._scaler.carry_out(order, agreed=agreed, before=seen.wanted, fence=seen.fence)
        except DriverError as error:
            self._not_carried_out(order, error)
        except Exception as bug:
            self._tasks.tell_failure("scale", bug)
            why = fault_of_ours(bug)
            self._not_carried_out(order, DriverError(why))
        else:
            self._scale_error = None
        finally:
            self._scaling = False
            self._wake.set()

    def _not_carried_out(self, order: SetReplicas, why: DriverError) -> None:
        self._scale_error, self._scale_lasting = str(why), why.lasting
        self.leaving -= frozenset(order.victims)
        self._offer()

    def _forget_quiet(self) -> None:
        self._quiet = None
        self._questions += 1

    async def _ask_quiet(self) -> None:
        question = self._questions
        try:
            quiet = await self._scaler.ask_quiet()
        except Exception as bug:
            self._tasks.tell_failure("quiet", bug)
            quiet = False  # nothing is stopped on an answer that is not known
        if question == self._questions:  # nobody has called it off meanwhile
            self._quiet = quiet
            self._wake.set()

    def _held_elsewhere(self) -> tuple[int, int]:
        share = self._board.elsewhere(self.name)
        return share.held, share.held_bytes

    def _used_elsewhere(self) -> bool:
        """Another activator has a request, or had the last one."""
        board = self._board
        is_last = board.last_ended(self.name) <= self.live.gate.last_ended
        return bool(board.elsewhere(self.name).demand) or not is_last

    # --- what the proxy and operators are told --------------------------------------------------

    def _refusal(self) -> tuple[FailedStart, float] | None:
        return self.life.refusal(now=self._clock())

    def _waiting_for(self) -> str:
        if self.live.gate.paused:
            return "the endpoint is paused"
        if not self.live.cold:
            return "every slot is taken"
        reasons = [self.prober.reason(each.id) or each.detail for each in self.snapshot.replicas]
        told = "; ".join(reason for reason in (*reasons, self.snapshot.trouble) if reason)
        return f"no replica is ready ({told})" if told else "no replica is ready"

    def _gauges(self) -> Gauges:
        return gauges(self, now=self._clock())

    # --- endings --------------------------------------------------------------------------------

    async def retire(self, *, within: float) -> None:
        """Give the replicas nothing new, order no others, let these finish what they have."""
        self.is_retired = True
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
        """Stop looking, and stop the driver: what must not outlive us is stopped by it."""
        self.live.offer(())
        await self.prober.aclose()
        await self._tasks.aclose()
        if self._unfollow is not None:
            self._unfollow()
        self._wishes.leave(self.name)
        self._board.leave(self.name)
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
