"""Many deadlines on one coarse timer: arming and moving one costs a dictionary entry at most.

A deadline that moves later is only an assignment: it is looked at again when its old moment
comes. So the clock of an idle connection is an attribute, not a timer of its own.
"""

from __future__ import annotations

from math import inf
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
        self._ticking = False
        self._reached = 0
        """The slot up to which everything has fired, or is just about to."""

    def arm(self, timed: Timed) -> None:
        """Watch `timed.deadline`; call again whenever it has moved earlier."""
        deadline = timed.deadline
        known = self._next.get(timed)
        if known is not None and deadline >= known * GRANULARITY:
            return  # it is looked at soon enough
        if deadline == inf:
            return
        slot = max(int(deadline / GRANULARITY), self._reached) + 1
        if known is not None:
            if known <= slot:
                return
            del self._slots[known][timed]
        self._next[timed] = slot
        self._slots.setdefault(slot, {})[timed] = None
        if not self._ticking and (self._timer is None or slot < self._timer_slot):
            self._schedule(slot)

    def forget(self, timed: Timed) -> None:
        """Drop the reference at once instead of when its moment comes."""
        slot = self._next.pop(timed, None)
        if slot is not None:
            del self._slots[slot][timed]

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._slots.clear()
        self._next.clear()

    def _schedule(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_slot = slot
        self._timer = self._loop.call_at(slot * GRANULARITY, self._tick)

    def _tick(self) -> None:
        self._timer = None
        # a clock that reads a hair early must not make this tick spin on its own slot
        self._reached = max(int(self._loop.time() / GRANULARITY), self._timer_slot)
        self._ticking = True
        try:
            for slot in sorted(s for s in self._slots if s <= self._reached):
                self._fire(slot)
        finally:
            self._ticking = False
            if self._slots:
                self._schedule(min(self._slots))

    def _fire(self, slot: int) -> None:
        """What was forgotten, armed anew or closed by somebody's `on_deadline` is heeded."""
        while due := self._slots.get(slot):
            timed = next(iter(due))
            del due[timed]
            self._next.pop(timed, None)
            now = max(self._loop.time(), slot * GRANULARITY)
            if timed.deadline > now:
                self.arm(timed)
                continue
            timed.deadline = inf
            try:
                timed.on_deadline(now)
            except Exception as error:  # the others' deadlines have passed all the same
                context = {"message": "a deadline's owner failed", "exception": error}
                self._loop.call_exception_handler(context)
        self._slots.pop(slot, None)
