"""What comes in: each request is admitted, and handed to whoever plays it to its end.

Decides only who that is: an `Exchange` as a rule, a page of the activator's own, a job if it asks
to be one. Whether it may come in is `admission`'s; everything after is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.errors import ActivatorError
from activator.proxy.admission import OwnPath, admit, dialect_at
from activator.proxy.asking import Asking
from activator.proxy.handler import Exchange
from activator.proxy.headers import request_id
from activator.proxy.job_pages import JobPage
from activator.proxy.preferences import wanted
from activator.proxy.replies import refuse

if TYPE_CHECKING:
    from activator.proxy.admission import Admitted
    from activator.proxy.listener import Proxy
    from activator.proxy.preferences import Wanted
    from activator.telemetry.metrics import EndpointMetrics
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection


def enter(proxy: Proxy, connection: ServerConnection, head: RequestHead) -> None:
    """wire has read a head. Whoever plays the request is the connection's receiver from here on;
    nobody is, if it was answered at once."""
    arrived = proxy.clock()
    name = request_id(head)
    try:
        admitted = admit(
            head, door=proxy.door, registry=proxy.registry, via=proxy.via, arrived=arrived
        )
    except OwnPath as path:
        JobPage(proxy, connection, head, path, request_id=name).start()
        return
    except ActivatorError as error:
        _count(proxy.metrics.unrouted, error)
        dialect = dialect_at(head, registry=proxy.registry)
        refuse(connection, head, error, request_id=name, dialect=dialect)
        return
    first = head.first
    if b"prefer" in first or b"idempotency-key" in first:
        try:
            asked = _asks_for_a_job(head, admitted)
        except ActivatorError as error:
            _count(admitted.live.metrics, error)
            dialect = admitted.live.endpoint.dialect
            refuse(connection, head, error, request_id=name, dialect=dialect)
            return
        if asked is not None:
            Asking(
                proxy, connection, head, admitted, asked, request_id=name, arrived=arrived
            ).start()
            return
    exchange = Exchange(proxy, connection, head, admitted, request_id=name, arrived=arrived)
    connection.receiver = exchange
    exchange.start()


def _asks_for_a_job(head: RequestHead, admitted: Admitted) -> Wanted | None:
    asked = wanted(head)
    return None if admitted.passive is not None or head.websocket else asked


def _count(metrics: EndpointMetrics, error: ActivatorError) -> None:
    metrics.request(code=error.status, reason=error.reason, duration=0.0, overhead=0.0)
