"""Asks every replica of an endpoint whether it answers, as often as `core.readiness` wants it.

A probe that hangs does not delay the next. Data traffic that was refused, or that makes no
progress, is told here too. Who is ready follows from `Readiness`; what follows from that is the
controller's.
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from math import inf, isinf
from typing import TYPE_CHECKING, Protocol

from activator.aiokit.tasks import Tasks
from activator.core.endpoint import Replica
from activator.core.readiness import MAX_OPEN_PROBES, Answer, ProbeOutcome, Readiness
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activator.core.endpoint import ProbePolicy
    from activator.drivers.base import Sighting


_log = logging.getLogger("activator.control")

SOONEST = 0.01
"""Seconds between two looks at whether a replica makes progress, at least."""


class Probes(Protocol):
    """How one probe is made (`upstream.probe.ProbeClient`); all endpoints share one."""

    crowd: int
    """Replicas of all endpoints that are asked and do not answer; probers count theirs."""

    async def probe(self, replica: Replica, policy: ProbePolicy) -> ProbeOutcome: ...


class _Probed:
    """One replica under watch."""

    __slots__ = (
        "fault",
        "is_counted",
        "open",
        "pace_changed",
        "readiness",
        "ready_at",
        "replica",
        "sighting",
        "stalled_at",
        "task",
    )

    def __init__(self, sighting: Sighting, readiness: Readiness) -> None:
        self.sighting = sighting
        self.replica = Replica(sighting.id, sighting.host, sighting.port)
        self.readiness = readiness
        self.open = 0
        self.is_counted = False
        """As one of the crowd that does not answer."""
        self.ready_at: float | None = None
        """When it first answered."""
        self.fault = ""
        """How the latest probe has failed, if that was our own fault."""
        self.stalled_at = inf
        self.pace_changed = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    @property
    def offered(self) -> Replica:
        """As the gate knows it: one that was ejected and answers again is another replica to a
        request that failed at it."""
        generation = self.readiness.generation
        if generation <= 1:
            return self.replica
        first = self.replica
        before = first.id if generation == 2 else f"{first.id}~{generation - 1}"
        return Replica(f"{first.id}~{generation}", first.host, first.port, before=before)


class Prober:
    """The replicas of one endpoint. `changed` is called when one became ready or was ejected."""

    def __init__(
        self,
        probes: Probes,
        policy: ProbePolicy,
        *,
        clock: Callable[[], float],
        load: Callable[[str], int],
        progressed: Callable[[str], float | None],
        awaited: Callable[[], bool],
        changed: Callable[[], None],
        name: str,
    ) -> None:
        """`load` and `progressed` tell requests in flight at a replica (by the id it is offered
        under) and when it last sent a byte (monotonic; None: nothing was sent to it yet);
        `awaited` whether anybody waits for one of these to answer."""
        self._probes = probes
        self._policy = policy
        self._clock = clock
        self._load = load
        self._progressed = progressed
        self._changed = changed
        self._tasks = Tasks(f"prober/{name}")
        self._watched: dict[str, _Probed] = {}
        self._awaited = awaited
        self._is_awaited = False
        self._is_over = False
        self.stall = 0.0
        """Seconds without a byte after which a busy replica is taken out; 0: never."""

    def watch(self, sightings: Iterable[Sighting]) -> None:
        """These have an address now, and no others. Once it closes nobody is watched any more."""
        if self._is_over:
            return
        current = {each.id: each for each in sightings}
        for gone in self._watched.keys() - current.keys():
            probed = self._watched.pop(gone)
            if probed.task is not None:
                probed.task.cancel()
                probed.task = None  # whose end holds what it has looked at
        for each in current.values():
            known = self._watched.get(each.id)
            if known is None:
                probed = _Probed(each, Readiness(self._policy, now=self._clock()))
                self._watched[each.id] = probed
                probed.task = self._tasks.spawn_lasting(partial(self._watch, probed), name=each.id)
            elif known.sighting != each:
                known.sighting = each
                self._stir(known)

    def look(self) -> None:
        """Somebody may have begun to wait for one of these, or nobody does any more."""
        was, self._is_awaited = self._is_awaited, self._awaited()
        if self._is_awaited and not was:
            for probed in self._watched.values():
                self._stir(probed)

    def reconfigure(self, policy: ProbePolicy) -> None:
        """Holds for replicas that come, and for the pace at which all are asked."""
        self._policy = policy
        for probed in self._watched.values():
            probed.readiness.reconfigure(policy)

    def ready(self, sighting_id: str) -> Replica | None:
        """The replica as it may be offered, None if it does not answer."""
        probed = self._watched.get(sighting_id)
        return probed.offered if probed is not None and probed.readiness.ready else None

    def ready_at(self, sighting_id: str) -> float | None:
        """When it first answered; None: not yet."""
        probed = self._watched.get(sighting_id)
        return probed.ready_at if probed else None

    def reason(self, sighting_id: str) -> str:
        """Why it is ready or not, in words."""
        probed = self._watched.get(sighting_id)
        return probed.readiness.reason if probed else ""

    def load(self, sighting_id: str) -> int:
        """Requests in flight at it."""
        probed = self._watched.get(sighting_id)
        return self._load(probed.offered.id if probed else sighting_id)

    def progressed(self, sighting_id: str) -> float | None:
        """When a request at it last made progress; None: nothing was sent to it yet."""
        probed = self._watched.get(sighting_id)
        return self._progressed(probed.offered.id) if probed else None

    def refused(self, replica_id: str, detail: str) -> None:
        """Data traffic could not reach a replica (by the id it was offered under), as `detail`
        says."""
        for probed in self._watched.values():
            if probed.readiness.ready and probed.offered.id == replica_id:
                _log.warning(
                    "replica unreachable",
                    extra={"action": "ejected", "replica": replica_id, "reason": detail},
                )
                probed.readiness.refused(self._clock())
                self._readiness_changed(probed)

    async def aclose(self) -> None:
        self._is_over = True
        await self._tasks.aclose()
        for probed in self._watched.values():
            probed.task = None
        self._watched.clear()
        # whoever is asked and told holds us
        self._load, self._progressed = _nothing_there, _nothing_sent
        self._awaited, self._changed = bool, _nobody

    async def _watch(self, probed: _Probed) -> None:
        try:
            while True:
                began = self._clock()
                if probed.open < MAX_OPEN_PROBES:
                    probed.open += 1
                    self._tasks.spawn(self._probe(probed), name=f"probe {probed.replica.id}")
                await self._until_due(probed, began=began)
        finally:
            self._count(probed, is_away=False)

    def _count(self, probed: _Probed, *, is_away: bool) -> None:
        self._probes.crowd += is_away - probed.is_counted
        probed.is_counted = is_away

    def _stir(self, probed: _Probed) -> None:
        probed.readiness.stirred(self._clock())
        probed.pace_changed.set()

    async def _until_due(self, probed: _Probed, *, began: float) -> None:
        """Until the next probe is due; its pace may change and the replica stall meanwhile."""
        while True:
            self._check_progress(probed)
            self.look()
            self._count(probed, is_away=not probed.readiness.ready)
            now, crowd = self._clock(), self._probes.crowd
            due = probed.readiness.next_probe(began, awaited=self._is_awaited, crowd=crowd)
            if due <= now:
                return
            look = min(due, self._stalls_at(probed, now=now))
            probed.pace_changed.clear()
            try:
                async with asyncio.timeout(None if isinf(look) else look - now):
                    await probed.pace_changed.wait()
            except TimeoutError:
                if look == due:  # a timer may be a hair early: asking the clock again would spin
                    return

    async def _probe(self, probed: _Probed) -> None:
        try:
            outcome = await self._probes.probe(probed.replica, self._policy)
            probed.fault = ""
        except Exception as bug:
            why = fault_of_ours(bug)
            outcome = ProbeOutcome(Answer.ERROR, why)
            if why != probed.fault:  # told once: there are twenty probes a second
                probed.fault = why
                self._tasks.tell_failure(f"probe {probed.replica.id}", bug)
        finally:
            probed.open -= 1
        if self._watched.get(probed.replica.id) is not probed:
            return
        readiness, now = probed.readiness, self._clock()
        before = readiness.ready
        if (self._progressed(probed.offered.id) or -inf) > probed.stalled_at:
            readiness.moved()
        readiness.probed(outcome, in_flight=self._load(probed.offered.id), now=now)
        if readiness.ready and probed.ready_at is None:
            probed.ready_at = now
        probed.pace_changed.set()
        if readiness.ready != before:
            self._changed()

    def _check_progress(self, probed: _Probed) -> None:
        if not self.stall or not probed.readiness.ready:
            return
        offered = probed.offered.id
        last = self._progressed(offered)
        now = self._clock()
        if last is not None and self._load(offered) and now - last >= self.stall:
            probed.stalled_at = now
            probed.readiness.stalled(now)
            self._readiness_changed(probed)

    def _stalls_at(self, probed: _Probed, *, now: float) -> float:
        """When to look for a stall; a request that begins now cannot be one any sooner."""
        if not self.stall or not probed.readiness.ready:
            return inf
        offered = probed.offered.id
        last = self._progressed(offered) if self._load(offered) else None
        return max((now if last is None else last) + self.stall, now + SOONEST)

    def _readiness_changed(self, probed: _Probed) -> None:
        probed.pace_changed.set()
        self._changed()


def _nothing_there(replica_id: str) -> int:
    return 0


def _nothing_sent(replica_id: str) -> None:
    return None


def _nobody() -> None:
    """It is over."""
