"""When the jobs of which endpoint are looked after: all endpoints of this activator, by one task.

Decides when somebody looks: within a second of something being told, every second while anybody
has one of an endpoint's jobs or waits for it, and when a job is due. Endpoints at rest are looked
at in turn, one at a time, in case something was told that nobody heard: they cost the same
however many there are. What is done then is the worker's.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from itertools import islice
from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.tasks import AGAIN, Tasks
from activator.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Look = Callable[[], Awaitable[float]]
    """Returns the seconds until the next look, if nothing is told before; infinity: none."""

TICK: Final = 1.0
"""Seconds between two looks at an endpoint whose jobs are being worked on."""
AT_ONCE: Final = 16
"""Endpoints that are looked at beside each other: a store at a distance is asked for many in a
second, and one nearby is not flooded."""


class Upkeep:
    """See the module. `clock` is the event loop's."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._looks: OrderedDict[str, Look] = OrderedDict()
        """The one that has rested longest comes first. A plain dictionary keeps a gap where one
        was that has moved, and looks through all of them for its first."""
        self._due: dict[str, float] = {}
        """Of those that are due at some time: most are not, and nobody goes through them all."""
        self._failed: dict[str, tuple[int, float]] = {}
        """How often in a row a look has failed as nobody expects, and until when it is left out."""
        self._tasks = Tasks("upkeep")

    def start(self) -> None:
        self._tasks.spawn_lasting(self._go_on, name="tick")

    def add(self, endpoint: str, look: Look) -> None:
        self._looks[endpoint] = look
        self._due[endpoint] = 0.0  # nobody knows yet what the store has

    def remove(self, endpoint: str) -> None:
        self._looks.pop(endpoint, None)
        self._due.pop(endpoint, None)
        self._failed.pop(endpoint, None)

    def heard(self, endpoint: str) -> None:
        """Something has happened there."""
        if endpoint in self._looks:
            self._due[endpoint] = 0.0

    async def _go_on(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            await self.tick()

    async def tick(self) -> None:
        """Look wherever it is time, and at the one that has rested longest."""
        now = self._clock()
        due = [endpoint for endpoint, at in self._due.items() if at <= now]
        due.sort(key=self._due.__getitem__)
        due += [endpoint for endpoint in islice(self._looks, 1) if endpoint not in due]
        for first in range(0, len(due), AT_ONCE):
            await asyncio.gather(*map(self._look, due[first : first + AT_ONCE]))

    async def _look(self, endpoint: str) -> None:
        look = self._looks.get(endpoint)
        if look is None:
            return
        self._looks.move_to_end(endpoint)
        failures, until = self._failed.get(endpoint, (0, 0.0))
        if self._clock() < until:
            return
        self._due.pop(endpoint, None)  # what is told from now on makes it due again
        again_in = 0.0
        try:
            again_in = await look()
            self._failed.pop(endpoint, None)
        except StoreUnavailable:
            pass
        except Exception as bug:  # of this endpoint's: the others are looked at all the same
            again_in = AGAIN.delay(failures + 1)
            self._tasks.tell_failure(f"look {endpoint}", bug)
            if endpoint in self._looks:
                self._failed[endpoint] = failures + 1, self._clock() + again_in
        if endpoint in self._looks and again_in != inf:
            self._due[endpoint] = min(self._due.get(endpoint, inf), self._clock() + again_in)

    async def aclose(self) -> None:
        await self._tasks.aclose()
