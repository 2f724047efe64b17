"""One connection to a Redis: whole exchanges within their time, or none ever again.

Decides when a connection can be used once more: only after every reply has been read. Whatever
else happens, a cancellation too, it is cut off at once. redis-py connects, authenticates and
parses.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import TYPE_CHECKING, Any, Final, cast

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    RedisError,
    ResponseError,
)

from activator.redisio.failures import (
    Unanswered,
    Unreachable,
    refused,
    why_not_connected,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from redis.asyncio.connection import Connection

    from activator.aiokit.deadlines import Deadlines
    from activator.redisio.commands import Packed

LATE: Final = 0.1
"""Seconds. A deadline that fires so much too late says that this process stood still, not that
Redis did: what came meanwhile is still to be read, and gets as long again."""


class Wire:
    """Connected by `connect`; `usable` until something fails. Times are the loop's."""

    __slots__ = ("_connection", "_deadlines", "_graced", "_loop", "_until", "deadline", "overdue")

    def __init__(self, connection: Connection, deadlines: Deadlines) -> None:
        self._connection = connection
        self._deadlines = deadlines
        self._loop = asyncio.get_running_loop()
        self._until = inf
        self._graced = False
        self.overdue = False
        """It was cut off because Redis kept silent."""
        self.deadline = inf

    @classmethod
    async def connect(cls, connection: Connection, deadlines: Deadlines, *, until: float) -> Wire:
        """Connected and authenticated. Raises Unreachable."""
        wire = cls(connection, deadlines)
        try:
            async with asyncio.timeout_at(until):
                await cast("Any", connection).connect()
        except (RedisError, OSError) as error:
            wire.abort()
            raise Unreachable(why_not_connected(error)) from error
        except BaseException:
            wire.abort()
            raise
        return wire

    @property
    def usable(self) -> bool:
        reader, writer = self._connection._reader, self._connection._writer
        return not (reader is None or reader.at_eof() or writer is None or writer.is_closing())

    async def exchange(self, commands: Sequence[Packed], *, until: float) -> list[Any]:
        """A reply each, errors among them. Raises Unanswered, or Refused while Redis is loading."""
        replies: list[Any] = []
        self._watch(until)
        try:
            await self._connection.send_packed_command(
                [piece for command in commands for piece in command], check_health=False
            )
            for _ in commands:
                replies.append(await self._reply())
        except (RedisError, OSError) as error:
            raise self._failure(error) from error
        finally:
            self.deadline = inf
            if len(replies) < len(commands):
                self.abort()
        return replies

    async def receive(self, *, until: float) -> Any:
        """The next reply, errors too, to whatever was posted. Raises Unanswered."""
        whole = False
        self._watch(until)
        try:
            reply = await self._reply()
            whole = True
        except (RedisError, OSError) as error:
            raise self._failure(error) from error
        finally:
            self.deadline = inf
            if not whole:
                self.abort()
        return reply

    def post(self, pieces: Iterable[bytes]) -> None:
        """Send without waiting; for what is small and seldom."""
        if (writer := self._connection._writer) is not None:
            writer.writelines(pieces)

    def abort(self) -> None:
        """Cut it off: nothing that is on its way is sent or read any more."""
        self._deadlines.forget(self)
        if (writer := self._connection._writer) is not None:
            writer.transport.abort()
            self._connection._reader = self._connection._writer = None

    def on_deadline(self, now: float) -> None:
        if now - self._until > LATE and not self._graced:
            self._graced = True
            self.deadline = now + LATE
            self._deadlines.arm(self)
        else:
            self.overdue = True
            self.abort()

    def _watch(self, until: float) -> None:
        self._graced = False
        self.deadline = self._until = until
        self._deadlines.arm(self)

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return error

    def _failure(self, error: Exception) -> Exception:
        if self.overdue:
            return Unanswered("The store did not answer in time")
        if isinstance(error, (BusyLoadingError, AuthenticationError)):
            return refused(error)
        return Unanswered("The connection to the store was lost")
