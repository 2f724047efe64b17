"""A request of a client's as a replica gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.proxy.headers import authority, upstream_head
from activator.proxy.stencils import NONE, fill_upstream, upstream_stencil
from activator.upstream.forward import IDEMPOTENT, Outbound

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.proxy.admitted import Admitted
    from activator.proxy.listener import Proxy
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection


def outbound_to(
    replica: Replica,
    proxy: Proxy,
    connection: ServerConnection,
    head: RequestHead,
    admitted: Admitted,
    *,
    request_id: bytes,
    identity: bool,
    parent: bytes | None,
) -> Outbound:
    """As `outbound_head`."""
    said = outbound_head(
        replica,
        proxy,
        connection,
        head,
        admitted,
        request_id=request_id,
        identity=identity,
        parent=parent,
    )
    return Outbound(said, head.method, head.length, head.websocket)


def outbound_head(
    replica: Replica,
    proxy: Proxy,
    connection: ServerConnection,
    head: RequestHead,
    admitted: Admitted,
    *,
    request_id: bytes,
    identity: bool = False,
    parent: bytes | None = None,
) -> bytes:
    """`identity`: the answer is not to be compressed. `parent`: its `traceparent`, where it is
    traced."""
    note = head.note
    is_alike = note is not None and (note is admitted or note is admitted.by_model)
    if is_alike and not identity and parent is None and not proxy.door.trusted:
        stencil = admitted.stencil
        if stencil is None:
            stencil = admitted.stencil = upstream_stencil(
                head,
                path=admitted.path,
                via=proxy.via,
                tls=proxy.tls,
                credentials=admitted.credentials,
            )
            if stencil is not NONE and _may_go_straight(head, admitted, proxy):
                admitted.straight = stencil
        if stencil is not NONE:
            return fill_upstream(stencil, head, request_id, connection.peer)
    return upstream_head(
        head,
        target=admitted.target(head),
        host=head.host or authority(replica),
        via=proxy.via,
        request_id=request_id,
        peer=connection.peer,
        tls=proxy.tls,
        trusted=proxy.door.trusts(connection.peer),
        credentials=admitted.credentials,
        continued=connection.continued,
        identity=identity,
        parent=parent,
    )


def _may_go_straight(head: RequestHead, admitted: Admitted, proxy: Proxy) -> bool:
    """A request like this one, so far as that does not depend on the moment; the stencil is made
    of what it says itself, and so is this."""
    if admitted.passive is not None or proxy.tracer is not None or head.websocket:
        return False
    if head.length:
        return head.length > 0 and head.method == b"POST"
    return head.method in IDEMPOTENT and head.method != b"HEAD"
