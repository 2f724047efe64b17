"""What a server that is not ours is told of a request, and what of its answer is passed on.

Both are lists of what may pass, since nobody knows in which fields clients carry what is secret,
nor which of another house's fields would be taken for this one's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.upstream.forward import Outbound
from activator.wire.heads import ResponseHead

if TYPE_CHECKING:
    from activator.core.endpoint import Service
    from activator.wire.heads import RequestHead

_TOLD: Final = frozenset(
    {
        b"accept", b"accept-encoding", b"accept-language", b"anthropic-beta", b"anthropic-version",
        b"content-encoding", b"content-language", b"content-type", b"openai-beta", b"user-agent",
    }
)  # fmt: skip
"""Of the request's own fields: none says who the client is, where, or by which right."""
_PASSED_ON: Final = frozenset(
    {
        b"cache-control", b"content-disposition", b"content-encoding", b"content-language",
        b"content-length", b"content-range", b"content-type", b"date", b"etag", b"expires",
        b"last-modified", b"vary",
    }
)  # fmt: skip
"""Of the answer's: what describes it. Cookies, `Alt-Svc`, policies and the like are for their host
alone, and what is left tells of its owner's account."""
_CORS: Final = b"access-control-"
"""Of these fields all are passed on: pages of other hosts may read a replica's answers by them."""


def outbound_to_service(
    service: Service,
    head: RequestHead,
    *,
    target: bytes,
    size: int,
    via: bytes,
    request_id: bytes,
    identity: bool,
) -> Outbound:
    """`target`: as a replica would get it. `size`: of the body, which is whole. `identity`: the
    answer is not to be compressed."""
    path = service.path.encode("ascii") if target.startswith(b"/") else b""
    lines = [
        b"%b %b%b HTTP/1.1" % (head.method, path, target),
        b"Host: " + service.authority.encode("ascii"),
    ]
    for name, _, line in head.fields:
        if name in _TOLD and not (identity and name == b"accept-encoding"):
            lines.append(line)
    if service.key:
        lines.append(b"Authorization: Bearer " + service.key.encode("latin-1"))
    if identity:
        lines.append(b"Accept-Encoding: identity")
    if size or head.length or head.get(b"content-length") is not None:
        lines.append(b"Content-Length: %d" % size)
    lines += (b"Via: 1.%d %b" % (head.minor, via), b"X-Request-Id: " + request_id, b"\r\n")
    return Outbound(head=b"\r\n".join(lines), method=head.method, length=size, websocket=False)


def of_service(head: ResponseHead) -> ResponseHead:
    """The answer's head with the fields that are passed on."""
    fields = [
        field for field in head.fields if field[0] in _PASSED_ON or field[0].startswith(_CORS)
    ]
    passed = ResponseHead(head.status, head.reason, head.minor, fields)
    passed.length, passed.keep_alive = head.length, head.keep_alive
    passed.connection = head.connection
    return passed
