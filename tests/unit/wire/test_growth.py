"""No input costs more than in proportion to its size: eight times as much, eight times as long.

A cost that grew with the square would come out at sixty-four times. Each input is timed at both
sizes alternately and the best times are compared, so that a busy machine does not matter.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest

from activator.wire.framing import ChunkedDecoder
from activator.wire.heads import (
    HeadLimits,
    Malformed,
    TooLarge,
    check_partial,
    parse_request,
    parse_response,
)
from activator.wire.server import ServerLimits
from tests.service import RecordingService
from tests.unit.wire.paper import cut

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.wire.paper import Desk

TIMES = 8
BOUND = 3 * TIMES
ROUNDS = 5
WIDE = HeadLimits(line=1 << 24, total=1 << 24, fields=1 << 20)
"""Limits that do not end the measurement; the real ones are in `test_what_a_connection_…`."""


def growth(play: Callable[[int], object], size: int) -> float:
    """How many times longer `play` takes for TIMES its size."""
    best = dict.fromkeys((size, size * TIMES), float("inf"))
    for _ in range(ROUNDS):
        for n in best:
            start = time.process_time()
            play(n)
            best[n] = min(best[n], time.process_time() - start)
    return best[size * TIMES] / best[size]


# --- the expressions ----------------------------------------------------------------------------

HEADS: dict[str, Callable[[int], bytes]] = {
    "method": lambda n: b"G" * n,
    "method without its end": lambda n: b"G" * n + b" ",
    "target": lambda n: b"GET /" + b"a" * n,
    "target of slashes": lambda n: b"GET " + b"/" * n + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute target": lambda n: b"GET http://" + b"a:" * n + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "absolute host of dots": lambda n: b"GET http://" + b"." * n + b"@ HTTP/1.1\r\nHost: a\r\n\r\n",
    "host": lambda n: b"GET / HTTP/1.1\r\nHost: " + b"a-." * n + b"!\r\n\r\n",
    "host of colons": lambda n: b"GET / HTTP/1.1\r\nHost: [" + b":" * n + b"]\r\n\r\n",
    "name": lambda n: b"GET / HTTP/1.1\r\n" + b"a" * n + b" : b\r\n\r\n",
    "names": lambda n: b"GET / HTTP/1.1\r\n" + b"a" * n,
    "value": lambda n: b"GET / HTTP/1.1\r\nX: " + b"a" * n + b"\x01\r\n\r\n",
    "white space": lambda n: b"GET / HTTP/1.1\r\nX:" + b" \t" * n + b"\x01\r\n\r\n",
    "fields": lambda n: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * n + b"\r\n",
    "fields and an error": lambda n: (
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * n + b"a\r\n\r\n"
    ),
    "empty fields": lambda n: b"GET / HTTP/1.1\r\n" + b"a:\r\n" * n + b" \r\n\r\n",
    "options": lambda n: b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + b"a ,\t" * n + b"\r\n\r\n",
    "many options": lambda n: b"GET / HTTP/1.1\r\nHost: a\r\n" + b"Connection: b\r\n" * n + b"\r\n",
    "other options": lambda n: (
        b"GET / HTTP/1.1\r\nHost: a\r\n"
        + b"".join(b"Connection: %x\r\n" % i for i in range(n))
        + b"\r\n"
    ),
    "upgrades": lambda n: (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " + b"h2c," * n + b"\r\n\r\n"
    ),
    "length": lambda n: b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"1" * n + b"\r\n\r\n",
    "length of spaces": lambda n: (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length:" + b" " * n + b"x" + b" " * n + b"\r\n\r\n"
    ),
    "coding of spaces": lambda n: (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:"
        + b" " * n
        + b"x"
        + b" " * n
        + b"\r\n\r\n"
    ),
    "CRs": lambda n: b"\r" * n,
    "CRLFs": lambda n: b"\r\n" * n,
    "LFs behind CRLFs": lambda n: b"a\r\n" * n + b"\n",
    "status line": lambda n: b"HTTP/1.1 200 " + b" " * n + b"\x01\r\n\r\n",
    "answer": lambda n: b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * n + b"\r\n",
}


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS.keys())
def test_reading_a_head_takes_time_in_proportion(make: Callable[[int], bytes]) -> None:
    def read(size: int) -> None:
        head = make(size)
        for parse in (
            lambda: parse_request(head, WIDE),
            lambda: parse_response(head, method=b"GET", limits=WIDE),
            lambda: check_partial(head, start=0, limits=WIDE),
        ):
            with contextlib.suppress(Malformed, TooLarge):
                parse()

    assert growth(read, 6000) < BOUND


CHUNKS: dict[str, Callable[[int], bytes]] = {
    "small chunks": lambda n: b"1\r\nx\r\n" * n,
    "long lines": lambda n: (b"1;" + b"a" * 250 + b"\r\nx\r\n") * (n // 100),
    "extensions": lambda n: (b"1" + b";a" * 120 + b"\r\nx\r\n") * (n // 100),
    "quoted extensions": lambda n: (b'1;a="' + b"\\a" * 120 + b'"\r\nx\r\n') * (n // 100),
    "trailers": lambda n: b"0\r\n" + b"a: b\r\n" * (n // 10),
}


@pytest.mark.parametrize("make", CHUNKS.values(), ids=CHUNKS.keys())
@pytest.mark.parametrize("size", [1 << 20, 1], ids=["at once", "byte by byte"])
def test_reading_chunks_takes_time_in_proportion(make: Callable[[int], bytes], size: int) -> None:
    def read(n: int) -> None:
        stream, decoder = make(n), ChunkedDecoder(WIDE)
        for at in range(0, len(stream), size):
            decoder.feed(stream[at : at + size])

    assert growth(read, 1000) < BOUND


# --- the connections ----------------------------------------------------------------------------


def test_a_head_that_comes_byte_by_byte_costs_in_proportion(desk: Desk) -> None:
    """Up to the 64 KiB that are allowed: each byte is looked at once, not with all before it."""

    def drip(size: int) -> None:
        head = b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" % (b"x" * 490) * (size // 495)
        assert not desk.serve(cut(head, range(len(head)))).is_refused

    assert growth(drip, 8 << 10) < BOUND


def test_a_request_line_that_comes_byte_by_byte_costs_in_proportion(desk: Desk) -> None:
    def drip(size: int) -> None:
        assert not desk.serve(cut(b"GET /" + b"a" * size, range(size))).is_refused

    assert growth(drip, 2000) < BOUND


def test_an_answers_head_that_comes_byte_by_byte_costs_in_proportion(desk: Desk) -> None:
    def drip(size: int) -> None:
        head = b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 490) * (size // 495)
        asked, _ = desk.ask(cut(head, range(len(head))))
        assert asked.failure is None

    assert growth(drip, 8 << 10) < BOUND


STREAMS: dict[str, Callable[[int], bytes]] = {
    "empty lines": lambda n: b"\r\n" * n,
    "requests": lambda n: b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * (n // 12),
    "bodies": lambda n: (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx" * (n // 25)
    ),
    "chunked bodies": lambda n: (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        * (n // 40)
    ),
}  # fmt: skip


@pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS.keys())
def test_what_comes_in_one_read_costs_in_proportion(
    desk: Desk, make: Callable[[int], bytes]
) -> None:
    """256 KiB, the most that a loop reads at a time."""

    def read(n: int) -> None:
        stream = make(n)
        service = RecordingService(once_whole=lambda heard: heard.answer())
        assert not desk.serve([stream], service=service, limits=ServerLimits()).is_refused

    assert growth(read, 16 << 10) < BOUND


def test_interim_answers_cost_in_proportion(desk: Desk) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * 1000 + b"\r\n\r\n"

    def read(n: int) -> None:
        for _ in range(20):
            desk.ask([hint * n])

    assert growth(read, 8) < BOUND
