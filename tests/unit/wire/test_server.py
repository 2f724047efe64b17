"""A client's connection reads the same whatever the reads: in one, in two, byte by byte."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from activator.wire.heads import CHUNKED, HeadLimits
from activator.wire.server import ServerLimits
from tests.service import RecordingService
from tests.unit.wire.corpus import REFUSED_BODIES, REFUSED_HEADS, Refused
from tests.unit.wire.paper import cut, paper_desk

if TYPE_CHECKING:
    from tests.service import Heard
    from tests.unit.wire.paper import Desk

STREAM = (
    b"\r\nPOST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;x\r\nhi\r\n0\r\nX: y\r\n\r\n"
    b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
    b"PUT /c HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nbye"
)


def test_a_stream_cut_at_any_two_bytes_is_the_same_requests(desk: Desk) -> None:
    once = desk.serve([STREAM])
    assert [(m, t, body) for m, t, _, _, body, _ in once.whole] == [
        (b"POST", b"/a", b"hi"),
        (b"GET", b"/b", b""),
        (b"PUT", b"/c", b"bye"),
    ]
    for places in combinations(range(1, len(STREAM)), 2):
        served = desk.serve(cut(STREAM, places))
        assert served.whole == once.whole
        assert served.written == once.written
        assert served.is_open


def test_a_stream_that_comes_byte_by_byte_is_the_same_requests(desk: Desk) -> None:
    served = desk.serve(cut(STREAM, range(len(STREAM))))
    assert served.whole == desk.serve([STREAM]).whole


@pytest.mark.parametrize("case", [*REFUSED_HEADS, *REFUSED_BODIES], ids=str)
def test_what_can_be_misread_is_refused_wherever_it_is_cut(desk: Desk, case: Refused) -> None:
    """However little comes at a time: 400 (431 for what is too much), then the end."""
    message = case.message
    places = range(1, len(message), max(1, len(message) // 150))
    for reads in (cut(message, range(len(message))), *(cut(message, [at]) for at in places)):
        served = desk.serve(reads)
        assert served.is_refused
        assert served.whole == []
        assert served.written.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
        assert served.written.count(b"HTTP/1.1 ") == 1
        assert not served.is_open


def test_a_head_at_its_limits_passes_wherever_it_is_cut(desk: Desk) -> None:
    limits = ServerLimits(head=HeadLimits(line=20, total=50, fields=3))
    line = b"GET /aaaaaa HTTP/1.1\r\n"
    head = line + b"Host: a\r\nX: " + b"x" * 36 + b"\r\n\r\n"
    assert len(head) == 22 + 50 + 2
    for at in range(1, len(head)):
        assert len(desk.serve(cut(head, [at]), limits=limits).whole) == 1
    assert len(desk.serve(cut(head, range(len(head))), limits=limits).whole) == 1


def test_a_request_without_its_end_is_waited_for(desk: Desk) -> None:
    for size in range(len(STREAM)):
        served = desk.serve([STREAM[:size]])
        assert served.is_open
        assert not served.is_refused
        assert served.written.count(b"HTTP/1.1 200") == len(served.whole)


def test_a_body_that_is_paused_is_whole_once_it_is_here(desk: Desk) -> None:
    """What has been read already is handed on although reading is paused."""
    service = RecordingService(at_head=lambda heard: heard.connection.pause_body())
    served = desk.serve([STREAM[: STREAM.index(b"GET")]], service=service)
    assert len(served.whole) == 1


def test_a_head_that_is_followed_leaves_in_one_write_with_what_follows(desk: Desk) -> None:
    def act(heard: Heard) -> None:
        heard.connection.begin_answer(b"HTTP/1.1 200 OK\r\n", length=CHUNKED, followed=True)
        if heard.head.target == b"/body":
            heard.connection.send(b"hello")
        heard.connection.finish()

    for target, writes in ((b"/body", 2), (b"/none", 1)):
        served = desk.serve(
            [b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target],
            service=RecordingService(once_whole=act),
        )
        assert served.writes == writes
        assert served.written.startswith(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert served.written.endswith(b"0\r\n\r\n")


def test_a_handler_is_told_whether_bytes_of_the_body_have_come_with_the_head(desk: Desk) -> None:
    said: list[bool] = []
    service = RecordingService(at_head=lambda heard: said.append(heard.connection.body_at_hand))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
    desk.serve([head + b"x", head, b"x"], service=service)
    assert said == [True, False]


@pytest.mark.parametrize("takes", [False, True])
def test_a_body_that_was_taken_whole_is_not_told_again(desk: Desk, takes: bool) -> None:
    seen: list[bytes] = []

    def act(heard: Heard) -> None:
        connection = heard.connection
        seen.append(connection.whole_body)
        if takes and connection.whole_body:
            connection.take_body()
            assert connection.received == 5
            assert connection.request_complete
            heard.answer(b"taken")

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    service = RecordingService(at_head=act)
    served = desk.serve([head + b"first", head + b"sec", b"nd", head + b"third"], service=service)

    assert seen == [b"first", b"", b"third"]
    assert [heard.content for heard in service.heard] == (
        [b"", b"secnd", b""] if takes else [b"first", b"secnd", b"third"]
    )
    assert [heard.whole for heard in service.heard] == [not takes, True, not takes]
    assert served.written.count(b"HTTP/1.1 200") == 3
    assert served.is_open
    assert all(heard.connection.received == 5 for heard in service.heard)


@pytest.mark.parametrize("apart", [True, False])
def test_heads_of_their_own_are_not_kept_one_by_one(*, apart: bool) -> None:
    """Whether the body comes with its head or, as many clients send it, in a read of its own."""
    with paper_desk() as desk:
        for number in range(100):
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX-Request-Id: %d\r\n\r\n"
            reads = [head % number, b"x"] if apart else [head % number + b"x"]
            assert len(desk.serve(reads).whole) == 1
        assert len(desk.known_requests) == 1


def test_what_is_known_of_heads_is_not_lost_where_they_come_together() -> None:
    get = b"GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: %d\r\n\r\n"
    outlines: list[object] = []

    def note(heard: Heard) -> None:
        outlines.append(heard.head.outline)

    with paper_desk() as desk:
        for number in range(5):
            pair = get % (2 * number) + get % (2 * number + 1)
            desk.serve([pair], service=RecordingService(at_head=note))
    assert len(outlines) == 10
    assert len(set(outlines[1:])) == 1


def test_a_body_that_nobody_receives_is_not_kept(desk: Desk) -> None:
    def act(heard: Heard) -> None:
        heard.answer(b"at once")

    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
    service = RecordingService(at_head=act)
    served = desk.serve([head + b"first"], service=service)

    assert served.is_open
    assert service.heard[0].connection.whole_body == b""
    assert service.heard[0].pieces == []
