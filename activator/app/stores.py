"""What this activator keeps outside of its own objects, by `store.url`: in memory, or in Redis.

Decides which implementation is which; what each of them promises is its protocol's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from activator.config.store_url import Kind
from activator.errors import StartError
from activator.queueing.memory import MemoryStore

if TYPE_CHECKING:
    from activator.config.settings import Store
    from activator.queueing.base import BodyStore
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics


class Stores(Protocol):
    """Used between `open` and `aclose`."""

    @property
    def bodies(self) -> BodyStore: ...

    async def open(self) -> None:
        """Raises StartError if the store must not be used; one that is away may come later."""

    async def aclose(self) -> None:
        """After everybody who uses it."""


class MemoryStores:
    def __init__(self, store: Store, *, metrics: Metrics) -> None:
        self.bodies = MemoryStore(max_bytes=store.max_bytes, failed=metrics.store_failed)

    async def open(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def make_stores(store: Store, *, metrics: Metrics, events: EventLog) -> Stores:
    """Raises StartError: what is needed for it is not installed, or not in order."""
    if store.url.kind is Kind.MEMORY:
        return MemoryStores(store, metrics=metrics)
    try:
        from activator.app.redis_stores import RedisStores  # noqa: PLC0415 - only where it is used
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise StartError(
            "store.url: Redis needs a package more: pip install 'activator[redis]'"
        ) from error
    return RedisStores(store, metrics=metrics, events=events)
