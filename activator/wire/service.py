"""What a client's connection is given and whom it tells: limits, the service, a request's receiver.

Protocols and values only; `server` is what calls them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from activator.wire.heads import Field, HeadLimits, RequestHead
from activator.wire.known import KnownRequests
from activator.wire.pouring import Jug
from activator.wire.sipping import make_cup

if TYPE_CHECKING:
    import asyncio

    from activator.aiokit.deadlines import Deadlines
    from activator.aiokit.outbox import Outbox
    from activator.errors import ActivatorError
    from activator.wire.hangup import HangupWatch
    from activator.wire.server import ServerConnection


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of one client's connection; seconds, 0 = no limit."""

    head: HeadLimits = field(default_factory=HeadLimits)
    head_timeout: float = 15.0
    body_idle: float = 60.0
    keep_alive: float = 75.0
    """Of rest between two requests; 0 = none: closed after each answer."""


class Receiver(Protocol):
    """Whoever handles one request. After `client_left` or the answer's end nothing is called."""

    def body(self, data: bytes) -> None: ...

    def body_ended(self, trailers: list[Field]) -> None: ...

    def body_broken(self, error: ActivatorError) -> None:
        """The body is malformed or too slow; the rest of it is never going to be read."""

    def client_left(self) -> None:
        """The client is gone or has shut down its side; an answer would reach nobody."""

    def writable(self, *, ok: bool) -> None:
        """Of an answer that has begun, or is just about to: the client reads slower than it is sent
        to (False), or has caught up (True)."""


class Service(Protocol):
    """What stands behind a listening socket."""

    draining: bool
    """Answers carry `Connection: close` from now on."""
    crowded: bool
    """Connections between requests read a little at a time (`sipping`)."""

    def opened(self, connection: ServerConnection) -> bool:
        """False: too many; it is closed at once, and `closed` is not called."""

    def closed(self, connection: ServerConnection) -> None: ...

    def request(self, connection: ServerConnection, head: RequestHead) -> None:
        """Sets `connection.receiver` before anything else, answers now or later."""

    def refused(self, connection: ServerConnection, error: ActivatorError) -> None:
        """What came is no request: answer `error`. The connection closes afterwards."""


@dataclass(frozen=True, slots=True)
class ServerKit:
    """What every connection of a listener shares."""

    loop: asyncio.AbstractEventLoop
    service: Service
    deadlines: Deadlines
    hangups: HangupWatch
    outbox: Outbox
    """Of the connections to replicas, too."""
    limits: ServerLimits
    tls: bool = False
    cup: memoryview = field(default_factory=make_cup)
    jug: Jug = field(default_factory=Jug)
    known: KnownRequests = field(default_factory=KnownRequests)
