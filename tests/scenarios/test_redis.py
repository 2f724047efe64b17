"""A real `activator serve` over a real Redis: what is in the store, and what happens without it.

Redis is away for as long as a test needs. How long makes no difference, which is tried by

    ACTIVATOR_TEST_OUTAGE=30 python -m pytest -k cold_requests_wait_in_memory tests/scenarios
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.rawclient import RawClient
from tests.redis_server import APPEND_ONLY, RedisServer, redis_server
from tests.replica import PROBE_PATH, Replica, hello
from tests.serving import STARTED_WITHIN, Serving
from tests.stage import request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

BODY = bytes(range(256)) * 256
"""64 KiB."""
RESTORED_WITHIN = 5.0
"""Seconds after Redis is back."""
OUTAGE = float(os.environ.get("ACTIVATOR_TEST_OUTAGE", "0"))
"""Seconds that Redis is away for at least."""
LEFT = {"activator:bytes:endpoints", "activator:events", "activator:lease"}
"""What outlives every request and every activator: names and events with an expiry, and who led
last; and the book of costs."""


class World:
    """An activator in front of `warm`, which runs, and `cold`, which does not; `free` is `warm`
    without a limit."""

    def __init__(self, serving: Serving, *, warm: Replica, cold: Replica) -> None:
        self.serving = serving
        self.warm = warm
        self.cold = cold
        self.endings = AsyncExitStack()

    async def send(self, endpoint: str, *, body: bytes | None = BODY) -> RawClient:
        client = await self.endings.enter_async_context(await self.serving.connect())
        method = "GET" if body is None else "POST"
        client.send(request("/x?y=1", method=method, body=body, host=f"{endpoint}.example"))
        return client

    async def status(self, endpoint: str) -> dict[str, Any]:
        return (await self.serving.ask_admin(f"/api/endpoints/{endpoint}")).json()

    async def until_held(self, requests: int) -> None:
        async def so() -> bool:
            return bool((await self.status("cold"))["held"] == requests)

        await until(so)

    async def until_ready(self, endpoint: str) -> None:
        async def so() -> bool:
            return bool((await self.status(endpoint))["state"] == "active")

        await until(so, within=STARTED_WITHIN)

    async def events(self) -> list[str]:
        """What was recorded of the activator itself, or of its store."""
        host = f"127.0.0.1:{self.serving.admin}"
        async with await RawClient.connect("127.0.0.1", self.serving.admin) as client:
            client.send(request("/api/events", host=host, headers={"Accept": "application/json"}))
            told = (await client.reply()).json()["events"]
        return [event["action"] for event in told if event["action"].startswith("store_")]

    async def store_errors(self) -> float:
        text = (await self.serving.ask_admin("/metrics")).body.decode()
        lines = [line for line in text.splitlines() if line.startswith("activator_store_errors")]
        return float(lines[0].split()[1])


@asynccontextmanager
async def world(
    folder: Path, redis: RedisServer, *, server: dict[str, Any] | None = None
) -> AsyncIterator[World]:
    warm, cold = Replica(hello), Replica(hello)
    for replica in (warm, cold):
        await replica.start()
    await cold.refuse()
    endpoints = [
        {
            "name": name,
            "match": {"hosts": [f"{name}.example"]},
            "backend": {"type": "static", "urls": [f"http://127.0.0.1:{replica.port}"]},
            "probe": {"path": PROBE_PATH, "interval": "20ms"},
            "concurrency": limit,
        }
        for name, replica, limit in (("warm", warm, 4), ("cold", cold, 4), ("free", warm, 0))
    ]
    listen = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0, **(server or {})}
    store = {"url": redis.url}
    serving = Serving(
        folder, {"server": listen, "store": store, "endpoints": endpoints}, fresh=False
    )
    w = World(serving, warm=warm, cold=cold)
    try:
        await serving.start()
        await w.until_ready("warm")
        await w.until_ready("free")
        yield w
    finally:
        await w.endings.aclose()
        await serving.end()
        for replica in (warm, cold):
            await replica.stop()


async def until(so: Callable[[], Awaitable[bool]], *, within: float = 5.0) -> None:
    async with asyncio.timeout(within):
        while not await so():
            await asyncio.sleep(0.02)


def bodies(redis: RedisServer) -> list[str]:
    return redis.keys("activator:{cold}:body:")


async def test_what_is_held_is_in_redis_is_forwarded_unchanged_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    with redis_server() as redis:
        async with world(tmp_path, redis) as w:
            clients = [await w.send("cold") for _ in range(3)]
            await w.until_held(3)

            async def kept() -> bool:
                return len(redis.keys("activator:{cold}:held:")) == 3

            await until(kept)
            assert [redis.ask("GET", key) for key in bodies(redis)] == [BODY] * 3
            for key in redis.keys("activator:{cold}:held:"):
                fields = redis.ask("HGETALL", key)
                record = dict(zip(fields[::2], fields[1::2], strict=True))
                assert record[b"v"] == b"1"
                assert record[b"size"] == b"%d" % len(BODY)
                assert (record[b"method"], record[b"target"]) == (b"POST", b"/x?y=1")
                assert redis.ask("PTTL", key) > 0
            assert redis.ask("GET", "activator:{cold}:bytes:bodies") == b"%d" % (3 * len(BODY))

            await w.cold.start()
            for client in clients:
                assert (await client.reply()).status == 200
            assert [bytes(heard.body) for heard in w.cold.requests] == [BODY] * 3

            async def gone() -> bool:
                parts = ("body", "bodies", "held", "bytes")
                return not any(redis.keys(f"activator:{{cold}}:{part}") for part in parts)

            await until(gone)
            left = await w.send("cold")
            assert (await left.reply()).status == 200
            w.serving.tell(signal.SIGTERM)
            assert await w.serving.ended() == 0
            books = {key for key in redis.keys("activator:") if ":costs" in key}
            assert set(redis.keys("activator:")) - books <= LEFT
            assert redis.ask("PTTL", "activator:bytes:endpoints") > 0
            assert redis.ask("PTTL", "activator:events") > 0


async def test_what_was_used_is_told_by_the_next_activator(tmp_path: Path) -> None:
    with redis_server() as redis:
        async with world(tmp_path, redis) as w:

            async def leads() -> bool:
                told = (await w.serving.ask_admin("/metrics")).body.decode()
                return "\nactivator_leader 1" in told

            await until(leads)
            w.serving.tell(signal.SIGTERM)
            assert await w.serving.ended() == 0
        async with world(tmp_path, redis) as w:
            costs = (await w.serving.ask_admin("/api/costs")).json()
            used = {each["endpoint"]: each for each in costs["days"]}
            (booked,) = redis.keys("activator:{warm}:costs:")
            before = float(redis.ask("HGET", booked, f"{costs['today'][-2:]}:ready_seconds"))
            assert 0.0 < before < used["warm"]["ready_seconds"]


async def test_without_redis_warm_traffic_goes_on_and_cold_requests_wait_in_memory(
    tmp_path: Path,
) -> None:
    with redis_server() as redis:
        async with world(tmp_path, redis, server={"heldMemory": "100KiB"}) as w:
            statuses: list[int] = []
            running = True

            async def traffic() -> None:
                async with await w.serving.connect() as client:
                    while running:
                        client.send(request("/", method="POST", body=BODY, host="warm.example"))
                        statuses.append((await client.reply()).status)

            async def meanwhile() -> None:
                nonlocal running
                try:
                    await played()
                finally:
                    running = False

            async def played() -> None:
                await more_answers()
                await w.serving.until_logged("acquainted")
                redis.kill()
                await until(down)
                in_memory = await w.send("cold")
                empty = await w.send("cold", body=None)
                await w.until_held(2)
                refused = await (await w.send("cold")).reply()
                assert (refused.status, refused.why) == (503, "store_unavailable")
                assert int(refused.get("retry-after") or 0) >= 1
                await more_answers()
                assert await w.store_errors() > 0
                await asyncio.sleep(OUTAGE)
                await more_answers()

                redis.start()
                since = asyncio.get_running_loop().time()
                await until(back, within=RESTORED_WITHIN)
                in_redis = await w.send("cold")
                await w.until_held(3)

                async def stored() -> bool:
                    return len(bodies(redis)) == 1

                await until(stored)
                assert asyncio.get_running_loop().time() - since < RESTORED_WITHIN
                await w.cold.start()
                for client in (in_memory, empty, in_redis):
                    assert (await client.reply()).status == 200
                assert sorted(bytes(heard.body) for heard in w.cold.requests) == [b"", BODY, BODY]
                await more_answers()

            async def more_answers() -> None:
                wanted = len(statuses) + 50

                async def so() -> bool:
                    return len(statuses) >= wanted

                await until(so, within=10.0)

            async def down() -> bool:
                return await w.events() == ["store_down"]

            async def back() -> bool:
                return await w.events() == ["store_down", "store_up"]

            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(traffic())
                group.create_task(meanwhile())

            assert set(statuses) == {200}


async def test_bodies_survive_a_redis_that_writes_down_what_it_is_told(tmp_path: Path) -> None:
    with redis_server(*APPEND_ONLY) as redis:
        async with world(tmp_path, redis) as w:
            clients = [await w.send("cold") for _ in range(2)]
            await w.until_held(2)

            async def stored() -> bool:
                return len(bodies(redis)) == 2

            await until(stored)
            redis.kill()
            redis.start()
            assert len(bodies(redis)) == 2

            await w.cold.start()
            for client in clients:
                assert (await client.reply(within=10.0)).status == 200
            assert [bytes(heard.body) for heard in w.cold.requests] == [BODY] * 2


async def test_bodies_that_redis_has_lost_are_told_to_their_clients(tmp_path: Path) -> None:
    with redis_server() as redis:
        async with world(tmp_path, redis) as w:
            client = await w.send("cold")
            await w.until_held(1)

            async def stored() -> bool:
                return len(bodies(redis)) == 1

            await until(stored)
            redis.restart()
            await w.cold.start()

            reply = await client.reply(within=10.0)
            assert (reply.status, reply.why) == (503, "store_unavailable")
            assert not w.cold.requests
            again = await w.send("cold")
            assert (await again.reply(within=10.0)).status == 200


async def test_starts_without_redis_and_takes_it_up_when_it_comes(tmp_path: Path) -> None:
    with redis_server() as redis:
        redis.kill()
        async with world(tmp_path, redis) as w:
            free, limited = await w.send("free"), await w.send("warm")
            assert (await free.reply()).status == 200
            assert await w.events() == ["store_down"]
            # whose slots these are, only the store can tell
            assert (await w.status("warm"))["held"] == 1
            redis.start()
            assert (await limited.reply(within=RESTORED_WITHIN)).status == 200

            async def back() -> bool:
                return await w.events() == ["store_down", "store_up"]

            await until(back, within=RESTORED_WITHIN)
            await w.send("cold")
            await w.until_held(1)

            async def stored() -> bool:
                return len(bodies(redis)) == 1

            await until(stored)


async def test_a_redis_that_evicts_ends_the_start_with_the_reason(tmp_path: Path) -> None:
    with redis_server("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru") as redis:
        path = tmp_path / "activator.yaml"
        path.write_text(
            f"server: {{listen: 127.0.0.1:0, admin: 127.0.0.1:0}}\nstore: {{url: '{redis.url}'}}\n"
            "endpoints: [{name: m, backend: {type: static, urls: ['http://127.0.0.1:9']}}]\n"
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "activator", "serve", "-c", str(path)),
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(10):
            _, said = await process.communicate()

        assert process.returncode == 1
        assert b"maxmemory-policy is allkeys-lru, and must be noeviction" in said
