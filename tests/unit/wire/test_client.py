"""An answer reads the same whatever the reads, and what is none is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.wire.client import INTERIM_LIMIT
from tests.unit.wire.corpus import REFUSED_ANSWER_BODIES, REFUSED_ANSWERS, Refused
from tests.unit.wire.paper import cut

if TYPE_CHECKING:
    from tests.unit.wire.paper import Asked, Desk

HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
)
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\nhello"


def heard(asked: Asked) -> tuple[int, bytes, bool]:
    """(status, body, whether it came to its end)"""
    assert asked.head is not None
    return asked.head.status, bytes(asked.body), asked.trailers is not None


@pytest.mark.parametrize("stream", [HINT + CHUNKED, HINT * 2 + LENGTH], ids=["chunks", "length"])
def test_an_answer_cut_at_any_byte_is_the_same_answer(desk: Desk, stream: bytes) -> None:
    cuts = [[at] for at in range(len(stream))] + [list(range(len(stream)))]
    for places in cuts:
        asked, usable = desk.ask(cut(stream, places))
        assert heard(asked) == (200, b"hello", True)
        assert usable
        assert {head.status for head in asked.interims} == {103}


def test_an_answer_until_the_close_ends_with_it(desk: Desk) -> None:
    for at in range(len(UNTIL_CLOSE)):
        asked, usable = desk.ask(cut(UNTIL_CLOSE, [at]), eof=True)
        assert heard(asked) == (200, b"hello", True)
        assert not usable


@pytest.mark.parametrize("stream", [CHUNKED, LENGTH], ids=["chunks", "length"])
def test_an_answer_that_ends_short_is_lost(desk: Desk, stream: bytes) -> None:
    for size in range(len(stream)):
        asked, usable = desk.ask([stream[:size]], eof=True)
        assert asked.trailers is None
        assert asked.failure is not None
        assert not usable


def test_a_connection_that_ends_before_a_byte_of_the_answer_may_not_have_worked_on_it(
    desk: Desk,
) -> None:
    asked, _ = desk.ask([], eof=True)
    assert asked.failure is not None
    assert not asked.failure.invalid
    for begun in (b"H", HINT, HINT + b"HTTP/1.1 200 OK\r\n"):
        asked, _ = desk.ask([begun], eof=True)
        assert asked.failure is not None
        assert asked.failure.invalid


@pytest.mark.parametrize("passes", [False, True])
@pytest.mark.parametrize("case", [*REFUSED_ANSWERS, *REFUSED_ANSWER_BODIES], ids=str)
def test_an_answer_that_can_be_misread_is_lost_wherever_it_is_cut(
    desk: Desk, case: Refused, passes: bool
) -> None:
    message = case.message
    places = range(0, len(message), max(1, len(message) // 100))
    for reads in (cut(message, range(len(message))), *(cut(message, [at]) for at in places)):
        asked, usable = desk.ask(reads, eof=True, passes=passes)
        assert asked.failure is not None
        assert asked.failure.invalid
        assert asked.trailers is None
        assert not usable


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED], ids=["length", "chunks"])
@pytest.mark.parametrize("extra", [b"\r\n", b"x", LENGTH])
def test_whatever_follows_an_answer_is_nobodys_and_ends_the_connection(
    desk: Desk, answer: bytes, extra: bytes
) -> None:
    for reads in ([answer + extra], [answer, extra]):
        asked, usable = desk.ask(reads)
        assert heard(asked) == (200, b"hello", True)
        assert not usable


@pytest.mark.parametrize(
    ("head", "method"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"GET"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b"GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"HEAD"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"HEAD"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"POST"),
    ],
)
def test_an_answer_without_a_body_is_whole_with_its_head(
    desk: Desk, head: bytes, method: bytes
) -> None:
    asked, usable = desk.ask([head], method=method)
    assert asked.trailers == []
    assert usable


@pytest.mark.parametrize(
    ("fields", "version"), [(b"Connection: close\r\n", b"1.1"), (b"", b"1.0")], ids=["close", "1.0"]
)
def test_a_connection_that_the_replica_will_close_is_not_used_again(
    desk: Desk, fields: bytes, version: bytes
) -> None:
    asked, usable = desk.ask(
        [b"HTTP/%b 200 OK\r\nContent-Length: 5\r\n%b\r\nhello" % (version, fields)]
    )
    assert heard(asked) == (200, b"hello", True)
    assert not usable


def test_interim_answers_are_told_until_there_are_absurdly_many(desk: Desk) -> None:
    asked, usable = desk.ask([HINT * INTERIM_LIMIT + LENGTH])
    assert (len(asked.interims), usable) == (INTERIM_LIMIT, True)
    for reads in ([HINT * (INTERIM_LIMIT + 1) + LENGTH], [HINT] * (INTERIM_LIMIT + 1) + [LENGTH]):
        asked, usable = desk.ask(reads)
        assert asked.failure is not None
        assert asked.failure.invalid
        assert not usable


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n"


def test_a_switch_of_protocols_is_told_with_what_came_behind_it(desk: Desk) -> None:
    for reads in ([SWITCH + b"raw"], [SWITCH[:20], SWITCH[20:] + b"raw"]):
        asked, _ = desk.ask(reads, upgrade=True)
        assert asked.tunnelled == b"raw"


@pytest.mark.parametrize(
    ("head", "upgrade"),
    [
        (SWITCH, False),
        (SWITCH.replace(b"WebSocket", b"h2c"), True),
        (SWITCH.replace(b"Upgrade: WebSocket\r\n", b""), True),
    ],
    ids=["unasked", "another", "nameless"],
)
def test_a_switch_that_was_not_asked_for_is_no_answer(
    desk: Desk, head: bytes, *, upgrade: bool
) -> None:
    asked, usable = desk.ask([head], upgrade=upgrade)
    assert asked.tunnelled is None
    assert asked.failure is not None
    assert asked.failure.invalid
    assert not usable


def test_a_chunk_that_is_read_alone_is_passed_on_as_it_stands(desk: Desk) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    one, two, long = b"5\r\nhello\r\n", b"1\r\n!\r\n", b"7ff\r\n" + b"x" * 2047 + b"\r\n"
    reads = [head + one, one, two + one, two, b"5;x=y\r\nhello\r\n", one, long, b"0\r\n\r\n"]

    asked, usable = desk.ask(reads, passes=True)

    assert heard(asked) == (200, b"hello" * 2 + b"!hello!hellohello" + b"x" * 2047, True)
    assert asked.chunks == [one, two, one, long]
    assert asked.moved_at == len(asked.body) - 2047 + 1.0
    assert usable


def test_chunks_with_another_ending_than_was_asked_for_are_told_as_data(desk: Desk) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    begun, event = b"5\r\nhello\r\n", b"3\r\n!\n\n\r\n"
    reads = [head, event, begun, event, event, b"0\r\n\r\n"]

    asked, usable = desk.ask(reads, passes=True, ending=(b"\n\n\r\n", b"?"))

    assert heard(asked) == (200, b"!\n\nhello!\n\n!\n\n", True)
    assert asked.chunks == [event] * 3
    assert usable


def test_what_looks_like_a_chunk_within_another_is_its_data(desk: Desk) -> None:
    inner = b"5\r\nhello\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reads = [head, b"1e\r", b"\n", inner, inner, inner, b"\r", b"\n", inner, b"0\r\n", b"\r\n"]

    asked, _ = desk.ask(reads, passes=True)

    assert heard(asked) == (200, inner * 3 + b"hello", True)
    assert asked.chunks == [inner]


@given(
    bodies=st.lists(st.binary(min_size=1, max_size=40), max_size=8),
    lines=st.lists(st.sampled_from([b"%x", b"%X", b"0%x", b"%x;a=b"]), min_size=1, max_size=3),
    trailers=st.sampled_from([b"", b"X-Sum: 1\r\n"]),
    places=st.lists(st.integers(0, 400), max_size=12),
    whole=st.booleans(),
)
def test_passed_on_or_not_an_answer_in_chunks_is_the_same(
    desk: Desk,
    *,
    bodies: list[bytes],
    lines: list[bytes],
    trailers: bytes,
    places: list[int],
    whole: bool,
) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = [
        lines[at % len(lines)] % len(body) + b"\r\n" + body + b"\r\n"
        for at, body in enumerate(bodies)
    ]
    last = b"0\r\n" + trailers + b"\r\n"
    stream = b"".join([head, *chunks, last])
    at = sorted(place for place in places if place < len(stream))
    reads = [head, *chunks, last] if whole else cut(stream, at)

    passed, passed_usable = desk.ask(reads, passes=True)
    asked, usable = desk.ask(reads)

    assert heard(passed) == heard(asked) == (200, b"".join(bodies), True)
    assert passed.trailers == asked.trailers
    assert passed_usable
    assert usable
