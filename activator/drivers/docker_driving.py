"""What the drivers of containers have in common: an engine that is followed, and what is told.

Decides when a snapshot is worth telling: from the first look on, and when it says something new.
What is in it, and what is done about it, is the drivers'.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from activator.drivers.base import Exit, Sighting, Snapshot
from activator.drivers.docker_engine import Engine
from activator.drivers.docker_follow import Follower
from activator.drivers.docker_made import KEPT_EXITS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from activator.core.effects import FailedStart
    from activator.drivers.docker_follow import Tail

    Json = dict[str, Any]
    There = tuple[int, tuple[Sighting, ...]]


class Driving:
    """Of one endpoint's containers. `run` once."""

    def __init__(self, endpoint: str, *, engine: str, filters: Mapping[str, list[str]]) -> None:
        """`engine`: its address; `filters`: of its events."""
        self.engine = Engine(engine)
        self.follower = Follower(self.engine, endpoint=endpoint, filters=filters)
        self.tasks = Tasks(f"docker/{endpoint}")
        self._exits: deque[Exit] = deque(maxlen=KEPT_EXITS)
        self._there: Callable[[], There]
        self._report: Callable[[Snapshot], None] | None = None
        self._may_tell = False
        self._has_looked = False
        self._told: Snapshot | None = None

    async def run(
        self,
        report: Callable[[Snapshot], None],
        *,
        there: Callable[[], There],
        look: Callable[[], Awaitable[None]],
        heard: Callable[[Json], None],
        finish: Callable[[], Awaitable[None]],
    ) -> None:
        """Until cancelled, and then until `finish` is done; cancelled again meanwhile, it waits no
        longer. `there`: how many replicas are wanted, and which there are; `look` and `heard` as
        the follower's."""
        self._report, self._there = report, there

        async def look_and_tell() -> None:
            await look()
            self._may_tell = self._has_looked = True
            self.tell()

        try:
            await self.follower.run(look=look_and_tell, heard=heard, lost=self._lost)
        finally:
            self._report = None
            with contextlib.suppress(asyncio.CancelledError):
                await finish()
            await self.tasks.aclose()
            await self.engine.aclose()

    def _lost(self) -> None:
        """Nothing is concluded from it; but whoever waits for a first word gets one."""
        self._may_tell = True
        self.tell()

    def ended(self, replica: str, cause: FailedStart) -> None:
        """Without having been told to."""
        self._exits.append(Exit(replica, cause))

    def revived(self) -> None:
        self.follower.fence += 1
        self.tell()

    def lines(self, tail: Tail, container: str) -> tuple[str, ...]:
        """The last ones that are known; newer ones are read meanwhile."""
        if tail.is_due:
            self.tasks.spawn(tail.read(container), name="lines")
        return tail.lines

    def tell(self) -> None:
        if self._report is None or not self._may_tell:
            return
        wanted, replicas = self._there()
        now = Snapshot(
            wanted=wanted,
            replicas=replicas,
            exits=tuple(self._exits),
            fence=str(self.follower.fence),
            trouble=self.follower.trouble,
            is_blind=not self._has_looked,
        )
        if now != self._told:
            self._told = now
            self._report(now)
