"""Bodies of requests that wait, while they are read and until somebody has them: bounded in bytes.

Decides whose body is read now and whose later, in order of coming. A burst of clients can send
faster than a store takes; what is not read yet stays in its socket. Where a body goes afterwards
is `holding`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

MOST: Final = 16 << 20
"""Bytes. A store on the same network takes as much in some 50 ms."""
SLOW: Final = 0.5
"""Seconds after which a client is thought of as slow: no more room is kept for it than it fills."""


class Guest(Protocol):
    """Whose body it is."""

    @property
    def held_bytes(self) -> int:
        """How much of it has come."""

    def may_read(self) -> None:
        """Its turn; may call `leave`."""


@dataclass(slots=True)
class _Stay:
    room: int
    since: float


class Intake:
    """Every guest that has entered, or waits to, leaves in the end."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        crowded: Callable[[bool], None] = lambda crowded: None,
        most: int = MOST,
    ) -> None:
        """`crowded`: told when guests begin to wait, and some time after none does."""
        self._loop = loop
        self._crowded = crowded
        self._most = most
        self._inside: dict[Guest, _Stay] = {}
        self._waiting: dict[Guest, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._admitting = False
        self.used = 0

    def enter(self, guest: Guest, room: int) -> bool:
        """True: its body, of up to `room` bytes, is read now. False: `may_read` is called later."""
        if not self._waiting and self._has(room):
            self._admit(guest, room)
            return True
        self._waiting[guest] = room
        if self._timer is None:
            self._timer = self._loop.call_later(SLOW, self._look)
            self._crowded(True)
        return False

    def squeeze_in(self, guest: Guest) -> None:
        """It has come as a whole, whether it was to wait or nobody had asked."""
        if guest not in self._inside:
            self._waiting.pop(guest, None)
            self._admit(guest, guest.held_bytes)

    def leave(self, guest: Guest) -> None:
        """Whether it was inside, waits or has left already."""
        stay = self._inside.pop(guest, None)
        if stay is None:
            self._waiting.pop(guest, None)
        else:
            self.used -= stay.room
            self._admit_waiting()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _has(self, room: int) -> bool:
        return self.used + room <= self._most or not self._inside

    def _admit(self, guest: Guest, room: int) -> None:
        self._inside[guest] = _Stay(room, self._loop.time())
        self.used += room

    def _admit_waiting(self) -> None:
        """A loop, for whoever is admitted may leave at once."""
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._waiting:
                guest, room = next(iter(self._waiting.items()))
                if not self._has(room):
                    break
                del self._waiting[guest]
                self._admit(guest, room)
                guest.may_read()
        finally:
            self._admitting = False

    def _look(self) -> None:
        if not self._waiting:
            self._timer = None
            self._crowded(False)
            return
        self._timer = self._loop.call_later(SLOW, self._look)
        before = self._loop.time() - SLOW
        for guest, stay in self._inside.items():
            if stay.since < before and guest.held_bytes < stay.room:
                self.used -= stay.room - guest.held_bytes
                stay.room = guest.held_bytes
        self._admit_waiting()
