"""The warm path without sockets: an activator in this process, whose clients and replicas are
played. A request is two calls, what the client sends and what the replica answers, so that
nothing but the activator's own Python runs, and no loop turns in between.

It reaches into the proxy and the pool where a socket would be; that is all it knows of them.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import yaml

from activator.app import build
from activator.telemetry import logs
from activator.wire.server import ServerConnection
from bench.contestants import static
from bench.failure import BenchError
from bench.paper import PaperTransport
from bench.processes import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from activator.app import App
    from activator.wire.client import ClientConnection

GET: Final = "GET, the same head"
OTHER: Final = "GET, another head each time"
POST: Final = "POST, 2 KiB, by its model"
CHUNK: Final = "a chunk of a stream"
SERVER: Final = b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nDate: Thu, 26 Nov 2026 10:00:00 GMT\r\n"
SMALL: Final = 200
"""Bytes of the answer to a GET."""
PROMPT: Final = 2 << 10
"""Bytes of a question in OpenAI's dialect, about."""
COMPLETION: Final = 4 << 10
"""Bytes of its answer, about."""
EVENT: Final = 150
"""Bytes of an event of a stream."""
DIFFERENT: Final = 3000
"""Requests, none like another, before they come again: by then their heads are forgotten."""
WARM: Final = 100
"""Times that each case is played before: a replica that has just started is trusted little, and
what is kept for later has to be made once."""
READY_WITHIN: Final = 10.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Case:
    """Something that a client asks again and again."""

    name: str
    run: Callable[[], None]
    """Once: from the client's bytes to the last of the answer's."""


@asynccontextmanager
async def warm_path(folder: Path, *, resting: int = 0) -> AsyncIterator[list[Case]]:
    """All cases, each played for a while: connected, known, and found to be answered as it should.
    Request lines are made, and written to nowhere. `resting`: connections of clients that have
    been answered and say no more. Raises BenchError."""
    async with AsyncExitStack() as stack:
        stack.enter_context(_lines_to_nowhere())
        replica = await asyncio.start_server(lambda _, writer: writer.close(), LOOPBACK, 0)
        stack.callback(replica.close)
        port = replica.sockets[0].getsockname()[1]
        # one activator for each kind: endpoints that are found by their models have every request
        # looked at more closely
        plain = await stack.enter_async_context(_app(folder / "plain.yaml", _plain(port)))
        models = await stack.enter_async_context(_app(folder / "models.yaml", _models(port)))
        same, other = (stack.enter_context(_line(plain, name)) for name in ("same", "other"))
        chat, stream = (stack.enter_context(_line(models, name)) for name in ("chat", "stream"))
        cases = [
            Case(GET, _asked(same, [_get("same")])),
            Case(OTHER, _asked(other, _gets("other"))),
            Case(POST, _chatted(chat)),
            Case(CHUNK, _streamed(stream)),
        ]
        for case in cases:
            for _ in range(WARM):
                case.run()
        # what was there before them is the start's, as in a process that serves
        gc.collect()
        gc.freeze()
        stack.callback(gc.unfreeze)
        for _ in range(resting):
            stack.enter_context(_client(plain, same))
        yield cases


@asynccontextmanager
async def _app(file: Path, endpoints: list[dict[str, object]]) -> AsyncIterator[App]:
    """An activator whose endpoints all have a replica that is ready."""
    app = _built(file, endpoints)
    await app.start()
    app._kit.outbox._at_once = sys.maxsize  # in between no turn of a loop ends
    try:
        until = time.monotonic() + READY_WITHIN
        while not all(live.replicas for live in app.registry):
            if time.monotonic() > until:
                raise BenchError(f"no replica is ready after {READY_WITHIN:g} s")
            await asyncio.sleep(0.01)
        yield app
    finally:
        await app.stop(grace=0)


def _built(file: Path, endpoints: list[dict[str, object]]) -> App:
    server = {"listen": f"{LOOPBACK}:0", "admin": f"{LOOPBACK}:0"}
    file.write_text(yaml.safe_dump({"server": server, "endpoints": endpoints}), encoding="utf-8")
    return build(file)


@contextmanager
def _lines_to_nowhere() -> Iterator[None]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        logs.configure("json", stream=nowhere)
        try:
            yield
        finally:
            logs.configure("json")


def _plain(port: int) -> list[dict[str, object]]:
    return [static(name, (LOOPBACK, port)) for name in ("same", "other")]


def _models(port: int) -> list[dict[str, object]]:
    return [
        static(
            name,
            (LOOPBACK, port),
            match={"hosts": ["api"], "models": [f"{name}-8b", f"{name}-8b-*"]},
            dialect="openai",
        )
        for name in ("chat", "stream")
    ]


@contextmanager
def _line(app: App, endpoint: str) -> Iterator[Line]:
    line = Line(app, endpoint)
    try:
        yield line
    finally:
        line.close()


@contextmanager
def _client(app: App, line: Line) -> Iterator[None]:
    """One more, whose request the line's replica answers, and which then rests."""
    client = ServerConnection(app._proxy._kit)
    client.connection_made(KeepingTransport())
    client.data_received(_get("same"))
    line.told(SERVER + b"Content-Length: 0\r\n\r\n")
    try:
        yield
    finally:
        client.break_off()
        client.connection_lost(None)


class Line:
    """A client's connection, and the one to the endpoint's replica that its requests take."""

    def __init__(self, app: App, endpoint: str) -> None:
        self._to_client, self._to_replica = KeepingTransport(), KeepingTransport()
        self._client = ServerConnection(app._proxy._kit)
        self._client.connection_made(self._to_client)
        (replica,) = app.registry[endpoint].replicas.values()
        self._replica: ClientConnection = replica.pool._make()
        self._replica.connection_made(self._to_replica)
        replica.pool._open.add(self._replica)
        replica.pool.give(self._replica, now=time.monotonic())

    def ask(self, request: bytes, answer: bytes) -> None:
        self._client.data_received(request)
        self._replica.data_received(answer)

    def told(self, answer: bytes) -> None:
        """More of an answer that has begun."""
        self._replica.data_received(answer)

    def close(self) -> None:
        self._client.break_off()
        self._client.connection_lost(None)

    def check(self, *, asked: bytes, answered: bytes) -> None:
        """Raises BenchError unless replica and client have just been sent something that ends
        like this."""
        for what, sent, wanted in (
            ("the replica", self._to_replica.last, asked),
            ("the client", self._to_client.last, answered),
        ):
            if not sent.endswith(wanted):
                raise BenchError(f"{what} was sent {sent[-200:]!r}, not {wanted[-200:]!r}")


class KeepingTransport(PaperTransport):
    """Keeps what was written last."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.last = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.last = bytes(data)


# --- what is asked ------------------------------------------------------------------------------


def _get(host: str, *fields: str) -> bytes:
    named = (f"Host: {host}", "User-Agent: bench", "Accept: */*", *fields)
    return "\r\n".join(("GET /v1/things HTTP/1.1", *named, "", "")).encode()


def _gets(host: str) -> list[bytes]:
    return [_get(host, f"X-Request-Id: {number:08d}") for number in range(DIFFERENT)]


def _asked(line: Line, requests: list[bytes]) -> Callable[[], None]:
    body = b"x" * SMALL
    return _in_turn(line, requests, b"Content-Type: text/plain\r\n", body)


def _in_turn(line: Line, requests: list[bytes], kind: bytes, body: bytes) -> Callable[[], None]:
    """One request after the other, round and round, all answered alike."""
    answer = b"%b%bContent-Length: %d\r\n\r\n%b" % (SERVER, kind, len(body), body)
    following = itertools.cycle(requests).__next__
    line.ask(asked := following(), answer)
    line.check(asked=asked.partition(b"\r\n\r\n")[2] or b"\r\n\r\n", answered=body)
    return lambda: line.ask(following(), answer)


def _chatted(line: Line) -> Callable[[], None]:
    """All is sent by the same program, so that the heads are alike and the bodies are not."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "chat-8b",
        "choices": [{"index": 0, "message": {"content": "y" * (COMPLETION - 250)}}],
        "usage": {"prompt_tokens": 500, "completion_tokens": 900, "total_tokens": 1400},
    }
    requests = [_post("chat-8b", number, stream=False) for number in range(DIFFERENT)]
    kind = b"Content-Type: application/json\r\n"
    return _in_turn(line, requests, kind, json.dumps(answer).encode())


def _streamed(line: Line) -> Callable[[], None]:
    event = b'data: {"choices":[{"delta":{"content":"'.ljust(EVENT - 8, b"z") + b'"}}]}\n\n'
    chunk = b"%x\r\n%b\r\n" % (len(event), event)
    begin = b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = _post("stream-8b", 0, stream=True)
    line.ask(request, SERVER + begin + chunk)
    line.told(chunk)
    line.check(asked=request.partition(b"\r\n\r\n")[2], answered=chunk)
    return lambda: line.told(chunk)


def _post(model: str, number: int, *, stream: bool) -> bytes:
    """As OpenAI's SDK for Python sends it."""
    said = f"{number:08d} " + "x" * (PROMPT - 150)
    body = json.dumps(
        {
            "messages": [{"role": "user", "content": said}],
            "model": model,
            "stream": stream,
            "temperature": 0.2,
        }
    ).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: api\r\nAccept-Encoding: gzip, deflate\r\n"
        b"Connection: keep-alive\r\nAccept: application/json\r\n"
        b"Content-Type: application/json\r\nUser-Agent: OpenAI/Python 1.60.0\r\n"
        b"X-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\n"
        b"Authorization: Bearer sk-0123456789\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    return head + body
