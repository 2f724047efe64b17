"""A page's stream, as the EventSource of a browser reads it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from tests.stage import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HTML: Final = {
    "Accept": "text/html,application/xhtml+xml,*/*;q=0.8",
    "Sec-Fetch-Mode": "navigate",
}
"""What a browser says that opens a page."""


class Stream:
    def __init__(self, reader: asyncio.StreamReader, head: bytes) -> None:
        self._reader = reader
        self.head = head
        self.status = int(head.split()[1])

    async def event(self, *, within: float = 5.0) -> tuple[str, dict[str, Any]]:
        """("", {}) at its end."""
        name = ""
        async with asyncio.timeout(within):
            while line := await self._reader.readline():
                if line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: "):
                    return name, json.loads(line[6:])
        return "", {}

    async def until(self, wanted: str) -> dict[str, Any]:
        while True:
            name, told = await self.event()
            if name in (wanted, ""):
                assert name == wanted
                return told


@asynccontextmanager
async def stream_of(
    port: int, target: str = "/", *, host: str, headers: dict[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Of the page at `target`. Over HTTP/1.0, so that what comes is not framed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    path = f"/.activator/waiting?at={quote(target, safe='')}"
    writer.write(request(path, host=host, headers=headers).replace(b"HTTP/1.1", b"HTTP/1.0"))
    try:
        yield Stream(reader, await reader.readuntil(b"\r\n\r\n"))
    finally:
        writer.close()
