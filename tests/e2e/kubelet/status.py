"""A pod's status in Kubernetes' words, from what its containers have come to. It decides.

Follows the real kubelet where a client could tell the difference: a pod has its address once a
container has been started, is Pending until each of them has, Ready while all of them are, and of
a terminal phase when they have ended for good.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.api import Json

CREATING = "ContainerCreating"


@dataclass(slots=True)
class Seen:
    """What there is to say about one container."""

    name: str
    image: str
    state: Json = field(default_factory=lambda: waiting(CREATING))
    last: Json = field(default_factory=dict)
    id: str = ""
    restarts: int = 0
    ready: bool = False
    started: bool = False

    @property
    def exit_code(self) -> int | None:
        """None while it has not ended."""
        ended = self.state.get("terminated")
        return None if ended is None else int(ended["exitCode"])

    def told(self) -> Json:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": f"process://{self.image}" if self.id else "",
            "containerID": self.id,
            "restartCount": self.restarts,
            "ready": self.ready,
            "started": self.started,
            "state": self.state,
            "lastState": self.last,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the pod as a whole has failed."""

    reason: str
    message: str


class PodStatus:
    """Remembers when each condition last changed."""

    def __init__(self, pod: Json, *, host: str) -> None:
        self._generation = pod["metadata"].get("generation", 1)
        self._policy = pod["spec"].get("restartPolicy", "Always")
        self._host = host
        self._since: dict[str, tuple[bool, str]] = {}
        self._start = timestamp()

    def told(
        self,
        containers: Sequence[Seen],
        *,
        address: str | None,
        failure: Failure | None,
        ended: bool,
    ) -> Json:
        """`ended`: nothing will be started any more."""
        phase = "Failed" if failure else self._phase(containers, ended=ended)
        unready = [each.name for each in containers if not each.ready]
        reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(
            phase, "ContainersNotReady"
        )
        why = f"containers with unready status: [{' '.join(unready)}]"
        ready = not unready and phase == "Running"
        told: Json = {
            "phase": phase,
            "observedGeneration": self._generation,
            "startTime": self._start,
            "hostIP": self._host,
            "hostIPs": [{"$patch": "replace"}, {"ip": self._host}],
            "conditions": [
                self._condition("PodReadyToStartContainers", ok=address is not None),
                self._condition("Initialized", ok=True),
                self._condition("Ready", ok=ready, reason=reason, message=why),
                self._condition("ContainersReady", ok=ready, reason=reason, message=why),
            ],
            "containerStatuses": [each.told() for each in containers],
        }
        if failure:
            told |= {"reason": failure.reason, "message": failure.message}
        if address is not None and any(each.id for each in containers):
            told |= {"podIP": address, "podIPs": [{"$patch": "replace"}, {"ip": address}]}
        return told

    def restarts(self, exit_code: int) -> bool:
        """Whether a container that ended so is started again."""
        return self._policy == "Always" or (self._policy == "OnFailure" and exit_code != 0)

    def _phase(self, containers: Sequence[Seen], *, ended: bool) -> str:
        codes = [each.exit_code for each in containers]
        over = [code for code in codes if code is not None]
        if len(over) == len(codes) and (ended or not any(map(self.restarts, over))):
            return "Failed" if any(over) else "Succeeded"
        never_ran = any(not each.id for each in containers)
        return "Pending" if never_ran else "Running"

    def _condition(self, kind: str, *, ok: bool, reason: str = "", message: str = "") -> Json:
        before, since = self._since.get(kind, (not ok, ""))
        if before != ok:
            since = timestamp()
            self._since[kind] = (ok, since)
        return {
            "type": kind,
            "status": "True" if ok else "False",
            "lastProbeTime": None,
            "lastTransitionTime": since,
            "observedGeneration": self._generation,
            "reason": None if ok else reason or None,
            "message": None if ok else message or None,
        }


# --- the states of a container ------------------------------------------------------------------


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def running(since: str) -> Json:
    return {"running": {"startedAt": since}}


def terminated(
    exit_code: int, *, started: str | None, container_id: str, reason: str = "", message: str = ""
) -> Json:
    told: Json = {
        "exitCode": exit_code,
        "reason": reason or ("Error" if exit_code else "Completed"),
        "startedAt": started,
        "finishedAt": timestamp(),
        "containerID": container_id,
    }
    if message:
        told["message"] = message
    return {"terminated": told}


def timestamp() -> str:
    """Now, as Kubernetes writes it: whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
