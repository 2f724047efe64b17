"""The instant model server: answers at once, so that what a proxy costs is all that is seen.

`GET /small` 200 bytes, `GET /large` 4 KiB, `GET /bulk/N` N bytes, `POST` anything: how many bytes
came. Knows just enough HTTP for the load that this package makes (Content-Length framing), and
checks nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import re
from typing import Final, cast

import uvloop

SMALL: Final = 200
LARGE: Final = 4096
PIECE: Final = 64 << 10
"""Bytes handed to the transport at a time."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_BULK: Final = re.compile(rb"GET /bulk/(\d+)")


def answer(body: bytes) -> bytes:
    """A whole response."""
    return _head(len(body)) + body


def _head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % length


_SMALL: Final = answer(b"s" * SMALL)
_LARGE: Final = answer(b"l" * LARGE)


class Instant(asyncio.Protocol):
    """One connection."""

    __slots__ = ("_came", "_head", "_left", "_sending", "_transport", "_writable")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        """Bytes of a request's body that are still to come."""
        self._came = 0
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
            self._transport.write(answer(b"%d" % self._came))

    def _get(self, data: bytes) -> None:
        found = _BULK.match(data)
        if found is None:
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
