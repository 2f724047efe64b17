"""Connections without a network: what is written is kept, what comes is what a test feeds in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.aiokit.tasks import Tasks
from activator.telemetry.metrics import Metrics
from activator.upstream.pool import UpstreamKit
from activator.upstream.registry import LiveEndpoint
from tests.unit.upstream.support import a_gate, an_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.wire.client import ClientConnection


class Wire(asyncio.Transport):
    """A transport whose other end is the test."""

    def __init__(self, protocol: ClientConnection) -> None:
        super().__init__()
        self.protocol = protocol
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def comes(self, data: bytes) -> None:
        self.protocol.data_received(data)

    def ends(self) -> None:
        self.protocol.eof_received()

    def breaks(self) -> None:
        self.protocol.connection_lost(ConnectionResetError("reset by peer"))


class Network:
    """As much of a loop as opens connections: `wires` are those that were opened."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.refuses: Exception | None = None
        self.hangs = False
        self.closes_at_once = False

    async def create_connection(
        self, make: Callable[[], ClientConnection], host: str, port: int, *, ssl: object
    ) -> tuple[Wire, ClientConnection]:
        if self.hangs:
            await asyncio.Event().wait()
        if self.refuses is not None:
            raise self.refuses
        protocol = make()
        wire = Wire(protocol)
        protocol.connection_made(wire)
        self.wires.append(wire)
        if self.closes_at_once:
            wire.ends()
        return wire, protocol


class Upstream:
    """An endpoint with a network of its own, in the running loop's time."""

    def __init__(self, **changed: Any) -> None:
        self.loop = asyncio.get_running_loop()
        self.network = Network()
        self.deadlines = Deadlines(self.loop)
        self.kit = UpstreamKit(
            loop=cast("asyncio.AbstractEventLoop", self.network),
            deadlines=self.deadlines,
            outbox=Outbox(),
            clock=self.loop.time,
        )
        endpoint = an_endpoint(**changed)
        self.live = LiveEndpoint(
            endpoint,
            gate=a_gate(endpoint, clock=self.loop.time),
            metrics=Metrics().endpoint("m"),
            kit=self.kit,
            tasks=Tasks("test"),
        )

    @property
    def wire(self) -> Wire:
        """The connection that was opened last."""
        return self.network.wires[-1]
