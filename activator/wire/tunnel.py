"""The raw tunnel after an upgrade: bytes between two connections, untouched, until either ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class TunnelEnd(Protocol):
    """A connection that has stopped speaking HTTP."""

    def write_raw(self, data: bytes) -> None: ...

    def pause_raw(self) -> None: ...

    def resume_raw(self) -> None: ...

    def close_raw(self) -> None:
        """Flush what was written, then close."""


class Tunnel:
    """Joins two ends. Whoever is full pauses the other; whoever ends closes the other."""

    __slots__ = ("_a", "_b", "_clock", "_ended", "last_byte")

    def __init__(
        self,
        a: TunnelEnd,
        b: TunnelEnd,
        *,
        clock: Callable[[], float],
        ended: Callable[[Tunnel], None],
    ) -> None:
        self._a = a
        self._b = b
        self._clock = clock
        self._ended: Callable[[Tunnel], None] | None = ended
        self.last_byte = clock()

    def moved(self, source: TunnelEnd, data: bytes) -> None:
        self.last_byte = self._clock()
        self._other(source).write_raw(data)

    def full(self, end: TunnelEnd) -> None:
        self._other(end).pause_raw()

    def drained(self, end: TunnelEnd) -> None:
        self._other(end).resume_raw()

    def close(self) -> None:
        """End it from outside: both sides are flushed and closed."""
        self.lost(self._a)
        self._a.close_raw()

    def lost(self, end: TunnelEnd) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            self._other(end).close_raw()
            ended(self)

    def _other(self, end: TunnelEnd) -> TunnelEnd:
        return self._b if end is self._a else self._a
