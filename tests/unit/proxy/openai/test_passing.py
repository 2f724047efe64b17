"""Chunks of a stream that are passed on unseen count as if every byte had been looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from activator.core.tokens import TAIL, TokenCounter
from activator.proxy.openai.passing import ENDINGS, Passing
from activator.wire.heads import CHUNKED
from activator.wire.server import ServerConnection
from tests.service import RecordingService
from tests.unit.wire.paper import PaperTransport, paper_desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.service import Heard
    from tests.unit.wire.paper import Desk

DELTA = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
NULL = b'data: {"choices":[],"usage":null}\n\n'
TOLD = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5}}\n\n'
CRLF = DELTA.replace(b"\n", b"\r\n")
DONE = b"data: [DONE]\n\n"
PARTS = [
    *(DELTA, DELTA * 3, CRLF, NULL, TOLD, TOLD[:30], TOLD[30:], DONE),
    *(b": ping\n\n", b"\n\n", b"\n", b"\r\n", b"data: ", b"da", b"ta: x", b"x" * 900 + b"\n\n"),
    b'data: {"usage": 5}\n\n',
]


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with paper_desk() as made:
        yield made


class Client:
    """Its answer has begun, in chunks."""

    def __init__(self, desk: Desk) -> None:
        self.transport = PaperTransport()
        self.connection = ServerConnection(desk.kit(RecordingService(once_whole=begin)))
        self.transport.set_protocol(self.connection)
        self.connection.connection_made(self.transport)
        self.connection.data_received(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
        self.transport.written.clear()


def begin(heard: Heard) -> None:
    heard.connection.begin_answer(b"HTTP/1.1 200 OK\r\n", length=CHUNKED)


def framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@example(parts=[TOLD, *[DELTA] * 100])
@example(parts=[TOLD, *[DELTA] * 50])
@example(parts=[DELTA * 3, DELTA * 3])
@example(parts=[DONE, DELTA])
@example(parts=[DELTA, DONE, b": ping\n\n"])
@example(parts=[DELTA, DONE, b"\n\n"])
@example(parts=[CRLF, b"\r\n"])
@given(parts=st.lists(st.sampled_from(PARTS), max_size=30))
def test_passed_on_unseen_or_not_it_counts_the_same(desk: Desk, parts: list[bytes]) -> None:
    client, counter, looked = (
        Client(desk),
        TokenCounter(is_stream=True),
        TokenCounter(is_stream=True),
    )
    passing = Passing(client.connection, counter)
    for part in parts:
        looked.data(part)
        chunk = framed(part)
        if chunk.endswith(ENDINGS):
            passing.chunk(chunk, len(part))
        else:
            passing.look(part)
            client.connection.send(part)
    passing.settle()

    assert bytes(client.transport.written) == b"".join(map(framed, parts))
    assert client.connection.sent == sum(map(len, parts))
    assert counter.is_between is looked.is_between
    assert counter.tokens() == looked.tokens()
    client.transport.abort()


def test_of_events_that_tell_nothing_none_is_kept(desk: Desk) -> None:
    client, counter = Client(desk), TokenCounter(is_stream=True)
    passing = Passing(client.connection, counter)
    seen = len(counter._tail)
    for event in (DELTA, NULL) * 1000:
        passing.chunk(framed(event), len(event))

    assert len(counter._tail) == seen
    passing.settle()
    assert seen < len(counter._tail) <= TAIL + seen + len(NULL)
    told = counter.tokens()
    assert told is not None
    assert told.answer == 2000
    client.transport.abort()
