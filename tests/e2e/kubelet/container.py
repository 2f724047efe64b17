"""One container: a process in the pod's network, started again as its pod's restart policy says.

Restarts are as the kubelet's: the first at once, then after 10 s, doubling up to five minutes. The
process is the first of a PID namespace, so that all its descendants end with it, and so that a
SIGTERM without a handler is ignored, as in any container.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import uuid
from asyncio.subprocess import DEVNULL, Process
from typing import TYPE_CHECKING, Protocol

from activator.aiokit.tasks import Tasks
from tests.e2e.kubelet import probes
from tests.e2e.kubelet.sandbox import LEASHED
from tests.e2e.kubelet.status import Seen, running, terminated, timestamp, waiting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.e2e.api import Json
    from tests.e2e.kubelet.orders import Orders
    from tests.e2e.kubelet.sandbox import Sandbox

_FIRST_BACKOFF = 10.0
_LONGEST_BACKOFF = 300.0
_STABLE = 600.0
"""Seconds of running after which back-off begins anew."""
_COULD_NOT_START = 128

# Not `unshare --fork`, which takes a child that was killed for one that exited with 1. The shell
# stays outside of the namespace, says with its own status what the command came to, and must not
# add a "Killed" to its log.
_AS_FIRST = (
    *("unshare", "--pid", "--", "sh", "-c"),
    f'exec 3>&2 2>/dev/null; {" ".join(LEASHED)} -- "$@" 2>&3 3>&-; exit $?',
    "container",
)
"""The words before a command that is to be the first process of a PID namespace."""


class Surroundings(Protocol):
    """What a container needs of its pod."""

    orders: Orders
    grace: float
    """Seconds between SIGTERM and SIGKILL."""

    def restarts(self, exit_code: int) -> bool: ...

    def changed(self) -> None:
        """What there is to say about a container has."""

    def event(self, kind: str, reason: str, message: str, container: str = "") -> None: ...


class Container:
    """`run` until it has ended for good; `tell` and `kill` while it runs."""

    def __init__(
        self, spec: Json, *, pod: Surroundings, folder: Path, environment: Mapping[str, str]
    ) -> None:
        self.seen = Seen(name=spec["name"], image=spec.get("image", ""))
        self._spec = spec
        self._pod = pod
        self._environment = environment
        self._process: Process | None = None
        self._out_of_memory = False
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        self._previous_log = folder / "log.previous"

    @property
    def name(self) -> str:
        return self.seen.name

    def log(self, *, previous: bool) -> Path:
        return self._previous_log if previous else self._log

    async def run(self, sandbox: Sandbox) -> None:
        loop = asyncio.get_running_loop()
        backoff = 0.0
        while True:
            began = loop.time()
            code = await self._run_once(sandbox)
            if not self._pod.restarts(code):
                return
            backoff = 0.0 if loop.time() - began > _STABLE else backoff
            if backoff:
                why = f"back-off {backoff:.0f}s restarting failed container={self.name}"
                self.seen.last, self.seen.state = self.seen.state, waiting("CrashLoopBackOff", why)
                self._event(
                    "Warning", "BackOff", f"Back-off restarting failed container {self.name}"
                )
                self._pod.changed()
                await asyncio.sleep(backoff)
            backoff = min(max(2 * backoff, _FIRST_BACKOFF), _LONGEST_BACKOFF)

    # --- once

    async def _run_once(self, sandbox: Sandbox) -> int:
        """Its exit code, 128 and the signal's number where one ended it."""
        seen = self.seen
        command = [*self._spec.get("command", []), *self._spec.get("args", [])]
        if not command or shutil.which(command[0], path=self._environment["PATH"]) is None:
            why = f'exec: "{command[0] if command else ""}": executable file not found in $PATH'
            self._begin()
            return self._over(_COULD_NOT_START, None, reason="StartError", message=why)
        process = self._process = await self._start(command, sandbox)
        self._begin()
        since = timestamp()
        seen.state = running(since)
        seen.started = "startupProbe" not in self._spec
        seen.ready = seen.started and "readinessProbe" not in self._spec
        self._event("Normal", "Started", f"Started container {self.name}")
        self._pod.changed()
        around = Tasks(self.name)
        around.spawn(self._watched(sandbox), name="probes")
        if (delay := self._pod.orders.oom_seconds) is not None:
            around.spawn(self._exhaust(delay), name="memory")
        try:
            status = await process.wait()
        finally:
            await around.aclose()
            self.kill()
        reason = "OOMKilled" if self._out_of_memory else ""
        self._process, self._out_of_memory = None, False
        return self._over(status if status >= 0 else 128 - status, since, reason=reason)

    def _begin(self) -> None:
        """Another life."""
        seen = self.seen
        if seen.id:
            seen.restarts += 1
            seen.last = seen.last if "waiting" in seen.state else seen.state
        seen.id = f"process://{uuid.uuid4().hex}"

    async def _start(self, command: list[str], sandbox: Sandbox) -> Process:
        if self._log.exists():
            self._log.replace(self._previous_log)
        with self._log.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(*LEASHED, *sandbox.enter, *_AS_FIRST, *command),
                env=self._environment,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while process.returncode is None and _child_of(process) is None:
            await asyncio.sleep(0.002)  # nobody could be told anything yet
        return process

    def _over(self, code: int, since: str | None, *, reason: str, message: str = "") -> int:
        seen = self.seen
        seen.ready = seen.started = False
        seen.state = terminated(
            code, started=since, container_id=seen.id, reason=reason, message=message
        )
        self._pod.changed()
        return code

    async def _exhaust(self, delay: float) -> None:
        """What the kernel does to a container beyond its limit."""
        await asyncio.sleep(delay)
        self._out_of_memory = True
        self.tell(signal.SIGKILL)

    # --- probes

    async def _watched(self, sandbox: Sandbox) -> None:
        spec, seen = self._spec, self.seen
        named = {
            each["name"]: each["containerPort"] for each in spec.get("ports", []) if "name" in each
        }
        place = probes.Place(sandbox.address, named, sandbox.enter)
        if startup := spec.get("startupProbe"):
            async for ok in probes.watch(
                startup, place, believed=False, failed=self._said("Startup")
            ):
                seen.started = ok
                break
            seen.ready = "readinessProbe" not in spec
            self._pod.changed()
        watchers = Tasks(self.name)
        try:
            if readiness := spec.get("readinessProbe"):
                watchers.spawn(self._readiness(readiness, place), name="readiness")
            if liveness := spec.get("livenessProbe"):
                watchers.spawn(self._liveness(liveness, place), name="liveness")
            await watchers.drained()
        finally:
            await watchers.aclose()

    async def _readiness(self, probe: Json, place: probes.Place) -> None:
        failed = self._said("Readiness")
        async for ready in probes.watch(probe, place, believed=False, failed=failed):
            self.seen.ready = ready
            self._pod.changed()

    async def _liveness(self, probe: Json, place: probes.Place) -> None:
        async for _ in probes.watch(probe, place, believed=True, failed=self._said("Liveness")):
            why = f"Container {self.name} failed liveness probe, will be restarted"
            self._event("Normal", "Killing", why)
            self.tell(signal.SIGTERM)
            await asyncio.sleep(self._pod.grace)  # cut short by its end
            self.kill()

    def _said(self, which: str) -> probes.Said:
        return lambda why: self._event("Warning", "Unhealthy", f"{which} probe failed: {why}")

    def _event(self, kind: str, reason: str, message: str) -> None:
        self._pod.event(kind, reason, message, self.name)

    # --- ending

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def tell(self, number: signal.Signals) -> None:
        """To the command itself, which is the child of what we have started."""
        if self._process is not None and (child := _child_of(self._process)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)

    def kill(self) -> None:
        """With all that it has started."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


def _child_of(process: Process) -> int | None:
    try:
        with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
            return int(file.read().split()[0])
    except (OSError, IndexError):
        return None
