"""What every Quotas promises, whichever it is."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import date
from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory_quotas import MemoryQuotas
from activator.coordination.redis_quotas import KEPT, RedisQuotas
from activator.errors import StoreUnavailable
from tests.redis_server import opened_link, redis_server
from tests.sharing import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import Quotas

TODAY = date(2026, 3, 1)
TOMORROW = date(2026, 3, 2)


@pytest.fixture(params=KINDS)
async def quotas(request: pytest.FixtureRequest) -> AsyncIterator[Quotas]:
    async with AsyncExitStack() as endings:
        if request.param == "memory":
            yield MemoryQuotas()
        else:
            yield RedisQuotas(await endings.enter_async_context(opened_link()))


async def test_as_many_are_taken_as_there_are(quotas: Quotas) -> None:
    assert [await quotas.take("m", TODAY, most=2) for _ in range(4)] == [1, 2, None, None]


async def test_never_more_however_many_ask_at_once(quotas: Quotas) -> None:
    taken = await asyncio.gather(*(quotas.take("m", TODAY, most=7) for _ in range(50)))
    assert sorted(each for each in taken if each is not None) == [1, 2, 3, 4, 5, 6, 7]


async def test_every_day_and_every_endpoint_has_its_own(quotas: Quotas) -> None:
    assert await quotas.take("m", TODAY, most=1) == 1
    assert await quotas.take("other", TODAY, most=1) == 1
    assert await quotas.take("m", TODAY, most=1) is None
    assert await quotas.take("m", TOMORROW, most=1) == 1


async def test_what_was_refused_does_not_count_when_there_are_more(quotas: Quotas) -> None:
    assert await quotas.take("m", TODAY, most=1) == 1
    assert await quotas.take("m", TODAY, most=1) is None
    assert await quotas.take("m", TODAY, most=2) == 2
    assert await quotas.take("m", TODAY, most=1) is None


# Redis


async def test_activators_share_a_day_which_ends_by_itself() -> None:
    async with opened_link(prefix="quotas") as one, opened_link(prefix="quotas") as other:
        assert await RedisQuotas(one).take("m", TODAY, most=2) == 1
        assert await RedisQuotas(other).take("m", TODAY, most=2) == 2
        assert await RedisQuotas(one).take("m", TODAY, most=2) is None

        ttl = await one.command("TTL", one.keys.of("m", "quota", "2026-03-01"))
        assert KEPT - 60 < ttl <= KEPT


async def test_a_store_that_is_away_is_said_to_be() -> None:
    with redis_server() as server:
        async with opened_link(server.url) as link:
            server.kill()
            with pytest.raises(StoreUnavailable):
                await RedisQuotas(link).take("m", TODAY, most=1)
