"""One connection to a Redis: whole exchanges within their time, or none ever again.

Decides when a connection can be used once more: only after every reply has been read. Whatever
else happens, a cancellation too, it is cut off at once. redis-py connects and authenticates; then
the socket is ours, so that a reply goes from the loop's read to who waits for it, without a stream
and a task in between. hiredis parses.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

import hiredis
from redis._parsers.base import BaseParser
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError

from activator.aiokit.deadlines import Deadlines, Timed
from activator.errors import StoreUnavailable
from activator.redisio.failures import (
    Unanswered,
    Unreachable,
    refused,
    why_not_connected,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio.connection import Connection

    from activator.redisio.commands import Packed

LATE: Final = 0.1
"""Seconds. A deadline that fires so much too late says that this process stood still, not that
Redis did: what came meanwhile is still to be read, and gets as long again."""

_INCOMPLETE: Final = object()

Replies = list[Any] | StoreUnavailable
"""A reply for each command, errors among them; or why there are none."""


class Wire(asyncio.Protocol, Timed):
    """Connected by `connect`; `usable` until something fails. Times are the loop's."""

    __slots__ = (
        "_connection", "_deadlines", "_free", "_graced", "_loop", "_parser", "_replies", "_told",
        "_transport", "_until", "_wanted", "overdue",
    )  # fmt: skip

    def __init__(self, connection: Connection, deadlines: Deadlines) -> None:
        self._connection = connection
        """Kept, since a stream that nobody knows any more closes its socket."""
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = hiredis.Reader(
            protocolError=_Garbled, replyError=_error_of, notEnoughData=_INCOMPLETE
        )
        self._replies: list[Any] = []
        """Nobody has taken them yet."""
        self._wanted = 0
        self._told: Callable[[Replies], None] | None = None
        """Who waits for so many."""
        self._free: Callable[[Wire], None] | None = None
        """Whose this is again before they are told."""
        self._until = inf
        self._graced = False
        self.overdue = False
        """It was cut off because Redis kept silent."""
        self.deadline = self.looked_at = inf

    @classmethod
    async def connect(cls, connection: Connection, deadlines: Deadlines, *, until: float) -> Wire:
        """Connected and authenticated. Raises Unreachable."""
        wire = cls(connection, deadlines)
        try:
            async with asyncio.timeout_at(until):
                await cast("Any", connection).connect()
            wire._take_over()
        except (RedisError, OSError) as error:
            wire.abort()
            raise Unreachable(why_not_connected(error)) from error
        except BaseException:
            wire.abort()
            raise
        return wire

    def _take_over(self) -> None:
        writer = self._connection._writer
        if writer is None or writer.transport.is_closing():
            raise ConnectionResetError("closed as soon as it was open")
        transport = self._transport = cast("asyncio.Transport", writer.transport)
        transport.set_protocol(self)

    @property
    def usable(self) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._replies

    # --- exchanges, one at a time

    def begin(
        self,
        commands: Sequence[Packed],
        told: Callable[[Replies], None],
        *,
        until: float,
        free: Callable[[Wire], None] | None = None,
    ) -> None:
        """`told`, later and once, unless it is cut off before; `free` just before that. Failures
        are Unanswered, or Refused while Redis is loading; after one it is not usable any more."""
        self._free = free
        self._wait_for(len(commands), told, until)
        if (transport := self._transport) is None:
            self._loop.call_soon(self._lost)
            return
        if len(commands) == 1 and len(commands[0]) == 1:
            transport.write(commands[0][0])
        else:  # together: each write is a system call, here and where Redis reads it
            transport.writelines([piece for command in commands for piece in command])

    async def exchange(self, commands: Sequence[Packed], *, until: float) -> list[Any]:
        """A reply each, errors among them. Raises as `begin` tells."""
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        self.begin(commands, _Told(done), until=until)
        return await self._outcome(done)

    async def receive(self, *, until: float) -> Any:
        """The next reply, errors too, to whatever was posted. Raises Unanswered."""
        done: asyncio.Future[list[Any]] = self._loop.create_future()
        self._wait_for(1, _Told(done), until)
        if self._replies:
            self._answer()
        elif self._transport is None or self._transport.is_closing():
            self._lost()
        (reply,) = await self._outcome(done)
        return reply

    @property
    def has_more(self) -> bool:
        """A reply has come that nobody has received."""
        return bool(self._replies)

    async def _outcome(self, done: asyncio.Future[list[Any]]) -> list[Any]:
        try:
            return await done
        except asyncio.CancelledError:
            self.abort()
            raise

    def post(self, pieces: Iterable[bytes]) -> None:
        """Send without waiting; for what is small and seldom."""
        if self._transport is not None:
            self._transport.writelines(list(pieces))

    def abort(self) -> None:
        """Cut it off: nothing that is on its way is sent or read any more, and nobody is told."""
        self._told = None
        self._cut()

    def _cut(self) -> None:
        self.deadline = inf
        self._deadlines.forget(self)
        self._transport = None
        if (writer := self._connection._writer) is not None:
            writer.transport.abort()
            self._connection._reader = self._connection._writer = None

    # --- told by the loop

    def data_received(self, data: bytes) -> None:
        parser, replies = self._parser, self._replies
        try:
            parser.feed(data)
            while (reply := parser.gets()) is not _INCOMPLETE:
                replies.append(reply)
        except _Garbled:
            self._lost()
            return
        if self._told is not None and len(replies) >= self._wanted:
            self._answer()

    def connection_lost(self, error: Exception | None) -> None:
        self._lost()

    def on_deadline(self, now: float) -> None:
        if now - self._until > LATE and not self._graced:
            self._graced = True
            self.deadline = now + LATE
            self._deadlines.arm(self)
        else:
            self.overdue = True
            self._fail(Unanswered("The store did not answer in time"))

    # --- inside

    def _wait_for(self, count: int, told: Callable[[Replies], None], until: float) -> None:
        assert self._told is None, "one exchange at a time"
        self._wanted, self._told = count, told
        self._graced = False
        self.deadline = self._until = until
        self._deadlines.arm(self)

    def _answer(self) -> None:
        told, self._told = self._told, None
        assert told is not None
        self.deadline = inf
        replies = self._replies
        if len(replies) > self._wanted:
            self._replies = replies[self._wanted :]
            del replies[self._wanted :]
        else:
            self._replies = []
        answer: Replies = replies
        for reply in replies:
            if isinstance(reply, _UNUSABLE):
                self._cut()
                answer = refused(reply)
                break
        if (free := self._free) is not None:
            self._free = None
            free(self)
        told(answer)

    def _lost(self) -> None:
        self._fail(Unanswered("The connection to the store was lost"))

    def _fail(self, failure: StoreUnavailable) -> None:
        told, self._told = self._told, None
        self._cut()
        if told is not None:
            if (free := self._free) is not None:
                self._free = None
                free(self)
            told(failure)


_UNUSABLE: Final = (BusyLoadingError, AuthenticationError)
"""Errors that are the connection's rather than a command's."""


class _Garbled(Exception):
    """What came is no Redis's."""


class _Told:
    """A future that is told once, unless nobody waits for it any more."""

    __slots__ = ("_done",)

    def __init__(self, done: asyncio.Future[list[Any]]) -> None:
        self._done = done

    def __call__(self, replies: Replies) -> None:
        if self._done.done():
            return
        if isinstance(replies, list):
            self._done.set_result(replies)
        else:
            self._done.set_exception(replies)


def _error_of(text: str) -> RedisError:
    return cast("RedisError", cast("Any", BaseParser).parse_error(text))
