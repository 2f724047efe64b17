"""A TCP proxy that does what networks do: cuts, delays, refuses, swallows. Counts what it sees."""

from __future__ import annotations

import asyncio
import contextlib
from math import inf
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks

if TYPE_CHECKING:
    from types import TracebackType

_AT_ONCE = 65_536


class FaultyProxy:
    """In front of a port of this machine; faithful until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.accepted = 0
        """Connections so far, the refused ones not among them."""
        self.open = 0
        self.refusing = False
        """New connections are reset at once."""
        self.silent = False
        """Nothing is passed on, in either direction, and nothing is closed."""
        self.delay = 0.0
        """Seconds that each piece waits before it is passed on."""
        self.sent = 0
        self.received = 0
        """Bytes passed on to the server, and from it."""
        self._sends = inf
        self._receives = inf
        self._writers: set[asyncio.StreamWriter] = set()
        self._cuts = 0
        self._tasks = Tasks("faulty proxy", on_failure=lambda name, failure: None)

    async def __aenter__(self) -> FaultyProxy:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        self.refusing = True
        self.cut()
        await self._tasks.aclose()
        await self._server.wait_closed()
        for _ in range(3):  # what is cut off closes its socket in the loop's next turn
            await asyncio.sleep(0)

    def cut_after(self, *, sent: float = inf, received: float = inf) -> None:
        """Cut every connection once so many more bytes have passed in a direction."""
        self._sends, self._receives = self.sent + sent, self.received + received

    def cut(self) -> None:
        """Every connection, now."""
        self._sends = self._receives = inf
        self._cuts += 1
        for writer in self._writers:
            writer.transport.abort()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.accepted += 1
        self.open += 1
        self._writers.add(writer)
        task = self._tasks.spawn(self._serve(reader, writer), name="connection")
        task.add_done_callback(lambda _: self._ended(writer))

    def _ended(self, writer: asyncio.StreamWriter) -> None:
        """Also if it has never begun."""
        self.open -= 1
        self._writers.discard(writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        cuts = self._cuts
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        self._writers.add(far_writer)
        try:
            if self._cuts != cuts:
                return
            there = self._tasks.spawn(self._pump(reader, far_writer, sends=True), name="there")
            back = self._tasks.spawn(self._pump(far_reader, writer, sends=False), name="back")
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            for each in (writer, far_writer):
                each.close()
            await asyncio.wait({there, back})
            for each in (writer, far_writer):
                await _closed(each)
        finally:
            self._writers.discard(far_writer)
            far_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, sends: bool
    ) -> None:
        try:
            while data := await reader.read(_AT_ONCE):
                if self.delay:
                    await asyncio.sleep(self.delay)
                while self.silent:
                    await asyncio.sleep(0.01)
                left = self._sends - self.sent if sends else self._receives - self.received
                part = data if left > len(data) else data[: max(0, int(left))]
                if sends:
                    self.sent += len(part)
                else:
                    self.received += len(part)
                writer.write(part)
                await writer.drain()
                if len(part) < len(data) or left == len(data):
                    writer.close()
                    self.cut_soon()
                    return
        except OSError:
            return

    def cut_soon(self) -> None:
        """After what has been passed on has left."""
        asyncio.get_running_loop().call_soon(self.cut)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Once the other side has taken what was written."""
    with contextlib.suppress(OSError):
        await writer.wait_closed()
