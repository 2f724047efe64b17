"""Heads that are alike but for what is their own: made from one that is known, they are what they
would be if they were read as a whole, and whatever is not as it should be is read so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.wire.heads import HeadLimits, Malformed, RequestHead, parse_request
from activator.wire.incoming import Incoming
from activator.wire.known import LONGEST, MOST, KnownRequests

LIMITS = HeadLimits()


def asked(target: str, *fields: str, method: str = "GET", version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: a", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def read(known: KnownRequests, raw: bytes, *, limits: HeadLimits = LIMITS) -> RequestHead:
    incoming = Incoming(limits, known)
    incoming.add(raw)
    head = incoming.head()
    assert head is not None
    return head


def is_made_from_another(known: KnownRequests, raw: bytes) -> bool:
    return known.alike(raw) is not None


def facts(head: RequestHead) -> tuple[object, ...]:
    return (
        *(head.method, head.target, head.query, head.minor, head.host, head.length),
        *(head.connection, head.keep_alive, head.expects_continue, head.websocket),
        *(head.fields, head.first),
    )


OWN = ["Content-Length", "traceparent", "TraceState", "x-request-id", "X-Amzn-Trace-Id", "baggage"]
OTHERS = [
    "Accept: */*",
    "Cookie: a=b?c",
    "Connection: close",
    "X-Hop: ? HTTP/1.1",
    "Expect: 100-continue",
]
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)


@st.composite
def two_alike(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Two heads that differ in what is their own only."""
    names = draw(st.lists(st.sampled_from(OWN), unique_by=str.lower))
    others = draw(st.lists(st.sampled_from(OTHERS), unique=True))
    order = draw(st.permutations([*names, *others]))
    target = draw(st.sampled_from(["/a", "http://b.example:81/a"]))
    has_query = draw(st.booleans())
    method = draw(st.sampled_from(["GET", "POST"]))
    version = draw(st.sampled_from(["1.0", "1.1"]))
    made = []
    for _ in range(2):
        lines = []
        for each in order:
            if ":" in each:
                lines.append(each)
            elif each == "Content-Length":
                lines.append(f"{each}: {draw(st.integers(1, 10**9))}")
            else:
                lines.append(f"{each}: {draw(VALUES)}")
        query = "?" + draw(VALUES).replace("#", "") if has_query else ""
        made.append(asked(target + query, *lines, method=method, version=version))
    return made[0], made[1]


@given(two_alike())
def test_what_is_made_from_another_is_what_it_would_be_read_as(raws: tuple[bytes, bytes]) -> None:
    known = KnownRequests()
    for raw in raws:
        head, alone = read(known, raw), parse_request(raw, LIMITS)
        assert facts(head) == facts(alone)
        head.fold()
        assert facts(head) == facts(alone)
    assert raws[0] == raws[1] or is_made_from_another(known, raws[1])
    assert len(known) == 1


def test_what_is_concluded_from_one_is_there_for_the_next() -> None:
    known = KnownRequests()
    first = read(known, asked("/a?1", "traceparent: x"))
    assert first.outline is not None
    first.outline.note = "seen"

    second = read(known, asked("/a?2", "traceparent: y"))
    assert (second.note, second.query, second.own) == ("seen", b"?2", {b"traceparent": b"y"})
    for other in (
        asked("/b?2", "traceparent: y"),
        asked("/a?2", "Traceparent: y"),
        asked("/a?2"),
        asked("/a", "traceparent: y"),
        asked("/a?2", "traceparent: y", "Accept: */*"),
        asked("/a?2", "traceparent: y", method="HEAD"),
    ):
        assert read(known, other).note is None


@pytest.mark.parametrize(
    "raw",
    [
        asked("/a", "Content-Length: 01"),
        asked("/a", "Content-Length: +1"),
        asked("/a", "Content-Length: 1 1"),
        asked("/a", "Content-Length: 1", "Content-Length: 1"),
        asked("/a", "Content-Length: 9999999999999999999"),
        asked("/a", "Content-Length: 1\n"),
        asked("/a?\x7f", "Content-Length: 1"),
        asked("/a?b#c", "Content-Length: 1"),
        asked("/a?b c", "Content-Length: 1"),
        asked("/a", "Content-Length: 1", "x-request-id: a\rb"),
        asked("/a", "Content-Length: 1", "x-request-id: a\0b"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused_beside_others_too(raw: bytes) -> None:
    known = KnownRequests()
    for good in (
        asked("/a", "Content-Length: 1"),
        asked("/a?b", "Content-Length: 1"),
        asked("/a", "Content-Length: 1", "x-request-id: ab"),
    ):
        read(known, good)
    with pytest.raises(Malformed):
        parse_request(raw, LIMITS)
    with pytest.raises(Malformed):
        read(known, raw)


@pytest.mark.parametrize(
    "raw",
    [
        asked("/a", "X-Request-Id:close"),
        asked("/a", "X-Request-Id: padded "),
        asked("/a", "X-Request-Id: "),
        asked("/a", "X-Request-Id: a", "X-Request-Id: b"),
        asked("/a", "traceparent: a", "X-Request-Id:close"),
        asked("/a", "Content-Length: 0"),
        asked("/a", "Content-Length: 0", "X-Request-Id: a"),
        asked("/a?b", "X-Request-Id:close"),
        asked("/a", "X-Request-Id: a", "Connection: Upgrade", "Upgrade: websocket"),
        asked("/a?" + "b" * LONGEST),
    ],
)
def test_what_cannot_be_told_apart_is_read_anew_each_time(raw: bytes) -> None:
    known = KnownRequests()
    first, second = read(known, raw), read(known, raw)

    assert second.outline is None
    assert second.own == {}
    assert facts(second) == facts(parse_request(raw, LIMITS)) == facts(first)


def test_beside_narrow_limits_every_head_is_measured() -> None:
    known = KnownRequests()
    narrow = HeadLimits(line=64)
    assert read(known, asked("/a?b"), limits=narrow).outline is None
    assert not is_made_from_another(known, asked("/a?c"))


def test_no_more_are_kept_than_is_bounded() -> None:
    known = KnownRequests()
    for number in range(2 * MOST + 1):
        read(known, asked(f"/{number}?x"))
        assert len(known) <= MOST
    assert is_made_from_another(known, asked(f"/{2 * MOST}?y"))
