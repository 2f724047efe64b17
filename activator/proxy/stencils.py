"""Heads that are passed on again and again, made once: what differs each time is left open.

A stencil filled in is byte for byte what `headers` would make.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from activator.core.tokens import is_counted
from activator.proxy.headers import downstream_head, new_traceparent, upstream_head
from activator.proxy.timing import STRAIGHT
from activator.telemetry.spans import valid_traceparent

if TYPE_CHECKING:
    from activator.wire.heads import Field, RequestHead, ResponseHead

_NAMED_HOLE: Final = re.compile(rb"\0([^\0]*)\0")
"""A zero is what no field may hold."""
_ID: Final = b"x-request-id"
_TRACE: Final = b"traceparent"

Stencil = tuple[bytes, tuple[bytes, ...]]
"""For `%`: the query, values of the client's own fields (their names are the second), and then the
request's id, the peer and its `traceparent`. Without bytes: there is none."""
NONE: Final[Stencil] = (b"", ())


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
        head,
        fields=_holed(head.fields, own),
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


def _holed(fields: list[Field], own: tuple[bytes, ...]) -> list[Field]:
    """With a hole in the place of each value that is not the same each time."""
    holed: list[Field] = []
    for name, value, line in fields:
        if name in own:
            hole = b"\0%b\0" % name
            holed.append((name, hole, line[: len(line) - len(value)] + hole))
        else:
            holed.append((name, value, line))
    return holed


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


def is_stream_of_tokens(head: ResponseHead) -> bool | None:
    """None: in such an answer no tokens are counted."""
    return is_counted(
        status=head.status,
        form=head.get(b"content-type"),
        is_encoded=head.get(b"content-encoding") is not None,
    )


class AnswerStencil:
    """`downstream_head` of all answers with this head that a warm replica gives."""

    __slots__ = ("_form", "_names", "is_stream")

    def __init__(self, head: ResponseHead, *, via: bytes) -> None:
        own = () if head.outline is None else head.outline.names
        whole = downstream_head(
            head,
            fields=_holed(head.fields, own),
            via=via,
            request_id=b"\0id\0",
            cold=False,
            timing=STRAIGHT + b"\0upstream\0",
        )
        *self._names, last, upstream = _NAMED_HOLE.findall(whole)
        assert (last, upstream) == (b"id", b"upstream")
        form = whole.replace(b"%", b"%%").replace(b"\0upstream\0", b"%.1f")
        self._form = _NAMED_HOLE.sub(b"%b", form)
        self.is_stream = is_stream_of_tokens(head)

    def filled(self, head: ResponseHead, request_id: bytes, upstream: float) -> bytes:
        """`upstream`: seconds."""
        if self._names:
            own = map(head.own.__getitem__, self._names)
            return self._form % (*own, request_id, upstream * 1e3)
        return self._form % (request_id, upstream * 1e3)


def answer_stencil(head: ResponseHead, *, via: bytes) -> AnswerStencil | None:
    """Made once; kept with the head, or with what it has in common with others. None: it is not
    likely to come again, and a stencil is dearer than what is made with it."""
    if not head.is_kept:
        return None
    kept = head.outline or head
    stencil = kept.note
    if not isinstance(stencil, AnswerStencil):
        stencil = kept.note = AnswerStencil(head, via=via)
    return stencil
