"""Replicas as containers of an image, made when they are asked for and removed afterwards.

Decides which containers to make and to remove so that their number is the one asked for. They are
labelled: those of an activator that was killed are taken over while they run and cleared away
when they do not. A container that somebody else made is `docker_existing`'s.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from activator.drivers import docker_shapes as shapes
from activator.drivers.base import Phase
from activator.drivers.docker_driving import Driving
from activator.drivers.docker_engine import EngineAway, EngineRefused
from activator.drivers.docker_follow import Tail
from activator.drivers.docker_made import FAULT_RETRY, HEARSAY, RETRY, Made, new_id, sighting, slug
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from activator.core.effects import FailedStart
    from activator.core.endpoint import DockerBackend
    from activator.drivers.base import Sighting, Snapshot
    from activator.drivers.docker_shapes import Look

    Json = dict[str, Any]

FRESH = 10.0
"""Seconds from its creation in which another activator may be about to start a container."""
TOLD_EVERY = 1.0
"""Seconds between two snapshots that only tell how far a download is."""

_log = logging.getLogger("activator.docker")


class DockerDriver:
    """Implements `drivers.base.Driver`. One `run` in its life.

    Containers outlive it: the next one adopts them. As with processes, none is started before
    every one that is being stopped is gone: the GPU that it needs may be the one they hold.
    """

    def __init__(
        self,
        name: str,
        backend: DockerBackend,
        *,
        instance: str = "activator",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`instance`: activators with the same one share their containers."""
        self._name = name
        self._backend = backend
        self._instance = instance
        self._spec = shapes.digest(backend)
        self._clock = clock
        self._wall = wall
        self._mine = (f"{shapes.INSTANCE}={instance}", f"{shapes.ENDPOINT}={name}")
        self._driving = Driving(
            name,
            engine=backend.engine,
            filters={"type": ["container"], "label": list(self._mine)},
        )
        self._engine, self._follower = self._driving.engine, self._driving.follower
        self._tasks, self._tell = self._driving.tasks, self._driving.tell
        self._made: dict[str, Made] = {}
        self._names: set[str] = set()
        """Of the containers that were seen, ours."""
        self._removed: deque[str] = deque(maxlen=64)
        """Containers that are gone, though an inspection may just have found them."""

    # --- the protocol ---------------------------------------------------------------------------

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        """Works until cancelled, then waits for the ends of what is being stopped; what runs stays.

        Cancelled again meanwhile, it waits no longer: whoever comes next clears away the rest.
        """
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
        """Takes the order and returns; `run` carries it out, when the engine is back if it goes
        away now."""
        self._follower.check(replicas, fence=fence)
        living = self._living()
        if before is not None and before != len(living):
            return
        if len(living) != replicas:
            self._follower.fence += 1
        for made in sorted(living, key=lambda made: made.id in victims)[replicas:]:
            self._stop(made, detail=made.detail)
        now = self._clock()
        for _ in range(replicas - len(living)):
            made = Made(new_id(self._name), now, now, Tail(self._engine), is_ours=True)
            self._made[made.id] = made
        self._follower.again()
        self._tell()

    async def bump_fence(self) -> None:
        self._driving.revived()

    async def discard(self) -> None:
        """Stops and removes what was made; the engine may be away, and then it stays."""
        for made in list(self._made.values()):
            self._stop(made, detail="its endpoint is gone, or runs otherwise")
        await self._finish_stopping()

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        made = self._made.get(replica_id)
        if made is None or not made.container:
            return ()
        return self._driving.lines(made.tail, made.container)

    @property
    def away(self) -> str | None:
        """Why the engine cannot be asked now."""
        return self._follower.away

    # --- what there is --------------------------------------------------------------------------

    def _living(self) -> list[Made]:
        """Oldest first."""
        return [made for made in self._made.values() if not made.is_told_to_stop]

    def _there(self) -> tuple[int, tuple[Sighting, ...]]:
        return len(self._living()), tuple(map(sighting, self._made.values()))

    async def _look(self) -> None:
        # one whose creation is answered while we ask is not missing
        known = [made for made in self._made.values() if made.container and made.work is None]
        looks: list[Look] = []
        for summary in await self._engine.containers(*self._mine):
            inspection = await self._engine.inspect(summary["Id"])
            if inspection is not None:
                looks.append(shapes.look(inspection))
        self._names = {look.inspection["Name"].lstrip("/") for look in looks}
        for look in sorted(looks, key=lambda look: look.created_at):
            self._see(look)
        there = {look.id for look in looks}
        for made in known:
            if made.container not in there and made.work is None:
                self._made.pop(made.id, None)  # somebody has removed it
        self._act()

    def _see(self, look: Look) -> None:
        if look.id in self._removed or look.status == "removing":
            return
        made = self._made.get(look.replica)
        if made is None:
            now = self._clock()
            made = Made(look.replica, now, now, Tail(self._engine))
            self._made[made.id] = made
            made.is_elsewhere = look.status == "created"
        if not made.container and not made.is_creating:
            made.container = look.id
        if made.is_told_to_stop or made.container != look.id:
            return
        if look.labels.get(shapes.SPEC) != self._spec:
            self._stop(made, detail="was made for another configuration")
        elif look.runs:
            self._see_running(made, look)
        elif look.has_ended:
            self._see_ended(made, look)
        elif made.is_elsewhere and self._wall() - look.created_at > FRESH:
            self._stop(made, detail="was never started")

    def _see_running(self, made: Made, look: Look) -> None:
        if made.started_at and made.started_at != look.started_at:
            self._stop(made, detail="was restarted by somebody else")
            return
        made.started_at = look.started_at
        made.is_elsewhere = False
        if made.phase is not Phase.REQUESTED:
            return
        try:
            made.host, made.port = shapes.address(
                look.inspection, self._backend, engine_host=self._engine.host
            )
        except shapes.NoAddress as why:
            self._end(made, shapes.cannot_start(str(why)))
        else:
            self._enter(made, Phase.STARTED, detail=f"container {look.id[:12]}")

    def _see_ended(self, made: Made, look: Look) -> None:
        if made.work is not None:
            return  # its start has not been answered yet, or its last lines are being read
        if made.was_killed:
            self._stop(made, detail="was stopped by somebody else")
        elif not made.end_seen:
            made.end_seen = True
            self._follower.again_in(HEARSAY)
        else:
            self._work(made, self._tell_end(made, look), name=f"end of {made.id}")

    def _heard(self, event: Json) -> None:
        container, told = shapes.told(event)
        for made in self._made.values():
            if made.container == container:
                made.was_killed |= told is shapes.Told.ORDERED
                made.end_seen |= told is shapes.Told.ENDED

    # --- what to do about it --------------------------------------------------------------------

    def _act(self) -> None:
        leaving = [made for made in self._made.values() if made.is_told_to_stop]
        for made in leaving:
            if made.work is None:
                self._work(made, self._take_down(made), name=f"stop {made.id}")
        for made in self._living():
            if made.phase is not Phase.REQUESTED or made.work is not None or made.is_elsewhere:
                continue
            if leaving:
                made.detail = f"waits for the end of {', '.join(each.id for each in leaving)}"
            else:
                self._work(made, self._bring_up(made), name=f"start {made.id}")

    def _work(self, made: Made, work: Coroutine[Any, Any, None], *, name: str) -> None:
        made.work = self._tasks.spawn(self._worked(made, work), name=name)

    async def _worked(self, made: Made, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except EngineAway:
            self._follower.again()  # whether it was taken is seen then
            await asyncio.sleep(RETRY)
        except Exception as bug:
            self._tasks.tell_failure(f"container of {made.id}", bug)
            if made.is_told_to_stop:
                await asyncio.sleep(FAULT_RETRY)
            why = fault_of_ours(bug)
            self._end(made, shapes.cannot_start(why))
        finally:
            made.work = None
            self._follower.again()

    async def _bring_up(self, made: Made) -> None:
        made.detail = "is being created"
        try:
            if not made.container and not await self._create(made):
                return
            if not made.is_told_to_stop:
                await self._engine.start(made.container)
        except EngineRefused as refusal:
            self._end(made, shapes.cannot_start(str(refusal)))

    async def _create(self, made: Made) -> bool:
        """False: another activator was quicker, or the image cannot be had."""
        labels = shapes.labels(
            instance=self._instance, endpoint=self._name, replica=made.id, spec=self._spec
        )
        body = shapes.creation(self._backend, labels=labels)
        ordinal, may_pull = 1, True
        while not made.is_told_to_stop:
            name = f"{slug(self._instance)}-{self._name}-{ordinal}"
            if name in self._names:
                ordinal += 1
                continue
            made.is_creating = True
            try:
                self._names.add(name)  # one that is made beside this one takes the next
                made.container = await self._engine.create(name, body)
            except EngineRefused as refusal:
                made.is_creating = False
                if refusal.status == 409:
                    if await self._was_quicker(name):
                        self._made.pop(made.id, None)
                        return False
                    ordinal += 1
                    continue
                self._names.discard(name)
                if not may_pull or not shapes.is_missing_image(str(refusal)):
                    raise
                may_pull = False
                await self._pull(made)
            else:
                return True
            finally:
                made.is_creating = False
        return False

    async def _was_quicker(self, name: str) -> bool:
        """Whether another activator has made the container of this name, for this endpoint. One
        that we have made ourselves a moment ago is no reason to make fewer."""
        inspection = await self._engine.inspect(name)
        if inspection is None:
            return False
        holder = shapes.look(inspection)
        ours = self._made.get(holder.replica)
        labels = (label.split("=", 1) for label in self._mine)
        return (ours is None or not ours.is_ours) and all(
            holder.labels.get(key) == value for key, value in labels
        )

    async def _pull(self, made: Made) -> None:
        image = self._backend.image or ""
        progress, told_at = shapes.PullProgress(image), float("-inf")
        try:
            async for line in self._engine.pull(image):
                progress.take(line)
                if self._clock() - told_at >= TOLD_EVERY:
                    made.detail, told_at = str(progress), self._clock()
                    self._tell()
        except EngineRefused as refusal:
            raise EngineRefused(refusal.status, f"image {image}: {refusal}") from refusal
        made.detail = "is being created"

    async def _tell_end(self, made: Made, look: Look) -> None:
        lines = await made.tail.read(made.container)
        self._end(made, shapes.ending(look.inspection, last_lines=lines))

    async def _take_down(self, made: Made) -> None:
        try:
            if made.container:
                await self._engine.stop(made.container, grace=self._backend.stop_grace)
                await self._engine.remove(made.container)
        except EngineRefused as refusal:
            detail = f"cannot be stopped and removed: {refusal}"
            if made.detail != detail:
                made.detail = detail
                extra = {"endpoint": self._name, "replica": made.id}
                _log.warning("%s", detail, extra=extra)
                self._tell()
            await asyncio.sleep(RETRY)
        else:
            self._removed.append(made.container)
            self._made.pop(made.id, None)
            self._tell()

    def _end(self, made: Made, cause: FailedStart) -> None:
        """Told once, and not of what was told to stop; what is left of it is taken down."""
        if made.is_told_to_stop:
            return
        self._driving.ended(made.id, cause)
        self._stop(made, detail=cause.message)
        self._tell()

    def _stop(self, made: Made, *, detail: str) -> None:
        if made.is_told_to_stop:
            return
        made.is_told_to_stop = True
        # the answer to a creation is waited for: it names what is to be removed
        if made.work not in {None, asyncio.current_task()} and not made.is_creating:
            made.work.cancel()
        self._enter(made, Phase.STOPPING, detail=detail)
        self._follower.again()

    def _enter(self, made: Made, phase: Phase, *, detail: str) -> None:
        made.phase, made.since, made.detail = phase, self._clock(), detail

    async def _finish_stopping(self) -> None:
        """Each is tried once more: the engine may be away, and then it stays."""
        tried: set[str] = set()
        while leaving := [
            made
            for made in self._made.values()
            if made.is_told_to_stop and (made.work is not None or made.id not in tried)
        ]:
            for made in leaving:
                if made.work is None:
                    tried.add(made.id)
                    self._work(made, self._take_down(made), name=f"stop {made.id}")
            await asyncio.wait([made.work for made in leaving if made.work is not None])
