"""Heads that are passed on again and again, made once: what differs each time is left open.

A stencil filled in is byte for byte what `headers` would make.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from activator.core.tokens import is_counted
from activator.proxy.headers import downstream_head, new_traceparent, upstream_head
from activator.proxy.timing import STRAIGHT, WAITED
from activator.telemetry.spans import valid_traceparent

if TYPE_CHECKING:
    from activator.wire.heads import Field, RequestHead, ResponseHead

_NAMED_HOLE: Final = re.compile(rb"\0([^\0]*)\0")
"""A zero is what no field may hold."""
_ID: Final = b"x-request-id"
_TRACE: Final = b"traceparent"
_OURS: Final = b"00-%b-%b-00"
"""A `traceparent` of the request's id and the first half of it."""

Stencil = tuple[bytes, tuple[bytes, ...], bool]
"""For `%`: the query, values of the client's own fields (their names are the second), the request's
id, the peer, and its `traceparent`, or (True) the parts of one that has the request's name. Without
bytes: there is none."""
NONE: Final[Stencil] = (b"", (), False)


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
    # where the id is ours it names the trace, too: W3C Trace Context leaves its name to whoever
    # begins one; not sampled, since nobody has asked
    is_ours = _TRACE not in own and _ID not in own
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
    _, *own_there, last, peer, parent = _NAMED_HOLE.findall(whole)
    assert (last, peer, parent) == (b"id", b"peer", b"trace")
    form = _NAMED_HOLE.sub(
        b"%b", whole.replace(b"%", b"%%").replace(b"\0trace\0", _OURS if is_ours else b"%b")
    )
    return form, tuple(own_there), is_ours


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


def fill_upstream(stencil: Stencil, head: RequestHead, request_id: bytes, peer: str) -> bytes:
    form, names, is_ours = stencil
    if is_ours:
        if not names:
            return form % (head.query, request_id, peer.encode(), request_id, request_id[:16])
        values = map(head.own.__getitem__, names)
        half = request_id[:16]
        return form % (head.query, *values, request_id, peer.encode(), request_id, half)
    own = head.own
    parent = valid_traceparent(own.get(_TRACE)) or new_traceparent()
    values = map(own.__getitem__, names)
    return form % (head.query, *values, request_id, peer.encode(), parent)


def is_stream_of_tokens(head: ResponseHead) -> bool | None:
    """None: in such an answer no tokens are counted."""
    known = (head.outline or head).note
    if isinstance(known, AnswerStencil):
        return known.is_stream
    return is_counted(
        status=head.status,
        form=head.get(b"content-type"),
        is_encoded=head.get(b"content-encoding") is not None,
    )


class AnswerStencil:
    """`downstream_head` of all answers with this head to requests that went straight."""

    __slots__ = ("form", "is_stream", "names", "waited")

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
        *self.names, last, upstream = _NAMED_HOLE.findall(whole)
        """Of the replica's own fields, whose values come first."""
        assert (last, upstream) == (b"id", b"upstream")
        form = whole.replace(b"%", b"%%").replace(b"\0upstream\0", b"%.1f")
        self.form = _NAMED_HOLE.sub(b"%b", form)
        """For `%`; the request's id and the milliseconds at the replica are its last."""
        before, _, _ = self.form.rpartition(b"false\r\nServer-Timing: ")
        self.waited = before + b"%b\r\nServer-Timing: " + WAITED + b"\r\n"
        """The same for those that waited: the id, whether for a start, and milliseconds."""
        self.is_stream = is_stream_of_tokens(head)


def _stencil_of(head: ResponseHead, *, via: bytes) -> AnswerStencil | None:
    """None: it is not likely to come again, and a stencil is dearer than what is made with it."""
    kept = head.outline or head
    stencil = kept.note
    if isinstance(stencil, AnswerStencil):
        return stencil
    if not head.is_kept:
        return None
    stencil = kept.note = AnswerStencil(head, via=via)
    return stencil


def waited_head(
    head: ResponseHead,
    *,
    via: bytes,
    request_id: bytes,
    cold: bool,
    waits: tuple[float, float],
    upstream: float,
) -> bytes:
    """`downstream_head` of an answer to a request that waited; `waits` as of `timing.waits`."""
    stencil = _stencil_of(head, via=via)
    if stencil is None:
        said = WAITED % (*waits, upstream * 1e3)
        return downstream_head(head, via=via, request_id=request_id, cold=cold, timing=said)
    is_cold = b"true" if cold else b"false"
    if stencil.names:
        own = map(head.own.__getitem__, stencil.names)
        return stencil.waited % (*own, request_id, is_cold, *waits, upstream * 1e3)
    return stencil.waited % (request_id, is_cold, *waits, upstream * 1e3)


def straight_head(head: ResponseHead, via: bytes, request_id: bytes, upstream: float) -> bytes:
    """`downstream_head` of an answer to a request that neither waited nor was sent twice.
    `upstream`: seconds at the replica."""
    stencil = (head.outline or head).note
    if not isinstance(stencil, AnswerStencil):
        stencil = _stencil_of(head, via=via)
        if stencil is None:
            timing = STRAIGHT + b"%.1f" % (upstream * 1e3)
            return downstream_head(head, via=via, request_id=request_id, cold=False, timing=timing)
    if stencil.names:
        own = map(head.own.__getitem__, stencil.names)
        return stencil.form % (*own, request_id, upstream * 1e3)
    return stencil.form % (request_id, upstream * 1e3)
