"""When an endpoint goes to zero, to the moment: strict on too early, generous on too late."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.replica import hello
from tests.stage import request
from tests.support import eventually
from tests.town import UPGRADE, echo, spawn, town

if TYPE_CHECKING:
    from tests.rawclient import RawClient
    from tests.replica import Talk
    from tests.town import Town

IDLE = 0.3
SCALE = {"idleTimeout": "300ms"}
LATE = 0.25
"""Seconds that a busy machine may be late."""


def now() -> float:
    return asyncio.get_running_loop().time()


async def slept_at(t: Town) -> float:
    """The moment of the order for none."""
    await eventually(lambda: t.orders("a")[-1] == 0)
    return t.driver_of("a").calls[-1].at


async def socket(t: Town) -> RawClient:
    client = await t.send(UPGRADE)
    assert (await client.head()).status == 101
    return client


async def test_a_whole_idle_timeout_passes_from_the_end_of_the_last_response() -> None:
    async with town("a", scale=SCALE) as t:
        for _ in range(3):
            await t.get()
            await asyncio.sleep(IDLE * 0.7)
        await t.get()
        ended = now()

        # `ended` is read after the client had it all: the activator knew a little earlier
        assert IDLE - 0.02 <= await slept_at(t) - ended <= IDLE + LATE
        await t.until_zero("a")
        assert t.orders("a") == [1, 0]


async def test_a_stream_holds_it_up_however_long_and_its_end_starts_the_clock() -> None:
    go_on = asyncio.Event()

    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        talk.chunk(b"first")
        await go_on.wait()
        talk.chunk(b"")

    async with town("a", behave=behave, scale=SCALE) as t:
        running = spawn(t.get())
        await asyncio.sleep(IDLE * 3)
        assert t.orders("a") == [1]
        go_on.set()
        await running
        ended = now()

        assert IDLE - 0.02 <= await slept_at(t) - ended <= IDLE + LATE


async def test_an_open_websocket_holds_it_up_without_a_byte() -> None:
    async with town("a", behave=echo, scale=SCALE) as t:
        client = await socket(t)
        await asyncio.sleep(IDLE * 3)
        assert t.orders("a") == [1]
        await client.close()
        ended = now()

        assert IDLE - 0.02 <= await slept_at(t) - ended <= IDLE + LATE


async def test_a_silent_websocket_counts_until_upgrade_idle_and_then_the_clock_starts() -> None:
    async with town("a", behave=echo, scale={**SCALE, "upgradeIdle": "400ms"}) as t:
        client = await socket(t)
        for _ in range(4):
            await asyncio.sleep(0.2)
            client.send(b"ping")
            assert await client.exactly(4) == b"ping"
        assert t.orders("a") == [1]
        moved = now()
        slept = await slept_at(t)

        assert 0.4 + IDLE - 0.02 <= slept - moved <= 0.4 + IDLE + LATE
        assert await client.ended() in ("eof", "reset")


async def test_never_wake_paths_answer_without_waking_or_refreshing() -> None:
    never = [{"path": "/health", "status": 200}, {"path": "/favicon.ico", "status": 404}]
    async with town("a", scale=SCALE, neverWake=never) as t:
        assert (await t.get("/health")).status == 200
        assert (await t.get("/favicon.ico")).status == 404
        await asyncio.sleep(0.05)
        assert t.orders("a") == []

        await t.get("/wake")
        ended = now()
        while t.orders("a") == [1] and now() < ended + 5.0:
            assert (await t.get("/health")).status == 200
            await asyncio.sleep(0.01)
        assert IDLE - 0.02 <= await slept_at(t) - ended <= IDLE + LATE
        assert any(heard.target == b"/health" for heard in t.replicas_of("a")[0].requests)
        await t.until_zero("a")
        assert (await t.get("/health")).status == 200
        assert t.orders("a") == [1, 0]


async def test_a_preflight_never_wakes() -> None:
    headers = {"Origin": "https://x.example", "Access-Control-Request-Method": "POST"}
    async with town("a") as t:
        assert (await t.get(method="OPTIONS", headers=headers)).status == 204
        await asyncio.sleep(0.05)

        assert t.orders("a") == []


async def test_a_minimum_starts_at_once_and_never_sleeps() -> None:
    async with town("a", scale={"min": 1, "idleTimeout": "50ms"}) as t:
        await t.until_state("active")
        await asyncio.sleep(0.4)

        assert t.orders("a") == [1]


async def test_an_idle_timeout_of_zero_never_sleeps() -> None:
    async with town("a", scale={"idleTimeout": 0}) as t:
        await t.get()
        await asyncio.sleep(0.4)

        assert t.orders("a") == [1]


async def test_a_client_that_waited_in_vain_does_not_keep_it_up() -> None:
    """Held behind another, and gone before its turn: the end of the response counts."""
    go_on = asyncio.Event()

    async def behave(talk: Talk) -> None:
        await go_on.wait()
        await hello(talk)

    async with town("a", behave=behave, scale=SCALE, concurrency=1) as t:
        running = spawn(t.get())
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        client = await t.send(request(host="a.example"))
        await eventually(lambda: t.status_of("a").held == 1)
        go_on_at = now()
        await client.close()
        await eventually(lambda: t.status_of("a").held == 0)
        go_on.set()
        await running

        assert await slept_at(t) - go_on_at >= IDLE
        assert t.replicas_of("a")[0].most_in_flight == 1


async def test_a_request_while_the_old_replica_stops_gets_the_next_start() -> None:
    async with town("a", scale={"idleTimeout": "50ms"}) as t:
        t.driver_of("a").stop_delay = 0.2
        await t.get()
        await slept_at(t)
        late = await t.get()

        assert late.status == 200
        assert t.orders("a")[:3] == [1, 0, 1]
        assert len(t.replicas_of("a")) == 2
