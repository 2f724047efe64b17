"""One Redis server: connections to work with, and one more to look at how it is.

The second is never busy with somebody's work, so that a long line is not taken for a failure.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from activator.redisio.commands import pack
from activator.redisio.failures import Unanswered, refused
from activator.redisio.pool import Pool
from activator.redisio.server_info import ServerInfo, parse_info

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.redisio.commands import Packed
    from activator.redisio.urls import Address, Dialer
    from activator.redisio.wire import Replies, Wire

MOST_CONNECTIONS: Final = 16
"""To one server. An exchange takes some 0.1 ms, and one process can have no more than one of
them in hand at a time; the rest are for those that wait for Redis."""

_INFO: Final = pack("INFO")
_POLICY: Final = pack("CONFIG", "GET", "maxmemory-policy")
_FORBIDDEN: Final = ("NOPERM", "ERR")
"""Managed services leave commands out, or forbid them."""


class Node:
    def __init__(self, address: Address, dialer: Dialer) -> None:
        self.address = address
        self._dial = partial(_dial, dialer, address)
        self.pool = Pool(self._dial, most=MOST_CONNECTIONS)
        self._sentry: Wire | None = None
        self._closed = False

    async def exchange(self, commands: Sequence[Packed], *, until: float) -> list[Any]:
        """A reply each, errors among them. Raises StoreUnavailable."""
        pool = self.pool
        wire = pool.idle() or await pool.take(until=until)
        try:
            return await wire.exchange(commands, until=until)
        finally:
            pool.give_back(wire)

    def begin(self, command: Packed, told: Callable[[Replies], None], *, until: float) -> bool:
        """At once on a connection that is idle, and `told` as of `Wire.begin`; False: there is
        none."""
        wire = self.pool.idle()
        if wire is None:
            return False
        wire.begin((command,), told, until=until, free=self.pool.give_back)
        return True

    async def ask(self, *commands: Packed, until: float) -> list[Any]:
        """On the connection that nobody else uses; once more on a new one if it has been cut.

        One at a time.
        """
        sentry, self._sentry = self._sentry, None
        if sentry is not None:
            try:
                return await self._ask(sentry, commands, until)
            except Unanswered:
                if sentry.overdue:
                    raise
        return await self._ask(await self._dial(until), commands, until)

    async def _ask(self, wire: Wire, commands: Sequence[Packed], until: float) -> list[Any]:
        replies = await wire.exchange(commands, until=until)
        if self._closed:
            wire.abort()
        else:
            self._sentry = wire
        return replies

    async def info(self, *, until: float) -> ServerInfo:
        """Raises StoreUnavailable. What this user may not be told is left empty."""
        text = await self._told(_INFO, until=until) or b""
        info = parse_info(text)
        if info.policy:
            return info
        policy = await self._told(_POLICY, until=until) or (b"", b"")
        return parse_info(text + b"\r\nmaxmemory_policy:" + policy[1])

    async def _told(self, question: Packed, *, until: float) -> Any:
        (reply,) = await self.ask(question, until=until)
        if not isinstance(reply, RedisError):
            return reply
        failure = refused(reply)
        if failure.code in _FORBIDDEN:
            return None
        raise failure

    def close(self) -> None:
        self._closed = True
        self.pool.close()
        if self._sentry is not None:
            self._sentry.abort()


async def _dial(dialer: Dialer, address: Address, until: float) -> Wire:
    return await dialer.dial(address, until=until)
