"""One time of owning an endpoint's processes: a driver at work under one term of the deed.

Keeps what the driver tells and how far the deed's orders were carried out; when a tenure begins and
ends, and who is told of it, is `drivers.owned`'s to decide.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.effects import FailedStart
from activator.drivers.base import DriverError, Exit, OutOfTouch, Phase
from activator.errors import fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activator.aiokit.tasks import Tasks
    from activator.core.deeds import Deed
    from activator.drivers.base import Driver, Sighting, Snapshot

SETTLES_AFTER = 1.0
"""Seconds from having nothing in flight until that is believed: an activator may not have heard yet
that a replica gets nothing new."""
LOOK = 0.05
"""Seconds between two looks at what is in flight."""
KEPT_EXITS = 8
"""Unasked ends that are told, those of earlier tenures among them."""


class Tenure:
    """Made in a running event loop. `changed` is called after every change of what is seen."""

    def __init__(
        self,
        driver: Driver,
        deed: Deed,
        *,
        exits: Iterable[Exit],
        changed: Callable[[], None],
        tasks: Tasks,
    ) -> None:
        """`exits`: of earlier tenures; those who read them may not have counted them yet."""
        self.term = deed.term
        self.taken = deed.taken
        """The number of the latest order that was carried out, or refused."""
        self.refused = 0
        """That of the latest one which the driver could not pass on."""
        self.refusal = ""
        """Why."""
        self.driver = driver
        self._earlier = deque(exits, maxlen=KEPT_EXITS)
        self._changed = changed
        self._seen: Snapshot | None = None
        running = tasks.spawn(driver.run(self._report), name=f"term {self.term}")
        self._run: asyncio.Task[None] | None = running

    def _report(self, snapshot: Snapshot) -> None:
        self._seen = snapshot
        self._changed()

    @property
    def has_begun(self) -> bool:
        """The driver has told what there is."""
        return self._seen is not None and not self._seen.is_blind

    @property
    def trouble(self) -> str:
        return self._seen.trouble if self._seen else ""

    @property
    def wanted(self) -> int:
        return self._seen.wanted if self._seen else 0

    @property
    def replicas(self) -> tuple[Sighting, ...]:
        return self._seen.replicas if self._seen else ()

    @property
    def exits(self) -> tuple[Exit, ...]:
        ours = self._seen.exits if self._seen else ()
        return (*self._earlier, *ours)[-KEPT_EXITS:]

    @property
    def is_empty(self) -> bool:
        """Nothing runs, nothing is on its way."""
        return self.has_begun and not self.wanted and not self.replicas

    async def carry_out(self, deed: Deed, *, failed: Callable[[Exception], None]) -> None:
        """Its latest order. One that the driver does not take is a start that failed: whoever gave
        it, and all the others, learn why. Where nobody could be asked nothing has failed, and it is
        for whoever gave it to give it again; so it is where the driver `failed` by a bug."""
        try:
            await self.driver.scale(deed.wanted, victims=deed.victims)
        except OutOfTouch as error:
            self.refused, self.refusal = deed.number, str(error)
        except DriverError as error:
            refused = Exit(f"{deed.term}.{deed.number}", FailedStart(str(error)))
            self._earlier.append(refused)
        except Exception as bug:
            failed(bug)
            self.refused, self.refusal = deed.number, fault_of_ours(bug)
        self.taken = deed.number

    @property
    def last_sightings(self) -> tuple[Sighting, ...]:
        """Its replicas as they look once they are to get nothing new."""
        why = "finishes what it has: another activator has taken over"
        return tuple(
            each
            if each.phase is Phase.STOPPING
            else replace(each, phase=Phase.STOPPING, detail=why)
            for each in self.replicas
        )

    async def seen_out(
        self, in_flight: Callable[[str], int], *, within: float, clock: Callable[[], float]
    ) -> None:
        """Until nobody has anything at its replicas, or so many seconds have passed."""
        quiet_since = None
        now = clock()
        until = now + within
        while now < until and not self.is_empty:
            if any(in_flight(each.id) for each in self.replicas):
                quiet_since = None
            elif quiet_since is None:
                quiet_since = now
            elif now - quiet_since >= SETTLES_AFTER:
                return
            await asyncio.sleep(LOOK)
            now = clock()

    def cancel(self) -> None:
        """The driver ends, and stops what must not outlive it; twice: in haste."""
        if self._run is not None:
            self._run.cancel()

    async def ended(self) -> None:
        """Waits for that. Cancelled meanwhile, it asks for haste, and still waits."""
        cancelled: asyncio.CancelledError | None = None
        while self._run is not None and not self._run.done():
            try:
                await asyncio.wait({self._run})
            except asyncio.CancelledError as error:
                cancelled = error
                self._run.cancel()
        # whoever looked has us, and so has what has run: all are to be freed at once
        self._changed, self._run = _nobody_sees, None
        if cancelled is not None:
            raise cancelled


def _nobody_sees() -> None:
    """It has ended."""
