"""What a real `activator serve` takes when held requests' bodies are in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
from typing import TYPE_CHECKING

import pytest

from tests.integration.proxy.test_memory import MIB, Measured, held, serving
from tests.redis_server import RedisServer, redis_server
from tests.replica import Replica, hello
from tests.stage import request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.serving import Serving

REQUESTS = 5000
STAYING = 100
SIZE = 64 * 1024
STUCK = 30.0
"""Seconds in which not one body more has come or gone."""
BODY = bytes(range(256)) * (SIZE // 256)


@pytest.fixture(autouse=True)
def _many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def is_cold(s: Serving) -> bool:
    status = (await s.ask_admin("/api/endpoints/m")).json()
    return not any(replica["phase"] == "ready" for replica in status["replicas"])


async def until_kept(s: Serving, redis: RedisServer, bodies: int) -> None:
    wanted = b"%d" % (bodies * SIZE) if bodies else None
    kept: object = None
    try:
        async with asyncio.timeout(STUCK) as patience:
            while (now := redis.ask("GET", "activator:{m}:bytes:bodies")) != wanted:
                if now != kept:  # however slowly, it goes on
                    kept = now
                    patience.reschedule(asyncio.get_running_loop().time() + STUCK)
                await asyncio.sleep(0.05)
    except TimeoutError:
        metrics = (await s.ask_admin("/metrics")).body.decode()
        told = re.findall(r"^activator_(?:requests|store_errors)_total.*", metrics, re.MULTILINE)
        raise AssertionError(f"Redis counts {kept!r}, not {wanted!r}; {told}") from None


async def test_bodies_that_wait_are_in_redis_and_not_in_the_process(tmp_path: Path) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < REQUESTS + 200:
        pytest.skip(f"a process may not have {REQUESTS} sockets here")
    replica = Replica(hello)
    queue = {"maxRequests": REQUESTS + 1, "maxBytes": "1GiB"}
    with redis_server() as redis:
        async with (
            serving(
                tmp_path,
                replica,
                store=redis.url,
                timeout="10s",  # a body that Redis is too slow for stays in the process
                queue=queue,
                concurrency=0,
            ) as s,
            contextlib.AsyncExitStack() as endings,
        ):
            memory = Measured(s.process.pid)
            first = await endings.enter_async_context(await s.connect())
            first.send(request("/"))
            await first.reply()
            await replica.refuse()
            replica.drop_connections()
            first.send(request("/"))
            async with asyncio.timeout(10):
                while not await is_cold(s):
                    await asyncio.sleep(0.02)
            memory.forget_peak()
            before = memory.now()

            clients = [
                await endings.enter_async_context(await s.connect()) for _ in range(REQUESTS)
            ]
            for client in clients:
                client.send(request("/held", method="POST", body=BODY))
            await until_kept(s, redis, REQUESTS)
            assert (await held(s))[1] == REQUESTS * SIZE
            assert memory.peak() - before < 200 * MIB

            for client in clients[STAYING:]:
                client.reset()
            await until_kept(s, redis, STAYING)
            await replica.start()
            for client in clients[:STAYING]:
                assert (await client.reply(within=30.0)).status == 200
            assert [bytes(one.body) for one in replica.requests[-STAYING:]] == [BODY] * STAYING
            await until_kept(s, redis, 0)
            assert memory.peak() - before < 200 * MIB
            assert redis.keys("activator:{m}:b") == []
