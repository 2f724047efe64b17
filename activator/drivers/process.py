"""Replicas as child processes of this machine, each in the care of a watcher of its own.

Decides which processes to start and stop so that their number is the one asked for, and nothing
more: a process that ends unasked is told and not started again. Ports are `drivers.ports`' to
choose; starting, ending and reading one process is `drivers.watched`'.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.core.effects import FailedStart
from activator.drivers.base import DriverError, Exit, Phase, Sighting, Snapshot
from activator.drivers.output import Output
from activator.drivers.ports import SHARED, Ports
from activator.drivers.watched import Order, Watched
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from activator.core.endpoint import ProcessBackend

KEPT_EXITS = 8
"""Unasked ends that a snapshot tells: more than a breaker counts before it opens."""

_TOKEN = re.compile(r"\{(port|host)\}")
_log = logging.getLogger("activator.replica")


@dataclass(slots=True)
class _Process:
    """One incarnation, from the order on: `watched` is None until it may start."""

    id: str
    requested_at: float
    since: float
    port: int = 0
    phase: Phase = Phase.REQUESTED
    detail: str = ""
    is_told_to_stop: bool = False
    watched: Watched | None = None


class ProcessDriver:
    """Implements `drivers.base.Driver`. One `run` in its life; orders before it are kept for it.

    A process is started only when every one that is being stopped has gone, with all of its
    descendants: the GPU that it needs may be the one they hold.
    """

    def __init__(
        self,
        name: str,
        backend: ProcessBackend,
        *,
        clock: Callable[[], float] = time.monotonic,
        ports: Ports = SHARED,
        series: str | None = None,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`series`: what the ids of its replicas begin with, by default the endpoint's `name`.
        `environ`: what they find beside our own environment, unless the backend says otherwise."""
        self._name = name
        self._series = series or name
        self._backend = backend
        self._environ = environ
        self._clock = clock
        self._ports = ports
        self._processes: dict[str, _Process] = {}
        self._exits: deque[Exit] = deque(maxlen=KEPT_EXITS)
        self._changed = asyncio.Event()
        self._tasks = Tasks(f"process/{name}")
        self._has_ended = False
        self._ordered = 0
        self._fence = 1
        self._report: Callable[[Snapshot], None] | None = None

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        """Works until cancelled, then stops every process and waits until all are gone.

        Cancelled again meanwhile, it gives them no more grace, but still waits.
        """
        self._report = report
        try:
            await self._tasks.lasting(partial(self._go_on, report), name="run")
        finally:
            self._has_ended = True
            self._report = None
            self._stop(list(self._processes.values()))
            await self._until_all_are_gone()

    async def _go_on(self, report: Callable[[Snapshot], None]) -> None:
        while True:
            self._changed.clear()
            self._notice()
            self._start_what_may_start()
            report(self._snapshot())
            await self._changed.wait()

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        """Takes the order and returns; `run` carries it out."""
        if self._has_ended:
            raise DriverError(f"endpoint {self._name} is shutting down")
        if fence and fence != str(self._fence):
            raise DriverError(f"endpoint {self._name} has been revived")
        if replicas < 0:
            raise DriverError(f"cannot run {replicas} replicas")
        living = self._living()
        if before is not None and before != len(living):
            return
        if len(living) > replicas:
            last = sorted(living, key=lambda process: process.id in victims)
            self._stop(last[replicas:])
        for _ in range(replicas - len(living)):
            self._order()
        self._changed.set()
        if len(living) != replicas:
            await self.bump_fence()

    async def bump_fence(self) -> None:
        self._fence += 1
        if self._report is not None:
            self._report(self._snapshot())

    async def discard(self) -> None:
        """`run` takes everything away when it ends."""

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        process = self._processes.get(replica_id)
        return process.watched.last_lines() if process and process.watched else ()

    def _living(self) -> list[_Process]:
        """Oldest first."""
        return [
            process
            for process in self._processes.values()
            if process.phase in (Phase.REQUESTED, Phase.STARTED)
        ]

    def _order(self) -> None:
        now = self._clock()
        self._ordered += 1
        process = _Process(f"{self._series}-{self._ordered}", requested_at=now, since=now)
        self._processes[process.id] = process

    def _stop(self, processes: Iterable[_Process]) -> None:
        for process in processes:
            process.is_told_to_stop = True
            if process.watched is None:
                del self._processes[process.id]
            else:
                process.watched.stop()
                self._enter(process, Phase.STOPPING, detail=process.detail)

    def _enter(self, process: _Process, phase: Phase, *, detail: str) -> None:
        if process.phase is not phase:
            process.phase, process.since, process.detail = phase, self._clock(), detail

    def _notice(self) -> None:
        for process in list(self._processes.values()):
            watched = process.watched
            if watched is None:
                continue
            if watched.ending is not None and not process.is_told_to_stop:
                self._tell_exit(process, watched.ending)
                process.is_told_to_stop = True
                self._enter(process, Phase.STOPPING, detail=watched.ending.message)
            elif watched.pid is not None and process.phase is Phase.REQUESTED:
                self._enter(process, Phase.STARTED, detail=f"pid {watched.pid}")
            if watched.is_gone:
                self._forget(process)

    def _start_what_may_start(self) -> None:
        stopping = [p.id for p in self._processes.values() if p.phase is Phase.STOPPING]
        for process in list(self._processes.values()):
            if process.watched is None and stopping:
                process.detail = f"waits for the end of {', '.join(stopping)}"
            elif process.watched is None:
                self._start(process)

    def _start(self, process: _Process) -> None:
        process.detail = "is being executed"
        extra = {"endpoint": self._name, "replica": process.id}
        output = Output(lambda line: _log.info("%s", line, extra=extra))
        try:
            process.port = self._ports.take(self._backend.host)
            process.watched = Watched(
                self._filled_in(process.port), output=output, changed=self._changed.set
            )
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            self._tell_exit(process, FailedStart(f"cannot be started: {why.lower()}"))
            self._forget(process)
        except Exception as bug:
            self._tell_exit(process, FailedStart(f"cannot be started: {fault_of_ours(bug)}"))
            self._forget(process)
            self._tasks.tell_failure(f"start {process.id}", bug)

    def _filled_in(self, port: int) -> Order:
        values = {"port": str(port), "host": self._backend.host}

        def fill(text: str) -> str:
            return _TOKEN.sub(lambda token: values[token[1]], text)

        return Order(
            command=tuple(map(fill, self._backend.command)),
            env=os.environ
            | self._environ
            | {name: fill(value) for name, value in self._backend.env},
            cwd=self._backend.cwd,
            grace=self._backend.stop_grace,
        )

    def _tell_exit(self, process: _Process, cause: FailedStart) -> None:
        self._exits.append(Exit(process.id, cause))

    def _forget(self, process: _Process) -> None:
        del self._processes[process.id]
        if process.port:
            self._ports.give_back(process.port)

    async def _until_all_are_gone(self) -> None:
        while self._processes:
            self._changed.clear()
            self._notice()
            try:
                if self._processes:
                    await self._changed.wait()
            except asyncio.CancelledError:
                # already on the way out because of the first one: this one asks for haste
                for process in self._processes.values():
                    if process.watched is not None:
                        process.watched.kill()

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            wanted=len(self._living()),
            replicas=tuple(self._sighting(process) for process in self._processes.values()),
            exits=tuple(self._exits),
            fence=str(self._fence),
        )

    def _sighting(self, process: _Process) -> Sighting:
        has_address = process.phase is not Phase.REQUESTED
        return Sighting(
            id=process.id,
            phase=process.phase,
            since=process.since,
            requested_at=process.requested_at,
            host=self._backend.host if has_address else "",
            port=process.port if has_address else 0,
            detail=process.detail,
        )
