"""A replica's end of a tunnel: what a connection to it has become once it switched protocols.

Takes the transport over, as a `Farewell` does that sees it off in the end. What moves, and which
end holds back the other, is `tunnel`'s.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.wire.farewell import Farewell

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.deadlines import Deadlines
    from activator.aiokit.outbox import Outbox
    from activator.wire.tunnel import Tunnel


class Upgraded(asyncio.Protocol):
    """Its `tunnel` is set at once, and taken away as soon as it has ended. Calls `gone` when the
    transport is closed, which it sees to."""

    __slots__ = ("_deadlines", "_gone", "_outbox", "_paused", "_transport", "tunnel")

    def __init__(
        self,
        transport: asyncio.Transport,
        *,
        outbox: Outbox,
        deadlines: Deadlines,
        gone: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._outbox = outbox
        self._deadlines = deadlines
        self._gone = gone
        self._paused = False
        self.tunnel: Tunnel | None = None
        transport.set_protocol(self)

    # --- what the transport tells ---------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self.tunnel is not None:
            self.tunnel.moved(self, data)

    def pause_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.full(self)

    def resume_writing(self) -> None:
        if self.tunnel is not None:
            self.tunnel.drained(self)

    def eof_received(self) -> None:
        self._ended()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()

    # --- as the end of a tunnel -----------------------------------------------------------------

    def write_raw(self, data: bytes) -> None:
        self._outbox.write(self._transport, data)

    def pause_raw(self) -> None:
        if self.tunnel is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_raw(self) -> None:
        if self.tunnel is not None and self._paused:
            self._paused = False
            self._transport.resume_reading()

    def close_raw(self) -> None:
        if self.tunnel is not None:
            self.tunnel = None
            self._outbox.flush()
            Farewell(self._transport, deadlines=self._deadlines, gone=self._gone).flush()

    # --- endings --------------------------------------------------------------------------------

    def close(self) -> None:
        """End it from outside, at once; the other side gets what was written to it."""
        if self.tunnel is not None:
            self.tunnel.close()
        self._transport.abort()

    def _ended(self) -> None:
        tunnel, self.tunnel = self.tunnel, None
        if tunnel is not None:
            self._transport.abort()
            self._outbox.flush()
            self._gone()
            tunnel.lost(self)
