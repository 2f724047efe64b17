"""Many deadlines on one coarse timer: arming and moving one costs a dictionary entry at most.

A deadline that moves later is only an assignment: it is looked at again when its old moment
comes. So the clock of an idle connection is an attribute, not a timer of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

GRANULARITY = 0.025
"""Seconds. How much later than asked a deadline may fire; small against every setting's default."""


class Timed(ABC):
    """Something with a deadline in loop time (`inf`: none) and what to do when it has passed. Both
    fields are infinite to begin with; the second is `Deadlines`' own to set."""

    __slots__ = ("deadline", "looked_at")

    deadline: float
    looked_at: float
    """When its deadline is looked at next, if it is armed. Whoever moves it to no earlier moment
    need not call `arm`."""

    @abstractmethod
    def on_deadline(self, now: float) -> None: ...


class _Due:
    """What is looked at together. All of it refers to one `moment`: thousands may wait."""

    __slots__ = ("moment", "timed")

    def __init__(self, moment: float) -> None:
        self.moment = moment
        self.timed: dict[Timed, None] = {}


class Deadlines:
    """Fires `on_deadline` of each armed object once, at its `deadline` or up to GRANULARITY later.

    Moving `deadline` later needs nothing; moving it earlier needs `arm` again. Objects leave by
    setting `deadline` to infinity.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._armed: dict[float, _Due] = {}
        """By the moment at which they are looked at, a multiple of GRANULARITY."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._ticking = False
        self._reached = 0
        """How many of these have passed, or are just about to."""

    def arm(self, timed: Timed) -> None:
        """Watch `timed.deadline`; call again whenever it has moved earlier."""
        deadline, known = timed.deadline, timed.looked_at
        if deadline >= known or deadline == inf:
            return  # it is looked at soon enough
        moment = (max(int(deadline / GRANULARITY), self._reached) + 1) * GRANULARITY
        if known <= moment:
            return
        if known != inf:
            del self._armed[known].timed[timed]
        due = self._armed.get(moment)
        if due is None:
            due = self._armed[moment] = _Due(moment)
        timed.looked_at = due.moment
        due.timed[timed] = None
        if not self._ticking and (self._timer is None or moment < self._timer_at):
            self._schedule(moment)

    def forget(self, timed: Timed) -> None:
        """Drop the reference at once instead of when its moment comes."""
        if timed.looked_at != inf:
            due = self._armed.get(timed.looked_at)
            if due is not None:
                due.timed.pop(timed, None)
            timed.looked_at = inf

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for due in self._armed.values():
            for timed in due.timed:
                timed.looked_at = inf
        self._armed.clear()

    def _schedule(self, moment: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = moment
        self._timer = self._loop.call_at(moment, self._tick)

    def _tick(self) -> None:
        self._timer = None
        # a clock that reads a hair early must not make this tick spin on its own moment
        reached = max(int(self._loop.time() / GRANULARITY), round(self._timer_at / GRANULARITY))
        self._reached, last = reached, reached * GRANULARITY
        self._ticking = True
        try:
            for moment in sorted(moment for moment in self._armed if moment <= last):
                self._fire(moment)
        finally:
            self._ticking = False
            if self._armed:
                self._schedule(min(self._armed))

    def _fire(self, moment: float) -> None:
        """What was forgotten, armed anew or closed by somebody's `on_deadline` is heeded."""
        while (due := self._armed.get(moment)) is not None and due.timed:
            timed = next(iter(due.timed))
            del due.timed[timed]
            timed.looked_at = inf
            now = max(self._loop.time(), moment)
            if timed.deadline > now:
                self.arm(timed)
                continue
            timed.deadline = inf
            try:
                timed.on_deadline(now)
            except Exception as error:  # the others' deadlines have passed all the same
                context = {"message": "a deadline's owner failed", "exception": error}
                self._loop.call_exception_handler(context)
        self._armed.pop(moment, None)
