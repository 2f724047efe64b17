"""Connections to one replica: kept alive while they are surely usable, opened when there is none.

A server may close a connection that rests at any moment, and a request that crosses its closing
is lost in a way that cannot be told from having been worked on. So a connection that has rested
for a while carries only requests that may be repeated (CONTRACT: "Retries").
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

from activator.wire.client import ClientConnection
from activator.wire.heads import HeadLimits
from activator.wire.known import KnownAnswers

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.deadlines import Deadlines
    from activator.aiokit.outbox import Outbox
    from activator.core.endpoint import Replica

FRESH: Final = 2.0
"""Seconds of rest after which a connection carries only idempotent requests."""
ANNOUNCED_MARGIN: Final = 1.0
"""Seconds by which an announced `Keep-Alive: timeout` is not trusted."""
REST: Final = 60.0
"""Seconds of rest after which a connection is closed."""
IDLE_CONNECTIONS: Final = 256
"""Resting connections kept to one replica; more are closed as they come back."""


@dataclass(frozen=True)
class UpstreamKit:
    """What everything towards the replicas shares."""

    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    outbox: Outbox
    """Of the connections to clients, too."""
    clock: Callable[[], float] = time.monotonic
    """Of the deadlines' base, but exact: an event loop's own clock may stand still for a turn."""
    limits: HeadLimits = field(default_factory=lambda: HeadLimits(total=256 << 10, fields=500))
    """Of answers' heads: wider than for clients, since a replica is ours."""

    known: KnownAnswers = field(default_factory=KnownAnswers)

    def trusting(self) -> ssl.SSLContext:
        """For servers that are not ours: they prove who they are to the system's authorities, or
        those of `SSL_CERT_FILE`. Call it in a thread: reading these takes up to 0.1 s once."""
        return self._trusting

    @cached_property
    def _trusting(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        return context


class Pool:
    """The connections to one replica."""

    __slots__ = ("_closed", "_idle", "_kit", "_latest", "_open", "_replica", "_tls")

    def __init__(self, replica: Replica, kit: UpstreamKit, *, tls: bool = False) -> None:
        self._replica = replica
        self._tls = tls
        self._kit = kit
        self._latest: ClientConnection | None = None
        """The connection that rested least. Not in a list: one that empties and fills again with
        each request takes and frees memory of its own each time."""
        self._idle: list[ClientConnection] = []
        """The others, the one that rested least last."""
        self._open: set[ClientConnection] = set()
        self._closed = False

    @property
    def resting(self) -> list[ClientConnection]:
        """The connections at hand, the one that rested least last."""
        return self._idle if self._latest is None else [*self._idle, self._latest]

    def take(self, *, repeatable: bool, now: float) -> ClientConnection | None:
        """The connection that rested least, if it may carry the request."""
        connection, self._latest = self._latest, None
        while connection is not None or self._idle:
            if connection is None:
                connection = self._idle.pop()
            if connection.usable:
                if repeatable:
                    return connection
                rested = now - connection.resting_since
                if rested <= min(FRESH, connection.keep_alive_for - ANNOUNCED_MARGIN):
                    return connection
                self._latest = connection
                return None  # the others have rested longer
            connection = None
        return None

    async def connect(self, *, within: float) -> ClientConnection:
        """A new connection. Raises OSError (TimeoutError included) when there is none."""
        async with asyncio.timeout(within or None):
            _, connection = await self._kit.loop.create_connection(
                self._make,
                self._replica.host,
                self._replica.port,
                ssl=await asyncio.to_thread(self._kit.trusting) if self._tls else None,
            )
        if not connection.usable:
            raise ConnectionResetError("it was accepted and closed at once")
        if self._closed:
            connection.close()
            raise ConnectionAbortedError("the replica is being removed")
        self._open.add(connection)
        return connection

    def give(self, connection: ClientConnection, now: float) -> None:
        """Back from a complete answer; closed if it is of no further use."""
        before = self._latest
        if self._closed or (before is not None and len(self._idle) + 1 >= IDLE_CONNECTIONS):
            connection.close()
        elif connection.rest(now, now + REST):
            if before is not None:
                self._idle.append(before)
            self._latest = connection

    def close(self) -> None:
        """Close what rests; connections that carry a request end with it."""
        self._closed = True
        resting, self._idle, self._latest = self.resting, [], None
        for connection in resting:
            connection.close()

    def abort(self) -> None:
        """Close everything, requests in flight included: each hears that it was lost."""
        self.close()
        for connection in list(self._open):
            connection.fail("The replica was stopped")

    def _make(self) -> ClientConnection:
        return ClientConnection(
            limits=self._kit.limits,
            deadlines=self._kit.deadlines,
            on_closed=self._forget,
            known=self._kit.known,
            outbox=self._kit.outbox,
        )

    def _forget(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        if connection is self._latest:
            self._latest = None
        elif connection in self._idle:
            self._idle.remove(connection)
