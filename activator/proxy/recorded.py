"""Requests and answers as records of jobs, and back: what is kept of a head, and how it is sent.

What a head may carry on either side is decided in `headers`, here as for live traffic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.proxy.headers import authority, upstream_head
from activator.queueing.jobs import Envelope
from activator.upstream.forward import Outbound
from activator.wire.heads import RequestHead, ResponseHead

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.proxy.admitted import Admitted
    from activator.queueing.jobs import ResultHead
    from activator.wire.heads import Field

_OURS: Final = frozenset({b"prefer", b"expect", b"x-activator-webhook", b"x-activator-deadline"})
"""What was asked of the activator, not of the model."""
_KEPT: Final = frozenset({b"content-length", b"host", b"te"})


def envelope_of(
    head: RequestHead,
    admitted: Admitted,
    *,
    request_id: bytes,
    peer: str,
    tls: bool,
    trusted: bool,
    trailers: list[Field],
    webhook: str,
    identity: bool,
    parent: bytes | None,
) -> Envelope:
    """`identity`: the answer is not to be compressed. `parent`: the `traceparent` of what follows
    from it, where it is traced."""
    dropped = (head.connection - _KEPT) | admitted.credentials | _OURS
    lines = [line for name, _, line in head.fields if name not in dropped]
    if identity:
        lines = [line for line in lines if field_of(line)[0] != b"accept-encoding"]
        lines.append(b"Accept-Encoding: identity")
    if parent is not None:
        lines = [line for line in lines if field_of(line)[0] != b"traceparent"]
        lines.append(b"traceparent: " + parent)
    return Envelope(
        method=head.method,
        target=admitted.target(head),
        host=head.host,
        lines=tuple(lines),
        minor=head.minor,
        length=head.length,
        trailers=tuple(line for _, _, line in trailers),
        request_id=request_id,
        peer=peer,
        tls=tls,
        trusted=trusted,
        affinity=admitted.affinity,
        owner=admitted.owner,
        webhook=webhook,
    )


def outbound_of(
    envelope: Envelope, replica: Replica, *, via: bytes, parent: bytes | None = None
) -> Outbound:
    """The request as this replica gets it. `parent`: its `traceparent`, where it is traced."""
    fields = [field_of(line) for line in envelope.lines]
    head = RequestHead(envelope.method, envelope.target, envelope.minor, fields)
    head.length = envelope.length
    return Outbound(
        head=upstream_head(
            head,
            target=envelope.target,
            host=envelope.host or authority(replica),
            via=via,
            request_id=envelope.request_id,
            peer=envelope.peer,
            tls=envelope.tls,
            trusted=envelope.trusted,
            credentials=frozenset(),
            continued=True,
            parent=parent,
        ),
        method=envelope.method,
        length=envelope.length,
        websocket=False,
    )


def answer_of(head: ResultHead, *, bodiless: bool) -> ResponseHead:
    """`bodiless`: it answered HEAD, and the one who reads it now has not asked by HEAD."""
    fields = [field_of(line) for line in head.lines]
    if bodiless:
        fields = [field for field in fields if field[0] != b"content-length"]
        fields.append((b"content-length", b"0", b"Content-Length: 0"))
    answer = ResponseHead(head.status, head.reason, head.minor, fields)
    answer.length = head.length
    return answer


def field_of(line: bytes) -> Field:
    name, _, value = line.partition(b":")
    return name.lower(), value.strip(b" \t"), line
