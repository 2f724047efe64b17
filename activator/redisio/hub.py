"""What activators call out to each other: one connection for every channel that anyone listens to.

Decides nothing about what is said. After a gap owners are told, and read again what they may
have missed.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from activator.aiokit.slices import Slices
from activator.core.backoff import Backoff
from activator.errors import StoreUnavailable
from activator.redisio.commands import pack
from activator.redisio.failures import refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from activator.redisio.wire import Wire

PING_EVERY: Final = 1.0
"""Seconds: a connection on which nothing is said is asked whether it is still there."""
AGAIN: Final = Backoff(first=0.05, cap=0.5)
CONNECT: Final = 1.0
TOGETHER: Final = 256
"""Channels in one command: thousands would take milliseconds to write."""

_PING: Final = pack("PING")
_log = logging.getLogger("activator.redis")


class Subscription:
    """One listener to one channel, until it is closed."""

    def __init__(
        self,
        hub: Hub,
        channel: str,
        heard: Callable[[bytes], None],
        confirmed: Callable[[], None],
    ) -> None:
        self._hub = hub
        self.channel = channel
        self.heard = heard
        self.confirmed = confirmed

    @property
    def active(self) -> bool:
        """Redis has confirmed it: what is published from now on is heard."""
        return self._hub.hears(self.channel)

    def close(self) -> None:
        """Nothing is heard any more; twice does no harm."""
        self._hub.forget(self)


class Hub:
    """Runs in `run`; subscriptions may be made before, and survive every connection."""

    def __init__(
        self,
        dial: Callable[[float], Awaitable[Wire]],
        *,
        until_up: Callable[[], Awaitable[None]],
        suspect: Callable[[], None],
        timeout: float,
    ) -> None:
        self._dial = dial
        self._until_up = until_up
        self._suspect = suspect
        self._timeout = timeout
        self._channels: dict[str, list[Subscription]] = {}
        self._confirmed: set[str] = set()
        self._resubscribed: list[Callable[[], None]] = []
        self._wire: Wire | None = None
        self._awaited: set[str] = set()

    def subscribe(
        self,
        channel: str,
        heard: Callable[[bytes], None],
        *,
        confirmed: Callable[[], None] = lambda: None,
    ) -> Subscription:
        subscription = Subscription(self, channel, heard, confirmed)
        listeners = self._channels.setdefault(channel, [])
        listeners.append(subscription)
        if len(listeners) == 1 and self._wire is not None:
            self._wire.post(pack("SUBSCRIBE", channel))
        return subscription

    def forget(self, subscription: Subscription) -> None:
        listeners = self._channels.get(subscription.channel, [])
        if subscription not in listeners:
            return
        listeners.remove(subscription)
        if not listeners:
            del self._channels[subscription.channel]
            self._confirmed.discard(subscription.channel)
            if self._wire is not None:
                self._wire.post(pack("UNSUBSCRIBE", subscription.channel))
            self._is_awaited_no_more(subscription.channel)

    def hears(self, channel: str) -> bool:
        return channel in self._confirmed

    def on_resubscribed(self, told: Callable[[], None]) -> None:
        self._resubscribed.append(told)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            await self._until_up()
            try:
                wire = await self._dial(loop.time() + CONNECT)
            except StoreUnavailable:
                attempt += 1
            else:
                attempt = await self._listen(wire, attempt)
            self._suspect()
            await asyncio.sleep(AGAIN.delay(attempt))

    async def _listen(self, wire: Wire, attempt: int) -> int:
        """Until the connection fails; returns how many in a row have failed so far."""
        loop = asyncio.get_running_loop()
        self._wire = wire
        self._awaited = set(self._channels)
        pinging = _Ping(loop, wire)
        heard_any = False
        slices = Slices()
        try:
            await self._subscribe_to(tuple(self._awaited), wire, slices)
            while True:
                # thousands of channels may be confirmed at once
                if wire.has_more:
                    await slices.turn()
                else:
                    slices.begin()
                reply = await wire.receive(until=loop.time() + PING_EVERY + self._timeout)
                heard_any = True
                self._hear(reply)
        except StoreUnavailable:
            return 1 if heard_any else attempt + 1
        finally:
            pinging.cancel()
            wire.abort()
            self._wire = None
            self._confirmed.clear()
            self._awaited.clear()

    async def _subscribe_to(self, channels: Sequence[str], wire: Wire, slices: Slices) -> None:
        for first in range(0, len(channels), TOGETHER):
            # nobody may listen to it any more, or anew, which is said already
            some = self._awaited.intersection(channels[first : first + TOGETHER])
            if some:
                wire.post(pack("SUBSCRIBE", *some))
            await slices.turn()

    def _hear(self, reply: Any) -> None:
        match reply:
            case [b"message", bytes(channel), bytes(said)]:
                for subscription in tuple(self._channels.get(channel.decode(), ())):
                    _call(subscription.heard, said)
            case [b"subscribe", bytes(channel), _]:
                self._is_confirmed(channel.decode())
            case RedisError():
                _log.error(
                    "cannot subscribe",
                    extra={"action": "subscribe_refused", "cause": refused(reply).detail},
                )

    def _is_confirmed(self, channel: str) -> None:
        if channel in self._channels:
            self._confirmed.add(channel)
            for subscription in tuple(self._channels[channel]):
                _call(subscription.confirmed)
        self._is_awaited_no_more(channel)

    def _is_awaited_no_more(self, channel: str) -> None:
        """It is heard again, or nobody wants that; with the last one the gap is over."""
        if channel in self._awaited:
            self._awaited.discard(channel)
            if not self._awaited:
                for told in tuple(self._resubscribed):
                    _call(told)


class _Ping:
    """Sends PING until it is cancelled."""

    def __init__(self, loop: asyncio.AbstractEventLoop, wire: Wire) -> None:
        self._loop = loop
        self._wire = wire
        self._timer = loop.call_later(PING_EVERY, self._send)

    def _send(self) -> None:
        self._wire.post(_PING)
        self._timer = self._loop.call_later(PING_EVERY, self._send)

    def cancel(self) -> None:
        self._timer.cancel()


def _call(told: Callable[..., None], *args: object) -> None:
    try:
        told(*args)
    except Exception:  # the others are told all the same
        _log.exception("told by the store", extra={"action": "callback_failed"})
