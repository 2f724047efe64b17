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
    tracer, parent = proxy.tracer, head.get(b"traceparent")
    if tracer is None or not tracer.wants(parent):
        return None
    return tracer.request(
        Asked(
            method=head.method,
            target=head.target,
            host=head.host,
            minor=head.minor,
            tls=proxy.tls,
            remote=proxy.door.client(head, connection.peer),
            parent=parent,
            request_id=request_id,
            arrived=arrived,
        )
    )
