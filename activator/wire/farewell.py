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
from activator.aiokit.taking import taken_by, unsent

if TYPE_CHECKING:
    from collections.abc import Callable


LINGER_SILENCE: Final = 2.0
LINGER_TOTAL: Final = 10.0
"""A client that still sends a body nobody wants gets so long to read the answer (RFC 9112 §9.6)."""
FLUSH_SILENCE: Final = 60.0
"""Seconds in which the other side must have taken something of what was written to it."""
GOODBYE: Final = 2.0
"""Seconds in which a side that has everything must have answered the goodbye of TLS. Many that keep
a connection for later do not look at it."""
TLS_SHUTDOWN: Final = 24 * 3600.0
"""Seconds that a transport under TLS is to have for its end, for its own clock would run out while
the other side still reads. Whether it does is seen here."""


class Farewell(asyncio.Protocol, Timed):
    """Calls `gone` when the transport is closed, which it sees to."""

    __slots__ = ("_deadlines", "_gone", "_lingers", "_taken", "_transport", "_until")

    def __init__(
        self, transport: asyncio.Transport, *, deadlines: Deadlines, gone: Callable[[], None]
    ) -> None:
        self._transport = transport
        self._deadlines = deadlines
        self._gone = gone
        self._lingers = False
        self._until = inf
        self._taken: float = 0
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
        has_all = not unsent(self._transport)
        self._transport.close()
        # a buffer that nobody can count may still be on its way into one that seems empty
        self._taken = -inf if has_all else taken_by(self._transport)
        self._look_at(_now() + (GOODBYE if has_all else FLUSH_SILENCE))

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
        taken = taken_by(self._transport)
        if unsent(self._transport) and taken > self._taken:
            self._taken = taken
            self._look_at(now + FLUSH_SILENCE)
        else:
            self._transport.abort()

    def _look_at(self, moment: float) -> None:
        self.deadline = moment
        self._deadlines.arm(self)


def _now() -> float:
    return asyncio.get_running_loop().time()
