"""What several activators of one test share: a store in memory, or a real Redis.

async with hall(kind) as h:
    one, other = await h.roster(), await h.roster()
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.coordination.lease import SharedLease
from activator.coordination.redis_lease import RedisLeaseStore
from activator.coordination.redis_roster import RedisRosterStore
from activator.coordination.roster import SharedRoster
from activator.coordination.shared_memory import SharedMemory
from activator.core.election import Pace
from activator.redisio.link import Link
from tests.redis_server import fresh_prefix, shared_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

BEAT = 0.05
SILENCE = 0.3
PACE = Pace(lapse=0.6, hold=0.4, renew=0.1, look=0.05)
KINDS = [pytest.param("memory", id="memory"), pytest.param("redis", id="redis")]


def nobody_knows(_record: Mapping[str, object]) -> bool:
    """Activators of one test share a process: none of them is ever seen to end."""
    return False


class Hall:
    """Made by `hall`; whatever it opened is closed with it."""

    def __init__(self, kind: str, endings: AsyncExitStack, *, url: str, prefix: str) -> None:
        self.memory = SharedMemory() if kind == "memory" else None
        self.url = url
        self.prefix = prefix
        self._endings = endings

    async def link(self) -> Link:
        """One activator's own, with Redis."""
        link = Link(self.url, prefix=self.prefix, timeout=2.0)
        await link.open()
        self._endings.push_async_callback(link.aclose)
        return link

    async def roster(
        self, *, ended: Callable[[Mapping[str, object]], bool] = nobody_knows
    ) -> SharedRoster:
        store = self.memory or RedisRosterStore(await self.link())
        roster = SharedRoster(store, beat=BEAT, silence=SILENCE, ended=ended)
        await roster.open()
        self._endings.push_async_callback(roster.aclose)
        return roster

    async def lease(self, roster: SharedRoster) -> SharedLease:
        store = self.memory or RedisLeaseStore(await self.link())
        lease = SharedLease(store, roster, pace=PACE)
        lease.open()
        self._endings.push_async_callback(lease.aclose)
        return lease


@asynccontextmanager
async def hall(kind: str, *, url: str = "") -> AsyncIterator[Hall]:
    async with AsyncExitStack() as endings:
        redis = kind == "redis"
        url = url or (shared_server().url if redis else "")
        yield Hall(kind, endings, url=url, prefix=fresh_prefix() if redis else "")


async def kill(part: SharedRoster | SharedLease) -> None:
    """It stops where it stands, and says nothing."""
    await part._tasks.aclose()
