"""What activators share in a Redis: the link to it, and everything that stands on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.queueing.redis_bodies import RedisBodies
from activator.redisio.link import Link

if TYPE_CHECKING:
    from activator.config.settings import Store
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics


class RedisStores:
    """See `stores.Stores`."""

    def __init__(self, store: Store, *, metrics: Metrics, events: EventLog) -> None:
        self._events = events
        self._was_down = False
        self.link = Link(store.url, prefix=store.prefix, timeout=store.timeout)
        self.link.on_failure(metrics.store_failed)
        self.link.on_change(self._changed)
        self.bodies = RedisBodies(self.link, max_bytes=store.max_bytes, failed=metrics.store_failed)

    async def open(self) -> None:
        await self.link.open()
        if not self.link.up:
            self._changed(False)

    async def aclose(self) -> None:
        await self.bodies.aclose()
        await self.link.aclose()

    def _changed(self, up: bool) -> None:
        if not up:
            self._was_down = True
            self._events.record("", "store_down", self.link.cause)
        elif self._was_down:
            self._events.record("", "store_up", "the store is back")
