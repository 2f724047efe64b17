"""What a pod's state means: how far it is, and what keeps it from coming up.

Decides which findings are failures that those who wait should hear of soon, and which are
patience: a pod without a node may get one, an image that cannot be pulled will not appear. When
to give up is `failed_starts`' business.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from activator.core.effects import FailedStart
from activator.core.phases import Phase
from activator.core.pods import life_name, serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from activator.core.pods import Container, Ending, Pod

IMAGE_TROUBLE: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
CONFIG_TROUBLE: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
COMING: Final = frozenset({"", "ContainerCreating", "PodInitializing"})
"""What a container waits for on its usual way."""

SCALING_UP: Final = frozenset({"TriggeredScaleUp", "Nominated"})
"""What node autoscalers say when they add a node (cluster-autoscaler; Karpenter)."""
KEPT_EVENTS: Final = SCALING_UP | {
    "NotTriggerScaleUp",
    "Pulled",
    "Unhealthy",
    "Killing",
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedCreate",
}

_INSUFFICIENT = re.compile(r"Insufficient ([\w./-]*[\w])")
_NO_CLAIM = re.compile(r'persistentvolumeclaims? "([^"]+)" not found')
_FAILED_PROBE = re.compile(r"(Liveness|Readiness|Startup) probe")
_KILLING_PROBE = re.compile(r"[Cc]ontainer (\S+) failed (liveness|startup) probe")
_PREEMPTION = re.compile(r"\.? *preemption:.*$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """A `v1.Event` of a reason that says something here."""

    about: str
    """The object's uid."""
    kind: str
    name: str
    reason: str
    message: str
    at: str
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    phase: Phase
    detail: str
    no_capacity: bool = False
    """There is no room for it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that ended, or will not come by waiting."""

    id: str
    """Unique for each: the life that ended, or what is in the way."""
    cause: FailedStart
    container: str = ""
    """Whose last lines say more; empty: there are none."""
    is_previous: bool = False
    """Those lines are of the container's life before the present one."""
    container_id: str = ""
    """What ended: told once, however kubelets count restarts meanwhile."""


def read_event(raw: dict[str, Any]) -> ClusterEvent | None:
    """From `v1.Event`; None: of a reason that says nothing here."""
    if raw.get("reason") not in KEPT_EVENTS:
        return None
    about, series = raw.get("involvedObject") or {}, raw.get("series") or {}
    moments = (series.get("lastObservedTime"), raw.get("lastTimestamp"), raw.get("eventTime"))
    return ClusterEvent(
        about=about.get("uid") or "",
        kind=about.get("kind") or "",
        name=about.get("name") or "",
        reason=raw["reason"],
        message=(raw.get("message") or "").strip(),
        at=next((moment for moment in moments if moment), ""),
        count=int(series.get("count") or raw.get("count") or 1),
    )


def progress(pod: Pod, events: Iterable[ClusterEvent], *, port: int | str) -> Progress:
    """How far this pod is, and what it waits for. `events`: about it."""
    told = _latest(events)
    container = serving(pod, port)
    if pod.is_deleting:
        return Progress(Phase.STOPPING, "is terminating")
    if not pod.node:
        return _without_node(pod, told)
    if container is None or container.waits == "PodInitializing":
        return Progress(Phase.SCHEDULED, _before_start(pod, told))
    if container.is_between_lives:
        return Progress(Phase.PULLED, _between_lives(container, told))
    if container.waits not in COMING:
        return Progress(Phase.SCHEDULED, _words(container.waits, container.message))
    if pod.addresses and (pod.is_ready or not pod.needs_ready):
        return Progress(Phase.STARTED, f"on {pod.node}")
    if container.is_running:
        why = _unhealthy(told) or "its readiness is told by the cluster alone"
        return Progress(Phase.PULLED, f"runs, is not Ready yet: {why}")
    phase = Phase.PULLED if "Pulled" in told else Phase.SCHEDULED
    return Progress(phase, _before_start(pod, told))


def failures(pod: Pod, events: Iterable[ClusterEvent], *, port: int | str) -> list[Failure]:
    """Everything about it that went wrong, again and again until it is no longer to be seen."""
    if pod.is_deleting:
        return []  # whoever told it to stop knows
    told, main = _latest(events), serving(pod, port)
    life = life_name(pod, main.life if main else 0)
    if pod.phase == "Failed" and pod.reason:
        return [Failure(life, FailedStart(_words(f"pod failed: {pod.reason}", pod.message)))]
    found: list[Failure] = []
    if claim := _NO_CLAIM.search(pod.unschedulable):
        missing = FailedStart(f"the persistent volume claim {claim[1]} does not exist")
        found.append(Failure(f"{life}.volume", missing))
    for container in pod.containers:
        is_main = container is main
        name = f"{life}.{container.name}"
        if container.waits in IMAGE_TROUBLE:
            words = _words(f"image {container.image} cannot be pulled", container.message)
            found.append(Failure(f"{name}.image", FailedStart(words)))
        elif container.waits in CONFIG_TROUBLE:
            words = _words(f"container {container.name} cannot be created", container.message)
            found.append(Failure(f"{name}.config", FailedStart(words)))
        if ending := _unasked(container):
            over = container.life - 1
            ended = life_name(pod, over) if is_main else f"{pod.name}.{container.name}.r{over}"
            whose = "" if is_main else f"container {container.name} "
            cause = _cause(container, ending, told, whose=whose)
            found.append(
                Failure(
                    ended,
                    cause,
                    container.name,
                    is_previous=not container.ended,
                    container_id=ending.container_id,
                )
            )
    return found


def cannot_create(message: str) -> FailedStart:
    """The workload's pods are refused by the API server."""
    told = message.partition(" is forbidden: ")[2] or message
    quota = "exceeded quota" in told
    why = "the namespace's quota is used up" if quota else "its pods cannot be created"
    return FailedStart(_words(why, told))


def insufficient(message: str) -> tuple[str, ...]:
    """The resources that no node has enough of, by the scheduler's words."""
    return tuple(dict.fromkeys(_INSUFFICIENT.findall(message)))


def _without_node(pod: Pod, told: Mapping[str, ClusterEvent]) -> Progress:
    if not pod.unschedulable:
        return Progress(Phase.REQUESTED, "waits for the scheduler")
    short = insufficient(pod.unschedulable)
    words = _PREEMPTION.sub("", pod.unschedulable)
    why = f"no node has enough {', '.join(short)}" if short else words
    coming = [told[reason] for reason in SCALING_UP if reason in told]
    declined = told.get("NotTriggerScaleUp")
    if coming and (declined is None or max(each.at for each in coming) >= declined.at):
        return Progress(Phase.WAITING_FOR_NODE, f"a node is being added: {why}", no_capacity=True)
    if declined is not None:
        why = f"{why}; the node autoscaler adds none: {declined.message}"
    return Progress(Phase.REQUESTED, f"unschedulable: {why}", no_capacity=True)


def _before_start(pod: Pod, told: Mapping[str, ClusterEvent]) -> str:
    for container in pod.containers:
        if not container.is_init or (container.is_sidecar and container.is_running):
            continue
        if container.is_running:
            return f"init container {container.name} runs"
        if container.waits not in COMING:
            return f"init container {container.name}: {_words(container.waits, container.message)}"
    for reason in ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"):
        if reason in told:
            return _words(reason, told[reason].message)
    return f"on {pod.node}, is being created"


def _between_lives(container: Container, told: Mapping[str, ClusterEvent]) -> str:
    ending = container.last_ending
    what = _cause(container, ending, told).message if ending else "has ended"
    again = "is started again" if container.waits != "CrashLoopBackOff" else "waits in back-off"
    return f"{what}; {again} ({container.restarts} restarts so far)"


def _unasked(container: Container) -> Ending | None:
    """The ending that counts; an init container that has done its work did not fail."""
    ending = container.last_ending
    if ending is None or (container.is_init and not container.is_sidecar and not ending.exit_code):
        return None
    return ending


def _cause(
    container: Container, ending: Ending, told: Mapping[str, ClusterEvent], *, whose: str = ""
) -> FailedStart:
    code = ending.exit_code
    if ending.reason == "OOMKilled":
        limit = f" (its limit is {container.memory_limit})" if container.memory_limit else ""
        words = f"{whose}ran out of memory and was killed: OOMKilled{limit}"
    elif (why := _killed_by_probe(container, told)) and code:
        words = f"{whose}was killed by the kubelet: {why}"
    elif ending.reason in {"ContainerCannotRun", "StartError"}:
        words = f"{whose}cannot be started"
    elif code > 128:
        words = f"{whose}was killed by {_signal(code - 128)} (exit code {code})"
    else:
        words = f"{whose}exited with code {code}"
    lines = tuple(line for line in ending.message.splitlines() if line.strip())[-5:]
    return FailedStart(words, exit_code=128 - code if code > 128 else code, last_lines=lines)


def _killed_by_probe(container: Container, told: Mapping[str, ClusterEvent]) -> str:
    """Why, by the probe that did it: another one may have failed later."""
    killing = told.get(f"Killing {container.name}")
    if killing is None or (probe := _KILLING_PROBE.search(killing.message)) is None:
        return ""
    failed = told.get(f"Unhealthy {probe[2]}")
    return failed.message if failed else killing.message


def _unhealthy(told: Mapping[str, ClusterEvent]) -> str:
    event = told.get("Unhealthy")
    return event.message if event else ""


def _latest(events: Iterable[ClusterEvent]) -> dict[str, ClusterEvent]:
    """By reason, the last one; of what probes have found and done also by `REASON WHOSE`."""
    found: dict[str, ClusterEvent] = {}
    for event in events:
        for key in (event.reason, *_whose(event)):
            known = found.get(key)
            if known is None or (event.at, event.count) >= (known.at, known.count):
                found[key] = event
    return found


def _whose(event: ClusterEvent) -> Iterator[str]:
    """Which probe failed, or which container is killed for one."""
    if event.reason == "Unhealthy" and (failed := _FAILED_PROBE.match(event.message)):
        yield f"Unhealthy {failed[1].lower()}"
    if event.reason == "Killing" and (killed := _KILLING_PROBE.search(event.message)):
        yield f"Killing {killed[1]}"


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _words(what: str, more: str) -> str:
    return f"{what}: {more}" if more else what
