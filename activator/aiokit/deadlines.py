"""Many deadlines on one coarse timer: arming and moving one costs a dictionary entry at most.

A deadline that moves later is only an assignment: it is looked at again when its old moment
comes. So the clock of an idle connection is an attribute, not a timer of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

GRANULARITY = 0.025
"""Seconds. How much later than asked a deadline may fire; small against every setting's default."""


class Timed(Protocol):
    """Something with a deadline in loop time (`inf`: none) and what to do when it has passed."""

    deadline: float

    def on_deadline(self, now: float) -> None: ...


class Deadlines:
    """Fires `on_deadline` of each armed object once, at its `deadline` or up to GRANULARITY later.

    Moving `deadline` later needs nothing; moving it earlier needs `arm` again. Objects leave by
    setting `deadline` to infinity.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._slots: dict[int, dict[Timed, None]] = {}
        self._next: dict[Timed, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_slot = 0

    def arm(self, timed: Timed) -> None:
        """Watch `timed.deadline`; call again whenever it has moved earlier."""
        if timed.deadline == float("inf"):
            return
        slot = int(timed.deadline / GRANULARITY) + 1
        known = self._next.get(timed)
        if known is not None:
            if known <= slot:
                return
            self._leave_slot(known, timed)
        self._next[timed] = slot
        self._slots.setdefault(slot, {})[timed] = None
        if self._timer is None or slot < self._timer_slot:
            self._schedule(slot)

    def forget(self, timed: Timed) -> None:
        """Drop the reference at once instead of when its moment comes."""
        slot = self._next.pop(timed, None)
        if slot is not None:
            self._leave_slot(slot, timed)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()
        self._next.clear()

    def _leave_slot(self, slot: int, timed: Timed) -> None:
        standing = self._slots.get(slot)  # None: its tick is just now going through them
        if standing is not None:
            standing.pop(timed, None)

    def _schedule(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_slot = slot
        self._timer = self._loop.call_at(slot * GRANULARITY, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        # a clock that reads a hair early must not make this tick spin on its own slot
        reached = max(int(now / GRANULARITY), self._timer_slot)
        for slot in sorted(s for s in self._slots if s <= reached):
            for timed in self._slots.pop(slot):
                self._next.pop(timed, None)
                if timed.deadline <= now + GRANULARITY / 2:
                    timed.deadline = float("inf")
                    timed.on_deadline(now)
                else:
                    self.arm(timed)
        if self._slots and self._timer is None:
            self._schedule(min(self._slots))
