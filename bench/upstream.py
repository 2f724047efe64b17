"""The instant model server: answers at once, so that what a proxy costs is all that is seen.

`GET /small` 200 bytes, `GET /large` 4 KiB, `GET /bulk/N` N bytes, `POST /v1/chat/completions` a
completion of 4 KiB (`bench.chat`), `GET /v1/models` its model; other `POST`s: how many bytes came.
Knows just enough HTTP for the load that this package makes (Content-Length framing), and checks
nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
from typing import Final, cast

import uvloop

from bench import chat

SMALL: Final = 200
LARGE: Final = 4096
PIECE: Final = 64 << 10
"""Bytes handed to the transport at a time."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BULK: Final = re.compile(rb"GET /bulk/(\d+)")


def answer(body: bytes, *, kind: bytes = b"text/plain") -> bytes:
    """A whole response."""
    return _head(len(body), kind=kind) + body


def _head(length: int, *, kind: bytes = b"text/plain") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, length)


_SMALL: Final = answer(b"s" * SMALL)
_LARGE: Final = answer(b"l" * LARGE)
_COMPLETION: Final = answer(chat.completion(), kind=b"application/json")
_MODELS: Final = answer(chat.models(), kind=b"application/json")
_POST_CHAT: Final = b"POST %b " % chat.PATH.encode()


class Instant(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_came", "_head", "_is_chat", "_left", "_sending", "_transport", "_writable")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        """Bytes of a request's body that are still to come."""
        self._came = 0
        self._is_chat = False
        self._transport: asyncio.Transport
        self._writable: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left:
            self._body(len(data))
            return
        if self._head:
            data = self._head + data
            self._head = b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._head = data
        elif data.startswith(b"GET /small"):
            self._transport.write(_SMALL)
        elif data.startswith(b"GET /large"):
            self._transport.write(_LARGE)
        elif data.startswith(b"GET "):
            self._get(data)
        else:
            found = _LENGTH.search(data, 0, end)
            self._left = int(found.group(1)) if found else 0
            self._came = 0
            self._is_chat = data.startswith(_POST_CHAT)
            self._body(len(data) - end - 4)

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def _body(self, size: int) -> None:
        self._came += size
        self._left -= size
        if self._left <= 0:
            self._left = 0
            self._transport.write(_COMPLETION if self._is_chat else answer(b"%d" % self._came))

    def _get(self, data: bytes) -> None:
        found = _BULK.match(data)
        if data.startswith(b"GET /v1/models"):
            self._transport.write(_MODELS)
        elif found is None:
            self._transport.write(answer(b"?"))
        else:
            loop = asyncio.get_running_loop()
            self._sending = loop.create_task(self._bulk(int(found.group(1))))

    async def _bulk(self, size: int) -> None:
        self._transport.write(_head(size))
        piece = memoryview(b"b" * PIECE)
        while size and not self._transport.is_closing():
            part = piece[: min(size, PIECE)]
            self._transport.write(part)
            size -= len(part)
            if self._writable is not None:
                await self._writable.wait()


async def _serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(
        Instant, "127.0.0.1", port, backlog=4096
    )
    gc.freeze()
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
