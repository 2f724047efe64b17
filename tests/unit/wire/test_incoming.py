"""What one client sends comes out as the requests it is, and nothing of it is kept for long."""

from __future__ import annotations

import pytest

from activator.wire.heads import HeadLimits, Malformed, TooLarge
from activator.wire.incoming import Incoming
from activator.wire.known import KnownRequests

GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED_POST = b"PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\nX: y\r\n\r\n"


def incoming(data: bytes = b"") -> Incoming:
    made = Incoming(HeadLimits(), KnownRequests())
    made.add(data)
    return made


def next_target(some: Incoming) -> bytes | None:
    head = some.head()
    return None if head is None else head.target


def test_requests_in_one_read_come_out_one_by_one() -> None:
    some = incoming(GET + POST + b"hello" + CHUNKED_POST + CHUNKS + GET)
    assert next_target(some) == b"/a"
    assert next_target(some) == b"/b"
    assert some.body() == (b"hello", [])
    assert next_target(some) == b"/c"
    assert some.body() == (b"hello", [(b"x", b"y", b"X: y")])
    assert some.unread == len(GET)
    assert next_target(some) == b"/a"
    assert some.unread == 0
    assert not some.rest


def test_a_body_goes_on_in_the_next_read() -> None:
    some = incoming(POST + b"he")
    assert next_target(some) == b"/b"
    assert some.body() == (b"he", None)
    assert not some.rest
    some.add(b"llo" + GET)
    assert some.body() == (b"llo", [])
    assert next_target(some) == b"/a"


def test_what_comes_meanwhile_is_read_behind_what_is_here() -> None:
    some = incoming(GET + POST[:10])
    assert next_target(some) == b"/a"
    some.add(POST[10:] + b"hel")
    assert some.unread == len(POST) + 3
    assert next_target(some) == b"/b"
    some.add(b"lo" + GET)
    assert some.body() == (b"hello", [])
    assert some.take() == GET
    assert not some.rest


def test_a_head_has_begun_with_its_first_byte_and_until_its_end() -> None:
    some = incoming()
    for empty in (b"\r\n", b"\r", b"\n", b"\r\n\r\n\r"):
        some.add(empty)
        assert next_target(some) is None
        assert not some.head_begun
    some.add(b"\n" + GET[:1])
    assert next_target(some) is None
    assert some.head_begun
    some.add(GET[1:-1])
    assert next_target(some) is None
    assert some.head_begun
    some.add(GET[-1:] + GET)
    assert next_target(some) == b"/a"
    assert not some.head_begun
    assert next_target(some) == b"/a"


def test_what_is_no_request_is_refused_behind_others_as_well() -> None:
    some = incoming(GET + b"GET  / HTTP/1.1\r\n\r\n")
    assert next_target(some) == b"/a"
    with pytest.raises(Malformed):
        some.head()
    some = incoming(GET + b"GET /" + b"a" * (20 << 10))
    assert next_target(some) == b"/a"
    with pytest.raises(TooLarge):
        some.head()


def test_of_a_body_that_was_dropped_nothing_comes() -> None:
    some = incoming(POST + b"he")
    assert next_target(some) == b"/b"
    some.drop()
    some.add(b"llo" + GET)
    assert some.body() == (b"", None)
    assert not some.rest


def test_a_long_read_is_not_kept_for_a_short_rest() -> None:
    some = incoming(GET * 1000)
    for left in range(999, -1, -1):
        assert next_target(some) == b"/a"
        assert some.unread == left * len(GET)
        assert len(some.rest) <= 2 * some.unread


def test_what_lies_behind_is_copied_a_few_times_and_not_for_each_request() -> None:
    some, copied, before = incoming(GET * 1000), 0, b""
    while some.rest:
        before = some.rest
        assert next_target(some) == b"/a"
        if some.rest is not before:
            copied += len(some.rest)
    assert copied <= 1000 * len(GET)


@pytest.mark.parametrize(
    ("behind", "is_whole"),
    [(b"hello", True), (b"hell", False), (b"hello" + GET, False), (b"", False)],
)
def test_a_body_is_whole_if_just_that_has_come(behind: bytes, is_whole: bool) -> None:
    some = incoming(b"\r\n" + POST + behind)
    assert next_target(some) == b"/b"

    assert some.whole == (b"hello" if is_whole else b"")
    if is_whole:
        assert not some.rest
        assert some.body() == (b"hello", [])
        assert not some.whole
        some.add(POST + b"again")
        assert next_target(some) == b"/b"
        assert some.body() == (b"again", [])
    else:
        some.add(b"o" if behind == b"hell" else b"hello"[len(behind) :])
        assert some.body() == (b"hello", [])


def test_a_body_in_chunks_is_not_whole_before_it_is_read() -> None:
    some = incoming(CHUNKED_POST + CHUNKS)
    head = some.head()
    assert head is not None

    assert not some.whole
    assert some.body() == (b"hello", [(b"x", b"y", b"X: y")])


def test_a_whole_body_is_dropped_as_any_other() -> None:
    some = incoming(POST + b"hello")
    assert next_target(some) == b"/b"
    some.drop()
    assert some.body() == (b"", None)
