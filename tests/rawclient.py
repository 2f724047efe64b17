"""A client that sends the bytes it is given and reads answers without trusting the proxy's parser.

For everything a test wants to do to a listener: pieces, pipelines, half-closing, resetting.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.replica import reset

if TYPE_CHECKING:
    import ssl

WITHIN = 5.0
"""Seconds that a test waits for bytes before it fails."""


@dataclass(slots=True)
class Reply:
    """One final answer, with what came before it."""

    status: int
    reason: bytes
    fields: list[tuple[bytes, bytes]]
    """(name as written, value), in order."""
    raw_head: bytes
    body: bytes = b""
    chunks: list[bytes] = field(default_factory=list)
    trailers: list[bytes] = field(default_factory=list)
    interim: list[Reply] = field(default_factory=list)
    """1xx answers that preceded it."""

    def get(self, name: str) -> bytes | None:
        return next(iter(self.get_all(name)), None)

    def get_all(self, name: str) -> list[bytes]:
        lower = name.lower().encode()
        return [value for key, value in self.fields if key.lower() == lower]

    def json(self) -> dict[str, Any]:
        import json

        parsed = json.loads(self.body)
        assert isinstance(parsed, dict)
        return parsed

    @property
    def why(self) -> str:
        """The value of X-Activator-Reason, "" without one."""
        return (self.get("x-activator-reason") or b"").decode()


class Cut(Exception):
    """The connection ended in the middle of what was being read; `partial` had come."""

    def __init__(self, how: str, partial: bytes) -> None:
        super().__init__(f"{how} after {partial[-200:]!r}")
        self.how = how
        """"eof" or "reset"."""
        self.partial = partial


class RawClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(
        cls, host: str, port: int, *, tls: ssl.SSLContext | None = None, buffer: int = 1 << 16
    ) -> RawClient:
        """`buffer`: bytes that are taken in before the test reads them."""
        reader, writer = await asyncio.open_connection(
            host, port, ssl=tls, server_hostname="localhost" if tls else None, limit=buffer
        )
        return cls(reader, writer)

    async def __aenter__(self) -> RawClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # --- sending

    def send(self, data: bytes) -> None:
        if self.writer.is_closing():
            raise Cut("reset", b"")
        self.writer.write(data)

    async def drain(self) -> None:
        await self.writer.drain()

    def half_close(self) -> None:
        """FIN: nothing more will be sent."""
        if not self.writer.is_closing():
            self.writer.write_eof()

    def reset(self) -> None:
        """RST."""
        reset(self.writer)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError):
            await self.writer.wait_closed()

    # --- reading: each raises Cut if the connection ends first

    async def until(self, end: bytes, *, within: float = WITHIN) -> bytes:
        """Everything up to and including `end`."""
        async with asyncio.timeout(within):
            try:
                return await self.reader.readuntil(end)
            except asyncio.IncompleteReadError as error:
                raise Cut("eof", error.partial) from error
            except ConnectionError as error:
                raise Cut("reset", b"") from error

    async def exactly(self, size: int, *, within: float = WITHIN) -> bytes:
        async with asyncio.timeout(within):
            try:
                return await self.reader.readexactly(size)
            except asyncio.IncompleteReadError as error:
                raise Cut("eof", error.partial) from error
            except ConnectionError as error:
                raise Cut("reset", b"") from error

    async def rest(self, *, within: float = WITHIN) -> bytes:
        """Everything until the other side closes; a reset is Cut."""
        pieces = bytearray()
        async with asyncio.timeout(within):
            try:
                while data := await self.reader.read(1 << 16):
                    pieces += data
            except ConnectionError as error:
                raise Cut("reset", bytes(pieces)) from error
        return bytes(pieces)

    async def ended(self, *, within: float = WITHIN) -> str:
        """ "eof" or "reset", once the other side has ended it; nothing more may come before."""
        try:
            assert await self.rest(within=within) == b""
        except Cut as cut:
            return cut.how
        return "eof"

    async def head(self, *, within: float = WITHIN) -> Reply:
        """The next head, 1xx or final."""
        raw = await self.until(b"\r\n\r\n", within=within)
        first, *lines = raw[:-4].split(b"\r\n")
        version, status, reason = first.split(b" ", 2)
        assert version == b"HTTP/1.1"
        fields = [(name, value.strip()) for name, _, value in (n.partition(b":") for n in lines)]
        return Reply(int(status), reason, fields, raw)

    async def reply(self, *, method: bytes = b"GET", within: float = WITHIN) -> Reply:
        """The next final answer, whole; `method`: of the request that it answers."""
        interim: list[Reply] = []
        while (found := await self.head(within=within)).status < 200:
            interim.append(found)
        found.interim = interim
        await self._read_body(found, method, within)
        return found

    async def chunk(self, *, within: float = WITHIN) -> bytes:
        """The next chunk of a chunked body; b"" is the last one, trailers not read."""
        size = int(await self.until(b"\r\n", within=within), 16)
        if not size:
            return b""
        data = await self.exactly(size, within=within)
        assert await self.exactly(2, within=within) == b"\r\n"
        return data

    async def _read_body(self, found: Reply, method: bytes, within: float) -> None:
        if method == b"HEAD" or found.status in (204, 304):
            return
        if found.get("transfer-encoding") is not None:
            assert found.get_all("transfer-encoding") == [b"chunked"]
            assert found.get("content-length") is None
            while data := await self.chunk(within=within):
                found.chunks.append(data)
            found.body = b"".join(found.chunks)
            while (line := await self.until(b"\r\n", within=within)) != b"\r\n":
                found.trailers.append(line[:-2])
        elif (length := found.get("content-length")) is not None:
            found.body = await self.exactly(int(length), within=within)
        else:
            found.body = await self.rest(within=within)
