"""What pods are as replicas, from one look to the next: sightings with their moments, and exits.

Keeps the moments at which a replica was seen to reach a phase, on our own clock (the cluster's may
differ), and which failures were told. What a pod's state means is decided in `core.diagnosis`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from activator.core.diagnosis import failures, progress
from activator.core.phases import Phase
from activator.core.pods import life_name, ordinal, port_number, serving
from activator.drivers.base import Exit, Sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from activator.core.diagnosis import ClusterEvent, Failure
    from activator.core.pods import Pod
    from activator.core.slices import SliceAddress

KEPT_EXITS: Final = 8
"""Unasked ends that a snapshot tells: more than a breaker counts before it opens."""

_TIMED: Final = (Phase.SCHEDULED, Phase.PULLED)


@dataclass(slots=True)
class _Life:
    """One life of one pod's serving container."""

    requested_at: float
    phase: Phase
    since: float
    reached: dict[Phase, float] = field(default_factory=dict)
    last: Sighting | None = None

    def enter(self, phase: Phase, now: float) -> None:
        if phase is self.phase:
            return
        self.phase, self.since = phase, now
        if phase in _TIMED:
            self.reached.setdefault(phase, now)
        elif phase is Phase.STARTED:  # one look may see both, as what is told comes together
            self.reached.setdefault(Phase.PULLED, now)


@dataclass(frozen=True, slots=True)
class Unexplained:
    """A failure whose last lines are to be fetched before it is told."""

    failure: Failure
    pod: str


class Sightings:
    """Of one endpoint."""

    def __init__(self, port: int | str, *, clock: Callable[[], float]) -> None:
        self._port = port
        self._clock = clock
        self._lives: dict[str, _Life] = {}
        self._pods: dict[str, str] = {}
        self._known: set[str] = set()
        """Failures that were told, or are of an earlier life of ours."""
        self._pending: dict[str, Sighting | None] = {}
        self._has_looked = False
        self._addresses: Mapping[str, SliceAddress] | None = None
        self.exits: deque[Exit] = deque(maxlen=KEPT_EXITS)

    def pod_of(self, replica: str) -> str:
        """The name of the pod it lives in; empty: it is not known."""
        return self._pods.get(replica, "")

    def look(
        self,
        pods: Sequence[Pod],
        events: Mapping[str, Sequence[ClusterEvent]],
        *,
        addresses: Mapping[str, SliceAddress] | None = None,
    ) -> tuple[list[Sighting], list[Unexplained]]:
        """`pods`: the workload's, oldest first. `events` by pod uid, `addresses` of the Service
        where one is named. Returns the replicas there are, and failures to be `told`."""
        self._addresses = addresses
        seen: list[Sighting] = []
        unexplained: list[Unexplained] = []
        ids, failed = set[str](), set[str]()
        for pod in pods:
            about = events.get(pod.uid, ())
            found = failures(pod, about, port=self._port)
            failed.update(*(_names(each) for each in found))
            unexplained += self._new(pod, found)
            if not pod.is_over:
                sighting = self._sighting(pod, about, has_failed=bool(found))
                ids.add(sighting.id)
                seen.append(sighting)
        self._forget(ids, failed)
        self._has_looked = True
        ending = [each for each in self._pending.values() if each and each.id not in ids]
        return [*ending, *seen], unexplained

    def told(self, failure: Failure, lines: Iterable[str] = ()) -> None:
        """It may be told now, with what was printed last."""
        self._pending.pop(failure.id, None)
        cause = failure.cause
        if lines:
            cause = type(cause)(cause.message, exit_code=cause.exit_code, last_lines=tuple(lines))
        self.exits.append(Exit(failure.id, cause))

    def _new(self, pod: Pod, found: Sequence[Failure]) -> list[Unexplained]:
        fresh = [each for each in found if self._known.isdisjoint(_names(each))]
        self._known.update(*(_names(each) for each in fresh))
        if not self._has_looked:
            # what a container that runs came to before is over; what is in the way now is not
            fresh = [each for each in fresh if not each.is_previous or not _runs(pod, each)]
        unexplained = []
        for each in fresh:
            if each.container and not each.cause.last_lines:
                life = self._lives.get(each.id)
                self._pending[each.id] = self._stopping(life, each) if life else None
                unexplained.append(Unexplained(each, pod.name))
            else:
                self.told(each)
        return unexplained

    def _stopping(self, life: _Life, failure: Failure) -> Sighting | None:
        """It stays in sight until its end is told, or nobody would know that it had been ready."""
        if life.last is None:
            return None
        return Sighting(
            id=failure.id,
            phase=Phase.STOPPING,
            since=self._clock(),
            requested_at=life.requested_at,
            host=life.last.host,
            port=life.last.port,
            detail=failure.cause.message,
        )

    def _sighting(self, pod: Pod, events: Sequence[ClusterEvent], *, has_failed: bool) -> Sighting:
        now, main = self._clock(), serving(pod, self._port)
        name = life_name(pod, main.life if main else 0)
        self._pods[name] = pod.name
        found = progress(pod, events, port=self._port)
        phase, detail = found.phase, found.detail
        host, port = (pod.addresses or ("",))[0], port_number(pod, self._port)
        if self._addresses is not None:
            there = self._addresses.get(pod.uid)
            host, port = (there.host, there.port) if there else ("", 0)
            if there and there.is_terminating:
                phase = Phase.STOPPING
        if phase is Phase.STARTED and not port:
            phase, detail = Phase.PULLED, self._nowhere()
        life = self._lives.get(name)
        if life is None:
            life = self._lives[name] = _Life(now, phase, now)
            if phase in _TIMED:
                life.reached[phase] = now
        life.enter(phase, now)
        has_address = phase in {Phase.STARTED, Phase.STOPPING}
        life.last = Sighting(
            id=name,
            phase=phase,
            since=life.since,
            requested_at=life.requested_at,
            host=host if has_address else "",
            port=port if has_address else 0,
            detail=detail,
            reached=tuple(life.reached.items()),
            is_retrying=has_failed,
            no_capacity=found.no_capacity,
            ordinal=ordinal(pod),
        )
        return life.last

    def _nowhere(self) -> str:
        if self._addresses is not None:
            return f"the Service has no address for it at port {self._port}"
        return f"no container has a port named {self._port}"

    def _forget(self, ids: set[str], failed: set[str]) -> None:
        for gone in self._lives.keys() - ids - self._pending.keys():
            del self._lives[gone]
            self._pods.pop(gone, None)
        self._known &= failed | {each.id for each in self.exits} | self._pending.keys()


def _names(failure: Failure) -> set[str]:
    return {name for name in (failure.id, failure.container_id) if name}


def _runs(pod: Pod, failure: Failure) -> bool:
    return any(it.name == failure.container and it.is_running for it in pod.containers)
