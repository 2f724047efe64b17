"""What the tests of the way to Redis share."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from activator.errors import StoreUnavailable
from activator.redisio.scripts import script
from tests.faulty_proxy import FaultyProxy
from tests.redis_server import opened_link, shared_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from activator.redisio.link import Link

ADD = script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
"""Done twice it can be told from done once."""


@asynccontextmanager
async def behind_a_proxy(*, timeout: float = 2.0) -> AsyncIterator[tuple[Link, FaultyProxy]]:
    """A link to the shared server, over a network that a test breaks."""
    async with (
        FaultyProxy(shared_server().port) as proxy,
        opened_link(f"redis://127.0.0.1:{proxy.port}", timeout=timeout) as link,
    ):
        yield link, proxy


async def failure_of(work: Awaitable[object]) -> StoreUnavailable:
    try:
        done = await work
    except StoreUnavailable as failure:
        return failure
    raise AssertionError(f"it was done, and returned {done!r}")


async def until_works(link: Link, *, within: float) -> float:
    """Seconds until an operation is done again; fails beyond `within`."""
    since = time.monotonic()
    async with asyncio.timeout(within):
        while True:
            try:
                await link.command("SET", link.keys.shared("works"), "1", "PX", 1000)
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return time.monotonic() - since
