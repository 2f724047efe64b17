"""The clock of a real Redis, asked for by many ledgers at once."""

from __future__ import annotations

import asyncio

import pytest

from activator.coordination.store_clock import SAMPLES, StoreClock
from activator.core.endpoint import Endpoint, Replica, StaticBackend
from activator.errors import StoreUnavailable
from activator.redisio.link import Link
from tests.ledgers import activators, settled
from tests.redis_server import fresh_prefix, redis_server

MANY = 300


async def test_many_ledgers_ask_for_the_time_once() -> None:
    with redis_server() as server:
        async with activators(server.url, prefix=fresh_prefix()) as (one,):
            made = [
                one.ledgers.make(Endpoint(f"m{number}", StaticBackend(()), concurrency=1))
                for number in range(MANY)
            ]
            for ledger in made:
                ledger.offer([(Replica("a", "127.0.0.1", 8000), False)])
            await settled(*made)

            stats = server.ask("INFO", "commandstats").decode()
            asked = int(stats.split("cmdstat_time:calls=")[1].split(",")[0])
            # scripts ask for it too, once each: the rest is ours
            scripts = int(stats.split("cmdstat_evalsha:calls=")[1].split(",")[0])
            assert asked - scripts <= 2 * SAMPLES


async def test_all_who_wait_for_an_answer_are_told_that_there_is_none() -> None:
    clock = asyncio.get_running_loop().time
    with redis_server() as server:
        link = Link(server.url, prefix=fresh_prefix(), timeout=1.0)
        await link.open()
        store_clock = StoreClock(link, clock=clock)
        await store_clock.set()
        offset = store_clock.offset
        server.kill()
        await store_clock.set()  # it was asked a moment ago

        store_clock.doubt()
        ended = await asyncio.gather(
            *(store_clock.set() for _ in range(20)), return_exceptions=True
        )

        assert all(isinstance(each, StoreUnavailable) for each in ended)
        assert store_clock.offset == offset
        await link.aclose()


async def test_who_is_cancelled_while_asking_leaves_it_to_the_next() -> None:
    clock = asyncio.get_running_loop().time
    with redis_server() as server:
        link = Link(server.url, prefix=fresh_prefix(), timeout=1.0)
        await link.open()
        store_clock = StoreClock(link, clock=clock)
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(store_clock.set())
            second = tasks.create_task(store_clock.set())
            await asyncio.sleep(0)
            first.cancel()

        assert second.exception() is None
        assert store_clock.offset != 0.0
        with pytest.raises(asyncio.CancelledError):
            first.result()
        await link.aclose()
