"""Streams that the benchmarks send and read: whatever a proxy did to one of them is noticed."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from bench import streams
from bench.benchmarks.streams import ADDED_MOST, is_carried
from bench.contestant import Contestant
from bench.processes import LOOPBACK, free_port, started, wait_until_listening
from bench.streams import Load, Reading
from tests.bench.test_bench import run_bench

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
LOAD = Load(streams=1, chunks=3, interval=0.01, warm=0, lead=0.05)


@pytest.fixture(scope="module")
def streamer() -> Path:
    program = streams.program()
    if program is None:
        pytest.skip("no Go here")
    return program


def event(number: int, *, age: float = 0.0, stream: int = 0) -> bytes:
    """One of a stream, sent `age` seconds ago."""
    sent = time.monotonic_ns() - int(age * 1e9)
    return (
        b'data: {"id":"chatcmpl-%06d","n":%08d,"at":%019d,"object":"chat.completion.chunk",'
        b'"choices":[{"index":0,"delta":{"content":" token"}}]}\n\n' % (stream, number, sent)
    )


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def events(*numbers: int) -> bytes:
    return b"".join(chunk(event(number)) for number in numbers)


@contextmanager
def answering(*pieces: bytes) -> Iterator[int]:
    """A server that answers its first request with these pieces and closes; its port."""
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)

        thread = Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.fixture
def read(streamer: Path, tmp_path: Path) -> Iterator[Callable[..., Reading]]:
    """Reads one stream of three chunks that a server gives in these pieces."""
    core = min(os.sched_getaffinity(0))
    with started(["sleep", "600"], core=core, log=tmp_path / "log") as running:

        def reading(*pieces: bytes) -> Reading:
            with answering(*pieces) as port:
                return streams.read(
                    streamer, Contestant("server", (LOOPBACK, port), "host", running), LOAD
                )

        yield reading


def test_a_stream_is_whole_however_it_is_cut_and_framed(read: Callable[..., Reading]) -> None:
    raw = b"".join(event(number) for number in range(3))
    in_sevens = b"".join(chunk(raw[at : at + 7]) for at in range(0, len(raw), 7)) + END
    for pieces in (
        [HEAD + events(0, 1, 2) + END],
        [HEAD[:20], HEAD[20:] + chunk(raw), END[:2], END[2:]],
        [HEAD, *(in_sevens[at : at + 11] for at in range(0, len(in_sevens), 11))],
    ):
        told = read(*pieces)
        assert (told.whole, told.counted, told.first) == (1, 3, "")


def test_what_happened_to_a_stream_is_told(read: Callable[..., Reading]) -> None:
    changed = events(0, 1, 2).replace(b" token", b" taken", 1)
    for body, why in (
        (events(0, 2, 1) + END, "stream 0: chunk 2 came in the place of 1"),
        (events(0, 1, 1, 2) + END, "stream 0: chunk 1 came in the place of 2"),
        (events(0, 2) + END, "stream 0: chunk 2 came in the place of 1"),
        (events(0, 1) + END, "stream 0: ended after 2 chunks"),
        (events(0, 1, 2), "stream 0: closed after 3 chunks"),
        (events(0, 1, 2)[:-9], "stream 0: closed after 2 chunks"),
        (changed + END, "stream 0: changed: "),
        (chunk(event(0, stream=1)), "stream 0: changed: "),
        (events(0, 1, 2) + END + b"x", "stream 0: ended after 3 chunks"),
        (events(0)[:-2] + b"\n\n" + events(1, 2) + END, "stream 0: no chunked 200 after 1 chunks"),
    ):
        told = read(HEAD + body)
        assert told.whole == 0
        assert told.first.startswith(why)
    refused = read(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    assert refused.first.startswith("stream 0: no chunked 200 after 0 chunks")


def test_a_chunks_delay_is_from_its_sending_to_its_reading(read: Callable[..., Reading]) -> None:
    aged = chunk(event(0, age=0.2)) + chunk(event(1, age=0.3)) + chunk(event(2, age=0.4))
    told = read(HEAD + aged + END)

    assert 0.3 <= told.p50 < told.p99
    assert told.worst >= 0.4


def test_many_streams_at_once_are_sent_when_they_are_due(streamer: Path, tmp_path: Path) -> None:
    port = free_port()
    core = min(os.sched_getaffinity(0))
    command = [str(streamer), "serve", "-port", str(port)]
    with started(command, core=core, log=tmp_path / "log") as running:
        wait_until_listening(port, by=running)
        contestant = Contestant("direct", (LOOPBACK, port), "host", running)

        began = time.monotonic()
        told = streams.read(streamer, contestant, Load(100, 20, 0.01, warm=5, cool=3, lead=0.2))
        took = time.monotonic() - began

    assert (told.whole, told.counted, told.first) == (100, 1200, "")
    assert took >= 0.2 + 19 * 0.01
    assert 0 < told.cpu < took


def test_streams_are_carried_whole_and_in_time() -> None:
    base = Reading(
        streams=9,
        whole=9,
        counted=90,
        p50=0.001,
        p99=0.002,
        worst=0.002,
        late=0.0,
        read=90,
        cpu=0.1,
        wall=1.0,
        first="",
    )

    assert is_carried(replace(base, p99=base.p99 + ADDED_MOST * 0.9), base)
    assert not is_carried(replace(base, p99=base.p99 + ADDED_MOST * 1.1), base)
    slow = replace(base, p99=ADDED_MOST * 9)
    assert not is_carried(slow, slow)
    assert not is_carried(replace(base, whole=8), base)
    assert not is_carried(replace(base, late=ADDED_MOST * 1.1), base)


async def test_streams_are_measured_where_there_is_go(streamer: Path, tmp_path: Path) -> None:
    _, out, err = await run_bench("streams", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "streams.json").read_text())
    ours = [row for row in written["rows"] if row["contestant"].startswith("activator")]
    assert {row["part"] for row in ours} >= {"slow", "cost"}
    assert all(row["CPU µs/chunk"] > 0 for row in ours)
    assert len(re.findall(r"PASS  activator(?:, openai)?: slow streams not whole", out)) == 2
    assert len(re.findall(r"PASS  activator(?:, openai)?: streams not whole, 5 at once", out)) == 2
