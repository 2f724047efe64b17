"""One endpoint with its gate, on a clock that a test moves; no sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from activator.aiokit.outbox import Outbox
from activator.aiokit.tasks import Tasks
from activator.coordination.memory import MemoryLedger
from activator.core.endpoint import Endpoint, Replica, StaticBackend
from activator.telemetry.metrics import Metrics
from activator.upstream.gate import Gate
from activator.upstream.pool import UpstreamKit
from activator.upstream.registry import LiveEndpoint

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from activator.aiokit.deadlines import Deadlines

ONE = Replica("m-1", "127.0.0.1", 1)
TWO = Replica("m-2", "127.0.0.1", 2)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Later:
    """Stands in for a loop's `call_soon` and `call_at`: what is due runs when a test says so."""

    def __init__(self) -> None:
        self._soon: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        self._soon.append((callback, arguments))

    def call_at(self, at: float, callback: Callable[[], None]) -> asyncio.Handle:
        raise AssertionError("nothing is paced here")

    def run(self) -> None:
        while self._soon:
            callback, arguments = self._soon.pop(0)
            callback(*arguments)


def an_endpoint(**changed: Any) -> Endpoint:
    return Endpoint(name="m", backend=StaticBackend((("127.0.0.1", 1),)), **changed)


def a_gate(endpoint: Endpoint, *, clock: Callable[[], float], later: Later | None = None) -> Gate:
    later = later or Later()
    ledger = MemoryLedger(
        endpoint,
        clock=clock,
        call_soon=later.call_soon,
        call_at=later.call_at,
        dice=lambda sides: 0,
    )
    return Gate(endpoint, ledger, clock=clock)


def live_endpoint(
    *, clock: Callable[[], float] | None = None, later: Later | None = None, **changed: Any
) -> LiveEndpoint:
    endpoint, clock = an_endpoint(**changed), clock or Clock()
    # nothing here opens a connection: the loop and its deadlines are never asked
    kit = UpstreamKit(
        loop=cast("asyncio.AbstractEventLoop", None),
        deadlines=cast("Deadlines", None),
        outbox=Outbox(),
        clock=clock,
    )
    return LiveEndpoint(
        endpoint,
        gate=a_gate(endpoint, clock=clock, later=later),
        metrics=Metrics().endpoint("m"),
        kit=kit,
        tasks=Tasks("test"),
    )
