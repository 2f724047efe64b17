"""Keeps up with a Docker engine: looks after every event, after every reconnect, and now and then.

Decides when to look and whether the engine can take orders now. What is looked at, and what to do
about it, is the drivers'. While the engine is away nothing is concluded: what ran is taken to run.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from activator.core.backoff import Backoff
from activator.drivers.base import DriverError, OutOfTouch
from activator.drivers.docker_engine import EngineAway, EngineRefused
from activator.drivers.output import KEPT_LINES, Output
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from activator.drivers.docker_engine import Engine

    Json = dict[str, Any]

RESYNC = 15.0
"""Seconds between two looks when nothing is heard: a proxy in between may have lost the events'
connection without telling, and an order that failed is tried again."""
GATHER = 0.01
"""Seconds: an engine tells one stop in three events."""

_RETRY = Backoff(first=0.25, cap=5.0)
_log = logging.getLogger("activator.docker")


class Follower:
    """Of one endpoint at one engine. `run` once."""

    def __init__(self, engine: Engine, *, endpoint: str, filters: Mapping[str, list[str]]) -> None:
        self.away: str | None = None
        """Why the engine cannot be asked; None while it can, as far as is known."""
        self.has_ended = False
        self.fence = 1
        self._engine = engine
        self._endpoint = endpoint
        self._filters = filters
        self._due = asyncio.Event()
        self._tasks = Tasks(f"docker/{endpoint}")

    def again(self) -> None:
        """Something may have changed: look soon."""
        self._due.set()

    def again_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._due.set)

    def check(self, replicas: int, *, fence: str) -> None:
        """Raises DriverError for an order that cannot be taken."""
        if self.has_ended:
            raise DriverError(f"endpoint {self._endpoint} is shutting down")
        if fence and fence != str(self.fence):
            raise DriverError(f"endpoint {self._endpoint} has been revived")
        if replicas < 0:
            raise DriverError(f"cannot run {replicas} replicas")
        if self.away is not None:
            raise OutOfTouch(self.trouble)

    @property
    def trouble(self) -> str:
        """As of `Snapshot.trouble`."""
        return "" if self.away is None else f"the Docker engine cannot be asked: {self.away}"

    async def run(
        self,
        *,
        look: Callable[[], Awaitable[None]],
        heard: Callable[[Json], None],
        lost: Callable[[], None],
    ) -> None:
        """Until cancelled. `look` may raise what `Engine` raises; `lost` is told then, once `away`
        says why."""
        try:
            await self._tasks.lasting(partial(self._follow, look, heard, lost), name="follow")
        finally:
            self.has_ended = True
            await self._tasks.aclose()

    async def _follow(
        self,
        look: Callable[[], Awaitable[None]],
        heard: Callable[[Json], None],
        lost: Callable[[], None],
    ) -> None:
        attempt = 0
        while True:
            try:
                await self._engine.agree()
                async with self._engine.events(self._filters) as events:
                    hearing = self._tasks.spawn(self._hear(events, heard), name="events")
                    try:
                        self._due.set()
                        while not hearing.done():
                            await self._next()
                            await look()
                            attempt = 0
                            self._found()
                    finally:
                        hearing.cancel()
                    raise hearing.result()
            except (EngineAway, EngineRefused) as error:
                attempt += 1
                self._lost(str(error))
                lost()
            except Exception as bug:  # it begins again; until then nothing is known
                self._lost(fault_of_ours(bug))
                lost()
                raise
            await asyncio.sleep(_RETRY.delay(attempt, dice=random.random()))

    async def _next(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RESYNC):
                await self._due.wait()
        await asyncio.sleep(GATHER)
        self._due.clear()

    async def _hear(self, events: AsyncIterator[Json], heard: Callable[[Json], None]) -> EngineAway:
        """Until they break off; returns why."""
        try:
            async for event in events:
                heard(event)
                self._due.set()
        except EngineAway as why:
            return why
        finally:
            self._due.set()
        return EngineAway("its events ended")

    def _found(self) -> None:
        if self.away is not None:
            self.away = None
            self._due.set()  # to be told
            extra = {"action": "engine_back", "endpoint": self._endpoint}
            _log.info("the Docker engine answers again", extra=extra)

    def _lost(self, why: str) -> None:
        if self.away is None:
            extra = {"action": "engine_away", "endpoint": self._endpoint}
            _log.warning("the Docker engine cannot be asked: %s", why, extra=extra)
        self.away = why


class Tail:
    """The last lines that a container has printed, read when somebody asks, not followed: a log of
    its own is what the engine keeps."""

    EVERY = 1.0
    """Seconds between two readings at least."""

    def __init__(self, engine: Engine) -> None:
        self.lines: tuple[str, ...] = ()
        self._engine = engine
        self._read_at = float("-inf")

    @property
    def is_due(self) -> bool:
        return time.monotonic() - self._read_at >= self.EVERY

    async def read(self, container: str) -> tuple[str, ...]:
        """Never fails: no lines are better than no cause."""
        self._read_at = time.monotonic()
        output = Output(lambda _: None)
        with contextlib.suppress(EngineAway, EngineRefused):
            for piece in await self._engine.last_output(container, lines=KEPT_LINES):
                output.feed(piece, now=self._read_at)
            self.lines = output.last_lines()
        return self.lines
