"""A request of a client's as it is traced, if it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.telemetry.spans import Asked

if TYPE_CHECKING:
    from activator.proxy.listener import Proxy
    from activator.telemetry.spans import Trace
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection


def begin_trace(
    proxy: Proxy,
    connection: ServerConnection,
    head: RequestHead,
    *,
    request_id: bytes,
    arrived: float,
) -> Trace | None:
    """None: there is no tracing, or this one is not sampled."""
    if proxy.tracer is None:
        return None
    return proxy.tracer.request(
        Asked(
            method=head.method,
            target=head.target,
            host=head.host,
            minor=head.minor,
            tls=proxy.tls,
            remote=proxy.door.client(head, connection.peer),
            parent=head.get(b"traceparent"),
            request_id=request_id,
            arrived=arrived,
        )
    )
