"""One container that somebody else made, as the replica of an endpoint: started and stopped.

Decides when to start and to stop it so that it runs if one replica is asked for. It is never
created or removed here, and what a person does with it meanwhile holds. Containers of an image
are `docker`'s.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from activator.drivers import docker_shapes as shapes
from activator.drivers.base import DriverError, Phase, Sighting
from activator.drivers.docker_driving import Driving
from activator.drivers.docker_engine import EngineAway, EngineRefused
from activator.drivers.docker_follow import Tail
from activator.drivers.docker_made import FAULT_RETRY, HEARSAY, RETRY
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from activator.core.effects import FailedStart
    from activator.core.endpoint import DockerBackend
    from activator.drivers.base import Snapshot
    from activator.drivers.docker_shapes import Look

    Json = dict[str, Any]


class _Wish(Enum):
    """What was ordered and is not so yet."""

    UP = 1
    DOWN = 2


@dataclass(slots=True)
class _Run:
    """One incarnation: from a start of the container to its end."""

    id: str
    started_at: str
    requested_at: float
    since: float
    tail: Tail
    host: str = ""
    port: int = 0
    detail: str = ""
    is_told_to_stop: bool = False
    was_killed: bool = False
    end_seen: bool = False


class ExistingContainerDriver:
    """Implements `drivers.base.Driver`. One `run` in its life, which the container outlives."""

    def __init__(
        self,
        name: str,
        backend: DockerBackend,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._backend = backend
        self._container = backend.container or ""
        self._clock = clock
        self._driving = Driving(
            name,
            engine=backend.engine,
            filters={"type": ["container"], "container": [self._container]},
        )
        self._engine, self._follower = self._driving.engine, self._driving.follower
        self._tasks, self._tell = self._driving.tasks, self._driving.tell
        self._wish: _Wish | None = None
        self._ordered_at = clock()
        self._run: _Run | None = None
        self._is_coming_back = False
        """It ended, and the engine is about to start it again: its restart policy."""
        self._known_start = ""
        self._work: asyncio.Task[None] | None = None

    # --- the protocol ---------------------------------------------------------------------------

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        """Works until cancelled, then waits until a stop that is under way is done. A container
        that runs goes on."""
        await self._driving.run(
            report,
            there=self._there,
            look=self._look,
            heard=self._heard,
            finish=self._finish_stopping,
        )

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        self._follower.check(replicas, fence=fence)
        if replicas > 1:
            raise DriverError(f"there is one container {self._container}, not {replicas}")
        if before is not None and before != self._wanted:
            return
        if replicas != self._wanted:
            self._follower.fence += 1
        if replicas and not self._wanted:
            self._wish, self._ordered_at = _Wish.UP, self._clock()
        elif not replicas and self._wanted:
            self._wish = _Wish.DOWN
            if self._run is not None:
                self._tell_to_stop(self._run)
        self._follower.again()
        self._tell()

    async def bump_fence(self) -> None:
        self._driving.revived()

    async def discard(self) -> None:
        """Whoever made the container keeps it, as it is."""

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        run = self._run
        if run is None or run.id != replica_id:
            return ()
        return self._driving.lines(run.tail, self._container)

    @property
    def away(self) -> str | None:
        """Why the engine cannot be asked now."""
        return self._follower.away

    # --- what there is --------------------------------------------------------------------------

    @property
    def _wanted(self) -> int:
        match self._wish:
            case _Wish.UP:
                return 1
            case _Wish.DOWN:
                return 0
            case None:
                runs = self._run is not None and not self._run.is_told_to_stop
                return int(runs or self._is_coming_back)

    def _there(self) -> tuple[int, tuple[Sighting, ...]]:
        return self._wanted, () if self._run is None else (_sighting(self._run),)

    async def _look(self) -> None:
        inspection = await self._engine.inspect(self._container)
        if inspection is None:
            self._see_none()
        else:
            self._see(shapes.look(inspection))
        self._act()

    def _see_none(self) -> None:
        self._run, self._is_coming_back = None, False
        if self._wish is _Wish.UP and self._work is None:
            self._fail(f"there is no container {self._container}")
        elif self._wish is _Wish.DOWN:
            self._wish = None

    def _see(self, look: Look) -> None:
        self._is_coming_back = look.status == "restarting" and self._wish is not _Wish.DOWN
        if look.started_at != self._known_start:
            # one that we have started may have ended before anybody looked
            was_ours = self._wish is _Wish.UP and self._known_start
            self._run = self._begun(look) if look.runs or was_ours else None
        self._known_start = look.started_at
        run = self._run
        if look.runs and run is not None:
            self._see_running(run, look)
        elif look.has_ended and run is not None and run.is_told_to_stop:
            self._run = None
        elif look.has_ended and run is not None:
            self._see_ended(run, look)
        if self._wish is _Wish.DOWN and self._run is None and not look.runs:
            self._wish = None

    def _begun(self, look: Look) -> _Run:
        """Its id is the same for every activator that looks at the same start."""
        start = hashlib.sha256(f"{look.id} {look.started_at}".encode()).hexdigest()[:6]
        now = self._clock()
        asked = self._ordered_at if self._wish is _Wish.UP else now
        return _Run(f"{self._name}-{start}", look.started_at, asked, now, Tail(self._engine))

    def _see_running(self, run: _Run, look: Look) -> None:
        if self._wish is _Wish.DOWN:
            self._tell_to_stop(run)
        if run.is_told_to_stop:
            return
        if self._wish is _Wish.UP:
            self._wish = None
        try:
            run.host, run.port = shapes.address(
                look.inspection, self._backend, engine_host=self._engine.host
            )
        except shapes.NoAddress as why:
            self._driving.ended(run.id, shapes.cannot_start(str(why)))
            self._wish = _Wish.DOWN
            self._tell_to_stop(run)
        else:
            run.detail = f"container {self._container}"

    def _see_ended(self, run: _Run, look: Look) -> None:
        if self._work is not None:
            return  # its start has not been answered yet, or its last lines are being read
        if run.was_killed:
            self._run = self._wish = None
        elif not run.end_seen:
            run.end_seen = True
            self._follower.again_in(HEARSAY)
        else:
            self._do(self._tell_end(run, look), name="end")

    def _heard(self, event: Json) -> None:
        if self._run is not None:
            _, told = shapes.told(event)
            self._run.was_killed |= told is shapes.Told.ORDERED
            self._run.end_seen |= told is shapes.Told.ENDED

    # --- what to do about it --------------------------------------------------------------------

    def _act(self) -> None:
        if self._work is not None:
            return
        if self._run is not None and self._run.is_told_to_stop:
            self._do(
                self._engine.stop(self._container, grace=self._backend.stop_grace), name="stop"
            )
        elif self._wish is _Wish.UP and self._run is None and not self._is_coming_back:
            self._do(self._start(), name="start")

    def _do(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        self._work = self._tasks.spawn(self._done(work), name=name)

    async def _done(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except EngineAway:
            self._follower.again()
            await asyncio.sleep(RETRY)
        except EngineRefused as refusal:
            if self._run is not None:
                self._run.detail = f"cannot be stopped: {refusal}"
                self._tell()
            await asyncio.sleep(RETRY)
        except Exception as bug:
            self._tasks.tell_failure("container", bug)
            if self._run is None and self._wish is _Wish.UP:
                self._fail(fault_of_ours(bug))
            else:
                await asyncio.sleep(FAULT_RETRY)
        finally:
            self._work = None
            self._follower.again()

    async def _start(self) -> None:
        try:
            await self._engine.start(self._container)
        except EngineRefused as refusal:
            if self._wish is _Wish.UP:
                self._fail(str(refusal))

    async def _tell_end(self, run: _Run, look: Look) -> None:
        lines = await run.tail.read(self._container)
        if self._run is run and not run.is_told_to_stop:
            self._run = self._wish = None
            self._tell_exit(run.id, shapes.ending(look.inspection, last_lines=lines))

    def _fail(self, why: str) -> None:
        self._wish = None
        self._tell_exit(f"{self._name}-{secrets.token_hex(3)}", shapes.cannot_start(why))

    def _tell_exit(self, replica: str, cause: FailedStart) -> None:
        self._driving.ended(replica, cause)
        self._tell()

    def _tell_to_stop(self, run: _Run) -> None:
        if not run.is_told_to_stop:
            run.is_told_to_stop, run.since = True, self._clock()

    async def _finish_stopping(self) -> None:
        if self._work is None:
            self._act()
        if self._run is not None and self._run.is_told_to_stop and self._work is not None:
            await asyncio.wait([self._work])


def _sighting(run: _Run) -> Sighting:
    return Sighting(
        id=run.id,
        phase=Phase.STOPPING if run.is_told_to_stop else Phase.STARTED,
        since=run.since,
        requested_at=run.requested_at,
        host=run.host,
        port=run.port,
        detail=run.detail,
    )
