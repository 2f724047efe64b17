"""How a connection is left in good order: what was written arrives, what still comes is dropped.

A closed socket with unread bytes in it is reset by the kernel, and a reset destroys what the other
side has not read yet (RFC 9112 §9.6). A side that never reads must not keep us either. So once
nothing more is going to be said, a `Farewell` takes the transport over from its protocol.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Final

from activator.aiokit.deadlines import Deadlines, Timed
from activator.aiokit.taking import unsent

if TYPE_CHECKING:
    from collections.abc import Callable


LINGER_SILENCE: Final = 2.0
LINGER_TOTAL: Final = 10.0
"""A client that still sends a body nobody wants gets so long to read the answer (RFC 9112 §9.6)."""
FLUSH_SILENCE: Final = 60.0
"""Seconds in which the other side must have taken something of what was written to it."""


class Farewell(asyncio.Protocol, Timed):
    """Calls `gone` when the transport is closed, which it sees to."""

    __slots__ = ("_deadlines", "_gone", "_lingers", "_transport", "_unsent", "_until")

    def __init__(
        self, transport: asyncio.Transport, *, deadlines: Deadlines, gone: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._deadlines = deadlines
        self._gone = gone
        self._lingers = False
        self._until = inf
        self._unsent = 0
        self.deadline = self.looked_at = inf
        transport.set_protocol(self)

    def linger(self) -> None:
        """Say that nothing more follows, read on for a while and throw away, then close."""
        self._lingers = True
        if self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except (
                OSError
            ):  # it has gone without a word; asyncio's own loop raises, uvloop does not
                self._transport.abort()
                return
        now = _now()
        self._until = now + LINGER_TOTAL
        self._look_at(min(now + LINGER_SILENCE, self._until))

    def flush(self) -> None:
        """Close as soon as all is written."""
        self._lingers = False
        self._transport.close()
        self._unsent = unsent(self._transport)
        self._look_at(_now() + FLUSH_SILENCE)

    def data_received(self, data: bytes) -> None:
        if self._lingers:
            self.deadline = min(_now() + LINGER_SILENCE, self._until)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadline = inf
        self._deadlines.forget(self)
        self._gone()

    def on_deadline(self, now: float) -> None:
        if self._lingers:
            self.flush()
            return
        left = unsent(self._transport)
        if 0 < left < self._unsent:
            self._unsent = left
            self._look_at(now + FLUSH_SILENCE)
        else:
            self._transport.abort()

    def _look_at(self, moment: float) -> None:
        self.deadline = moment
        self._deadlines.arm(self)


def _now() -> float:
    return asyncio.get_running_loop().time()
