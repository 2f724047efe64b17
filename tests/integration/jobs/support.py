"""What tests of jobs share."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from activator.core.jobs import JobsPolicy
from activator.queueing.memory_jobs import MemoryJobs
from activator.queueing.redis_budget import RedisBudget
from activator.queueing.redis_jobs import RedisJobs
from tests import stage as stages
from tests.redis_server import opened_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.queueing.jobs import JobStore
    from tests.stage import Stage


@contextlib.asynccontextmanager
async def elsewhere(s: Stage, me: str) -> AsyncIterator[JobStore]:
    """The same jobs as another activator sees them, of which nothing else is to be seen."""
    ours: Any = s.app._stores.jobs
    shared = stages.store.get()
    if shared is None:
        yield MemoryJobs(ours._book, me=me, policy=JobsPolicy(), clock=time.time, dice=lambda: 0.0)
        return
    async with opened_link(shared["url"], prefix=shared["prefix"]) as link:
        budget = RedisBudget(link, max_bytes=1 << 20, clock=time.monotonic)
        store = RedisJobs(link, budget, me=me, policy=JobsPolicy())
        yield store
        await store.aclose()
        await budget.aclose()
