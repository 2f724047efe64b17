"""A pod as far as it matters here: read once from the API's object, then a small value.

Decides which container serves a port, under which name one of its lives is known, where it can be
reached, and whether Ready has to be waited for. Why it does not come up is `diagnosis`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_ORDINALS: Final = (
    "leaderworkerset.sigs.k8s.io/group-index",  # before the next: its pods have that one, too
    "apps.kubernetes.io/pod-index",
)
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a container's life ended."""

    exit_code: int
    reason: str = ""
    """`Error`, `OOMKilled`, `Completed`, `ContainerCannotRun` …"""
    message: str = ""
    """What it left for this purpose (`terminationMessagePolicy`)."""
    container_id: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    name: str
    image: str = ""
    is_init: bool = False
    is_sidecar: bool = False
    """An init container that goes on running."""
    ports: tuple[tuple[str, int], ...] = ()
    """(name, number)."""
    memory_limit: str = ""
    restarts: int = 0
    is_running: bool = False
    is_ready: bool = False
    waits: str = ""
    """Why it does not run: `ContainerCreating`, `ImagePullBackOff`, `CrashLoopBackOff` …"""
    message: str = ""
    """The same in words."""
    ended: Ending | None = None
    """It has ended and was not started again yet."""
    ended_before: Ending | None = None
    """The life before."""

    @property
    def is_between_lives(self) -> bool:
        """The last life is over, the next has not begun."""
        return self.ended is not None or (not self.is_running and self.ended_before is not None)

    @property
    def life(self) -> int:
        """0 for the first; between two lives the coming one."""
        return self.restarts + (1 if self.is_between_lives else 0)

    @property
    def last_ending(self) -> Ending | None:
        return self.ended or self.ended_before


@dataclass(frozen=True, slots=True)
class Pod:
    uid: str
    name: str
    labels: Mapping[str, str]
    owner: str = ""
    """Kind of its controller: `ReplicaSet`, `StatefulSet` …"""
    created: str = ""
    is_deleting: bool = False
    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    node: str = ""
    addresses: tuple[str, ...] = ()
    """One a family, the cluster's primary family first."""
    is_ready: bool = False
    needs_ready: bool = False
    """Only the kubelet, or somebody else, can tell when it serves."""
    unschedulable: str = ""
    """The scheduler's words; empty: it has a node, or was not looked at yet."""
    deletion_cost: int = 0
    containers: tuple[Container, ...] = ()
    """In the order in which they start."""

    @property
    def is_over(self) -> bool:
        """It will never serve (again)."""
        return self.phase in {"Failed", "Succeeded"}


def read_pod(raw: dict[str, Any]) -> Pod:
    """From `v1.Pod`."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    owners = metadata.get("ownerReferences") or ()
    ips = [each["ip"] for each in status.get("podIPs") or () if each.get("ip")]
    return Pod(
        uid=metadata["uid"],
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        owner=next((each["kind"] for each in owners if each.get("controller")), ""),
        created=metadata.get("creationTimestamp") or "",
        is_deleting=bool(metadata.get("deletionTimestamp")),
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        node=spec.get("nodeName") or "",
        addresses=tuple(ips or ([status["podIP"]] if status.get("podIP") else [])),
        is_ready=conditions.get("Ready", {}).get("status") == "True",
        needs_ready=_needs_ready(spec),
        unschedulable=(
            (scheduled.get("message") or scheduled.get("reason") or "")
            if scheduled.get("status") == "False"
            else ""
        ),
        deletion_cost=_number((metadata.get("annotations") or {}).get(DELETION_COST)),
        containers=tuple(_containers(spec, status)),
    )


def serving(pod: Pod, port: int | str) -> Container | None:
    """The container that declares the port, by number or name; else the first that stays."""
    staying = [each for each in pod.containers if not each.is_init or each.is_sidecar]
    for container in staying:
        if any(port in (name, number) for name, number in container.ports):
            return container
    return next((each for each in staying if not each.is_init), None)


def port_number(pod: Pod, port: int | str) -> int:
    """0: no container has a port of this name."""
    if isinstance(port, int):
        return port
    numbers = (number for each in pod.containers for name, number in each.ports if name == port)
    return next(numbers, 0)


def life_name(pod: Pod, life: int) -> str:
    """What a life of the serving container is called: unique for each, also where a pod that was
    replaced has the name of the one before (StatefulSets)."""
    name = pod.name if pod.owner == "ReplicaSet" else f"{pod.name}.{pod.uid[:5]}"
    return f"{name}.r{life}" if life else name


GOES_FIRST: Final = "-1000"
"""Cost of deletion (a ReplicaSet deletes the cheapest of its Ready pods first; others cost 0)."""


def pods_to_mark(
    pods: Iterable[Pod], victims: Iterable[str], *, name_of: Callable[[str], str]
) -> dict[str, str | None]:
    """By pod, the cost that says who goes first; None takes a mark of ours off that no longer
    holds. Only ReplicaSets read it. `name_of`: the pod in which a replica lives."""
    going = {name_of(each) for each in victims}
    marks: dict[str, str | None] = {}
    for pod in pods:
        is_marked = pod.deletion_cost == int(GOES_FIRST)
        if pod.owner == "ReplicaSet" and not pod.is_deleting and is_marked != (pod.name in going):
            marks[pod.name] = GOES_FIRST if pod.name in going else None
    return marks


def are_marked(pods: Iterable[Pod], marks: Mapping[str, str | None]) -> bool:
    """As `pods_to_mark` wanted it; one that has gone meanwhile needs no mark."""
    costs = {pod.name: pod.deletion_cost for pod in pods}
    return all(costs.get(name, int(cost or 0)) == int(cost or 0) for name, cost in marks.items())


def ordinal(pod: Pod) -> int | None:
    """Its place in a set whose highest go first, whatever we say; None: it is in no such set."""
    told = next((pod.labels[label] for label in _ORDINALS if label in pod.labels), "")
    if not told and pod.owner == "StatefulSet":
        told = pod.name.rpartition("-")[2]
    return int(told) if told.isdecimal() else None


def _needs_ready(spec: dict[str, Any]) -> bool:
    probes = [each.get("readinessProbe") or {} for each in spec.get("containers") or ()]
    return bool(spec.get("readinessGates")) or any("exec" in it or "grpc" in it for it in probes)


def _containers(spec: dict[str, Any], status: dict[str, Any]) -> list[Container]:
    found = []
    for key, is_init in (("initContainers", True), ("containers", False)):
        statuses = status.get("initContainerStatuses" if is_init else "containerStatuses") or ()
        by_name = {each["name"]: each for each in statuses}
        found += [
            _container(each, by_name.get(each["name"]) or {}, is_init=is_init)
            for each in spec.get(key) or ()
        ]
    return found


def _container(spec: dict[str, Any], status: dict[str, Any], *, is_init: bool) -> Container:
    state = status.get("state") or {}
    waiting = state.get("waiting") or {}
    limits = (spec.get("resources") or {}).get("limits") or {}
    return Container(
        name=spec["name"],
        image=spec.get("image") or "",
        is_init=is_init,
        is_sidecar=is_init and spec.get("restartPolicy") == "Always",
        ports=tuple((it.get("name") or "", it["containerPort"]) for it in spec.get("ports") or ()),
        memory_limit=str(limits.get("memory") or ""),
        restarts=int(status.get("restartCount") or 0),
        is_running="running" in state,
        is_ready=bool(status.get("ready")),
        waits=waiting.get("reason") or "",
        message=waiting.get("message") or "",
        ended=_ending(state.get("terminated")),
        ended_before=_ending((status.get("lastState") or {}).get("terminated")),
    )


def _ending(told: dict[str, Any] | None) -> Ending | None:
    if not told:
        return None
    return Ending(
        exit_code=int(told.get("exitCode") or 0),
        reason=told.get("reason") or "",
        message=(told.get("message") or "").strip(),
        container_id=told.get("containerID") or "",
    )


def _number(told: str | None) -> int:
    try:
        return int(told or 0)
    except ValueError:
        return 0
