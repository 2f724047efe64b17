"""Heads that are passed on again and again: filled in, they are what they would be made anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.proxy.headers import downstream_head, new_request_id, upstream_head
from activator.proxy.stencils import (
    NONE,
    AnswerStencil,
    fill_upstream,
    is_stream_of_tokens,
    straight_head,
    upstream_stencil,
    waited_head,
)
from activator.wire.incoming import Incoming
from activator.wire.known import KnownAnswers, KnownRequests
from activator.wire.parsing import parse_response
from tests.unit.proxy.support import LIMITS, asked, told

if TYPE_CHECKING:
    from activator.wire.heads import RequestHead

VIA = b"activator-0011223344"
TRACE = f"00-{'1' * 32}-{'2' * 16}-01"
OTHER = f"00-{'3' * 32}-{'4' * 16}-00"


def read(known: KnownRequests, line: str, fields: tuple[str, ...]) -> RequestHead:
    for _ in range(2):  # what comes only once is not kept
        incoming = Incoming(LIMITS, known)
        incoming.add("\r\n".join([line, "Host: m.example", *fields, "", ""]).encode())
        head = incoming.head()
    assert head is not None
    return head


def made_anew(head: RequestHead, *, request_id: bytes, parent: bytes | None) -> bytes:
    return upstream_head(
        head,
        target=b"/b%" + head.query,
        host=head.host,
        via=VIA,
        request_id=request_id,
        peer="192.0.2.7",
        tls=True,
        trusted=False,
        credentials=frozenset(),
        continued=False,
        parent=parent,
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((), ()),
        (("Via: 1.1 other", "TE: trailers", "Cookie: a=%b"),) * 2,
        (("X-Forwarded-For: 1.2.3.4",),) * 2,
        (("Connection: x-hop", "X-Hop: 1", "X_Forwarded_For: 1"),) * 2,
        (("Transfer-Encoding: chunked",),) * 2,
        (("Content-Length: 5", "Accept: a"), ("Content-Length: 12345", "Accept: a")),
        (("tracestate: a=1", "X: y", "baggage: b"), ("tracestate: c=%d", "X: y", "baggage: ef")),
        ((f"traceparent: {TRACE}", "tracestate: a=1"), (f"traceparent: {OTHER}", "tracestate: b")),
        (("Connection: tracestate", "tracestate: a"), ("Connection: tracestate", "tracestate: b")),
    ],
)  # fmt: skip
def test_once_filled_it_is_the_head_as_it_is_made_otherwise(
    first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    known = KnownRequests()
    stencil = NONE
    for query, fields in (("?b", first), ("?c=%25", second)):
        head = read(known, f"GET /a{query} HTTP/1.1", fields)
        if stencil is NONE:
            stencil = upstream_stencil(
                head, path=b"/b%", via=VIA, tls=True, credentials=frozenset()
            )
        named = new_request_id()
        given = head.get(b"traceparent")
        parent = given or b"00-%b-%b-00" % (named, named[:16])

        filled = fill_upstream(stencil, head, request_id=named, peer="192.0.2.7")
        assert filled == made_anew(head, request_id=named, parent=parent)


def test_who_names_a_request_but_no_trace_gets_a_trace_of_its_own() -> None:
    head = read(KnownRequests(), "GET /?a HTTP/1.1", ("X-Request-Id: mine",))
    stencil = upstream_stencil(head, path=b"/", via=VIA, tls=True, credentials=frozenset())

    one, other = (
        fill_upstream(stencil, head, request_id=b"mine", peer="192.0.2.7").split(b"\r\n")
        for _ in range(2)
    )
    assert b"X-Request-Id: mine" in one
    (parent,) = set(one) - set(other)
    assert parent.startswith(b"traceparent: 00-")
    assert made_anew(head, request_id=b"mine", parent=parent[13:]).split(b"\r\n")[1:] == one[1:]


def test_a_trace_that_is_none_is_replaced() -> None:
    head = read(KnownRequests(), "GET /?a HTTP/1.1", ("traceparent: mine",))
    stencil = upstream_stencil(head, path=b"/", via=VIA, tls=True, credentials=frozenset())

    filled = fill_upstream(stencil, head, request_id=new_request_id(), peer="192.0.2.7")
    assert b"traceparent: mine" not in filled
    assert b"traceparent: 00-" in filled


@pytest.mark.parametrize(
    "field", ["X-Request-Id: 1", f"traceparent: {TRACE}", "Expect: 100-continue"]
)
def test_what_nobody_has_told_apart_fits_no_stencil(field: str) -> None:
    head = asked("GET / HTTP/1.1", field)
    assert head.outline is None
    made = upstream_stencil(head, path=b"/", via=VIA, tls=False, credentials=frozenset())
    assert made is NONE


def test_who_names_no_host_fits_no_stencil() -> None:
    head = asked("GET / HTTP/1.0", host=None)
    made = upstream_stencil(head, path=b"/", via=VIA, tls=False, credentials=frozenset())
    assert made is NONE


def test_the_stencil_of_an_answer_is_its_head_but_for_what_differs() -> None:
    head = told("HTTP/1.1 200 OK", "Server: m", "Content-Length: 2", "X-Request-Id: theirs")
    timing = b"queue;dur=0, activate;dur=0, upstream;dur=1234.5"
    made = downstream_head(head, via=VIA, request_id=b"id-1", cold=False, timing=timing)

    def said() -> bytes:
        return straight_head(head, via=VIA, request_id=b"id-1", upstream=1.2345)

    assert said() == made
    assert head.note is None  # it may be the only one
    head.is_kept = True
    assert said() == made
    stencil = head.note
    assert isinstance(stencil, AnswerStencil)
    assert said() == made
    assert head.note is stencil


@pytest.mark.parametrize("cold", [True, False])
@pytest.mark.parametrize("is_kept", [True, False])
def test_to_who_has_waited_the_same_stencil_says_so(cold: bool, is_kept: bool) -> None:
    head = told(
        "HTTP/1.1 200 OK",
        "X-Odd: false 100%",
        "Server-Timing: queue;dur=0, activate;dur=0, upstream;dur=1",
        "Content-Length: 2",
    )
    head.is_kept = is_kept
    timing = b"queue;dur=12.3, activate;dur=4000.0, upstream;dur=1234.5"
    made = downstream_head(head, via=VIA, request_id=b"id-1", cold=cold, timing=timing)

    for _ in range(2):
        said = waited_head(
            head, via=VIA, request_id=b"id-1", cold=cold, waits=(12.3, 4000.0), upstream=1.2345
        )
        assert said == made
    assert isinstance(head.note, AnswerStencil) is is_kept


def test_an_answer_says_of_its_own_what_it_says() -> None:
    known, lines = (
        KnownAnswers(),
        b"HTTP/1.1 200 OK\r\nServer: 5%%\r\nDate: %d\r\nX-Request-Id: y\r\n",
    )
    stencils = []
    for number in range(3):
        raw = lines % number + b"Content-Length: 1%d\r\n\r\n" % number
        head = known.alike(raw)
        if head is None:
            head = parse_response(raw, method=b"GET", limits=LIMITS)
            for _ in range(2):
                known.learn(raw, head, LIMITS)
        timing = b"queue;dur=0, activate;dur=0, upstream;dur=0.5"
        said = straight_head(head, via=VIA, request_id=b"id-1", upstream=0.0005)
        assert said == downstream_head(head, via=VIA, request_id=b"id-1", cold=False, timing=timing)
        said = waited_head(
            head, via=VIA, request_id=b"id-1", cold=True, waits=(0.0, 2.0), upstream=0.0005
        )
        timing = b"queue;dur=0.0, activate;dur=2.0, upstream;dur=0.5"
        assert said == downstream_head(head, via=VIA, request_id=b"id-1", cold=True, timing=timing)
        assert head.outline is not None
        stencils.append(head.outline.note)
    assert stencils[1] is stencils[2]


@pytest.mark.parametrize(
    ("line", "fields", "is_stream"),
    [
        ("HTTP/1.1 200 OK", ("Content-Type: application/json",), False),
        ("HTTP/1.1 200 OK", ("Content-Type: text/event-stream; charset=utf-8",), True),
        ("HTTP/1.1 200 OK", ("Content-Type: text/plain",), None),
        ("HTTP/1.1 200 OK", ("Content-Type: application/json", "Content-Encoding: br"), None),
        ("HTTP/1.1 400 No", ("Content-Type: application/json",), None),
    ],
)
def test_where_tokens_may_be_counted_follows_from_the_head(
    line: str, fields: tuple[str, ...], is_stream: bool | None
) -> None:
    head = told(line, *fields)
    assert AnswerStencil(head, via=VIA).is_stream is is_stream_of_tokens(head) is is_stream
