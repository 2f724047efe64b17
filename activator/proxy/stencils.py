"""Heads that are passed on again and again, made once: what differs each time is left open.

A stencil filled in is byte for byte what `headers` would make.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from activator.core.tokens import is_counted
from activator.proxy.headers import downstream_head, new_traceparent, upstream_head
from activator.telemetry.spans import valid_traceparent
from activator.wire.heads import RequestHead

if TYPE_CHECKING:
    from activator.wire.heads import Field, ResponseHead

_HOLE: Final = b"\0"
"""What no field may hold."""
_NAMED_HOLE: Final = re.compile(rb"\0([^\0]*)\0")
_ID: Final = b"x-request-id"
_TRACE: Final = b"traceparent"

Stencil = tuple[bytes, tuple[bytes, ...]]
"""For `%`: the query, values of the client's own fields (their names are the second), and then the
request's id, the peer and its `traceparent`. Without bytes: there is none."""
NONE: Final[Stencil] = (b"", ())
UNMADE: Final[Stencil] = (b"unmade", ())
"""In place of one that the next request with this head is worth."""


def upstream_stencil(
    head: RequestHead, *, path: bytes, via: bytes, tls: bool, credentials: frozenset[bytes]
) -> Stencil:
    """`upstream_head` of all requests with this head, or with its outline, of peers whose
    forwarding fields are not believed. NONE: it names no host, or says of itself what others with
    the same bytes would not."""
    own = () if head.outline is None else head.outline.names
    first = head.first
    if not head.host or b"expect" in first or not {_ID, _TRACE} & first.keys() <= set(own):
        return NONE
    whole = upstream_head(
        _holed(head, own),
        target=path + b"\0query\0",
        host=head.host,
        via=via,
        request_id=b"\0id\0",
        peer="\0peer\0",
        tls=tls,
        trusted=False,
        credentials=credentials,
        continued=False,
        parent=b"\0trace\0",
    )
    _, *own_there, last, peer, trace = _NAMED_HOLE.findall(whole)
    assert (last, peer, trace) == (b"id", b"peer", b"trace")
    return _NAMED_HOLE.sub(b"%b", whole.replace(b"%", b"%%")), tuple(own_there)


def _holed(head: RequestHead, own: tuple[bytes, ...]) -> RequestHead:
    fields: list[Field] = []
    for name, value, line in head.fields:
        if name in own:
            hole = b"\0%b\0" % name
            fields.append((name, hole, line[: len(line) - len(value)] + hole))
        else:
            fields.append((name, value, line))
    other = RequestHead(head.method, head.target, head.minor, fields)
    other.length, other.connection, other.websocket = head.length, head.connection, head.websocket
    return other


def fill_upstream(stencil: Stencil, head: RequestHead, *, request_id: bytes, peer: str) -> bytes:
    """Where the id is ours it names the trace, too: W3C Trace Context leaves its name to whoever
    begins one. Not sampled, since nobody has asked."""
    form, names = stencil
    own = head.own
    if own and (_TRACE in own or _ID in own):
        parent = valid_traceparent(own.get(_TRACE)) or new_traceparent()
    else:
        parent = b"00-%b-%b-00" % (request_id, request_id[:16])
    if names:
        values = map(own.__getitem__, names)
        return form % (head.query, *values, request_id, peer.encode(), parent)
    return form % (head.query, request_id, peer.encode(), parent)


class AnswerStencil:
    """`downstream_head` of all answers with this head that a warm replica gives."""

    __slots__ = ("_after", "_before", "_between", "is_stream")

    def __init__(self, head: ResponseHead, *, via: bytes) -> None:
        whole = downstream_head(head, via=via, request_id=_HOLE, cold=False, timing=_HOLE)
        self._before, self._between, self._after = whole.split(_HOLE)
        self.is_stream = is_counted(
            status=head.status,
            form=head.get(b"content-type"),
            is_encoded=head.get(b"content-encoding") is not None,
        )
        """Of tokens; None: there are none in it."""

    def filled(self, request_id: bytes, upstream: float) -> bytes:
        """`upstream`: seconds."""
        return b"%b%b%bqueue;dur=0, activate;dur=0, upstream;dur=%.1f%b" % (
            *(self._before, request_id, self._between),
            *(upstream * 1e3, self._after),
        )


def answer_stencil(head: ResponseHead, *, via: bytes) -> AnswerStencil:
    """Made once; kept with the head."""
    stencil = head.note
    if not isinstance(stencil, AnswerStencil):
        stencil = head.note = AnswerStencil(head, via=via)
    return stencil
