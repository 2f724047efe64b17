"""What the Docker Engine is asked for, and what its answers say: its shapes and our words.

Pure: a backend becomes the body of a creation, an inspection becomes a state, an address or the
cause of an end. Asking is `docker_engine`'s, what follows from it the drivers'.
"""

from __future__ import annotations

import hashlib
import json
import signal
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from activator.core.effects import FailedStart

if TYPE_CHECKING:
    from activator.core.endpoint import DockerBackend, Gpus

    Json = dict[str, Any]

INSTANCE: Final = "activator.instance"
"""Whose it is: several activators over one engine keep apart by it, or share by it."""
ENDPOINT: Final = "activator.endpoint"
REPLICA: Final = "activator.replica"
SPEC: Final = "activator.spec"
"""A digest of what was asked for: one that was made to another order is not adopted."""

_HARMLESS = {"1", "10", "12", "28"}
"""Signals that ask for something else than the end: HUP, USR1, USR2, WINCH."""
_KILLED = range(129, 129 + 64)
"""Exit codes that are a signal's number more than 128."""


@dataclass(frozen=True, slots=True)
class Look:
    """One container as it was seen."""

    id: str
    status: str
    """created, running, paused, restarting, removing, exited or dead."""
    started_at: str
    """As the engine tells it: changes with every start."""
    created_at: float
    """Wall time, seconds."""
    labels: dict[str, str]
    inspection: Json

    @property
    def replica(self) -> str:
        return self.labels.get(REPLICA, "")

    @property
    def runs(self) -> bool:
        return self.status in {"running", "paused"}

    @property
    def has_ended(self) -> bool:
        """It ran, or should have, and does not run now."""
        return self.status in {"exited", "dead", "restarting"}


def look(inspection: Json) -> Look:
    state, labels = inspection["State"], inspection["Config"].get("Labels") or {}
    return Look(
        id=inspection["Id"],
        status=state["Status"],
        started_at=state["StartedAt"],
        created_at=_moment(inspection["Created"]),
        labels=labels,
        inspection=inspection,
    )


def _moment(text: str) -> float:
    """Seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


# --- what is asked for --------------------------------------------------------------------------


def creation(backend: DockerBackend, *, labels: dict[str, str]) -> Json:
    """The body that makes a container of this backend's image."""
    port = f"{backend.port}/tcp"
    host: Json = {
        "RestartPolicy": {"Name": "no"},  # an end is told, and starting again is decided elsewhere
        "Binds": list(backend.volumes) or None,
    }
    if backend.publish is not None:
        host["PortBindings"] = {port: [{"HostIp": backend.publish, "HostPort": ""}]}
    if backend.network is not None:
        host["NetworkMode"] = backend.network
    if backend.shm_size:
        host["ShmSize"] = backend.shm_size
    if backend.gpus is not None:
        host["DeviceRequests"] = [_devices(backend.gpus)]
    body: Json = {
        "Image": backend.image,
        "Env": [f"{name}={value}" for name, value in backend.env],
        "ExposedPorts": {port: {}},
        "Labels": labels,
        "HostConfig": host,
    }
    if backend.command:
        body["Cmd"] = list(backend.command)
    return body


def _devices(gpus: Gpus) -> Json:
    return {
        "Driver": gpus.driver,
        "Count": 0 if gpus.ids else gpus.count,
        "DeviceIDs": list(gpus.ids) or None,
        "Capabilities": [list(gpus.capabilities)],
        "Options": {},
    }


def digest(backend: DockerBackend) -> str:
    """The same for what makes the same container."""
    made = json.dumps(creation(backend, labels={}), sort_keys=True)
    return hashlib.sha256(made.encode()).hexdigest()[:16]


def labels(*, instance: str, endpoint: str, replica: str, spec: str) -> dict[str, str]:
    return {INSTANCE: instance, ENDPOINT: endpoint, REPLICA: replica, SPEC: spec}


# --- what is told -------------------------------------------------------------------------------


class Told(Enum):
    """What an event says about the end of a container."""

    ORDERED = 1
    """Somebody has told it to end, through the engine."""
    ENDED = 2


def told(event: Json) -> tuple[str, Told | None]:
    """Whose container's event it is, and what it says."""
    actor = event.get("Actor") or {}
    signalled = (actor.get("Attributes") or {}).get("signal")
    found = None
    match event.get("Action"):
        case "kill" if signalled not in _HARMLESS:
            found = Told.ORDERED
        case "stop":
            found = Told.ORDERED
        case "die":
            found = Told.ENDED
    return actor.get("ID", ""), found


class NoAddress(Exception):
    """The container cannot be reached as it was configured; the message says why."""


def address(inspection: Json, backend: DockerBackend, *, engine_host: str) -> tuple[str, int]:
    """Where the replica may be connected to. Raises NoAddress."""
    port = backend.port or _only_port(inspection)
    if backend.publish is not None:
        return _published(inspection, port, engine_host=engine_host)
    networks = inspection["NetworkSettings"].get("Networks") or {}
    if backend.network is not None and backend.network in networks:
        networks = {backend.network: networks[backend.network]}
    elif backend.network is not None:
        among = ", ".join(sorted(networks)) or "none"
        raise NoAddress(f"it is not in the network {backend.network}, but in {among}")
    for name in sorted(networks):
        if name == "host":
            return engine_host, port
        found = networks[name].get("IPAddress") or networks[name].get("GlobalIPv6Address")
        if found:
            return str(found), port
    raise NoAddress("it has no address in any network")


def _only_port(inspection: Json) -> int:
    exposed = [
        int(name.partition("/")[0])
        for name in inspection["Config"].get("ExposedPorts") or {}
        if not name.endswith("/udp")
    ]
    if len(exposed) != 1:
        count = f"{len(exposed)} ports" if exposed else "no port"
        raise NoAddress(f"it exposes {count}: say which with `backend.port`")
    return exposed[0]


def _published(inspection: Json, port: int, *, engine_host: str) -> tuple[str, int]:
    bindings = (inspection["NetworkSettings"].get("Ports") or {}).get(f"{port}/tcp")
    if not bindings:
        raise NoAddress(f"its port {port} is not published")
    # one binding per address family
    bound = min(bindings, key=lambda each: ":" in each["HostIp"])
    everywhere = bound["HostIp"] in {"", "0.0.0.0", "::"}
    return engine_host if everywhere else bound["HostIp"], int(bound["HostPort"])


def ending(inspection: Json, *, last_lines: tuple[str, ...]) -> FailedStart:
    """Why a container that was not told to stop does not run any more."""
    state = inspection["State"]
    code = int(state["ExitCode"])
    if state.get("OOMKilled"):
        return FailedStart(
            "killed: out of memory (the container's limit)",
            exit_code=-signal.SIGKILL,
            last_lines=last_lines,
        )
    if state.get("Error"):
        return cannot_start(state["Error"])
    if code in _KILLED:
        number = code - 128
        return FailedStart(
            f"killed by {_signal_name(number)}", exit_code=-number, last_lines=last_lines
        )
    return FailedStart(
        f"exited with code {code} before it was told to stop", exit_code=code, last_lines=last_lines
    )


def is_missing_image(refusal: str) -> bool:
    """404 to a creation may also mean a network or a volume."""
    return refusal.lower().startswith("no such image")


def cannot_start(why: str) -> FailedStart:
    return FailedStart(f"cannot be started: {why}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class PullProgress:
    """Counts the layers and bytes of an image that is being fetched."""

    def __init__(self, image: str) -> None:
        self._image = image
        self._total: dict[str, int] = {}
        self._here: dict[str, int] = {}

    def take(self, line: Json) -> None:
        layer, detail = line.get("id", ""), line.get("progressDetail") or {}
        match line.get("status"):
            case "Downloading" if detail.get("total"):
                self._total[layer] = int(detail["total"])
                self._here[layer] = int(detail.get("current", 0))
            case "Download complete" | "Pull complete" if layer in self._total:
                self._here[layer] = self._total[layer]

    def __str__(self) -> str:
        total, here = sum(self._total.values()), sum(self._here.values())
        if not total:
            return f"pulls {self._image}"
        return f"pulls {self._image}: {here / 1e6:.0f} of {total / 1e6:.0f} MB"
