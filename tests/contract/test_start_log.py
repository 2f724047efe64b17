"""What every StartLog promises, whichever it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory_starts import MemoryStartLog
from activator.coordination.redis_starts import KEPT, RedisStartLog
from activator.core.eta import REMEMBERED_STARTS
from activator.errors import StoreUnavailable
from tests.redis_server import opened_link, redis_server
from tests.sharing import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import StartLog

START = {"requested": 0.5, "waiting for node": 30.25, "ready": 4.0}


@pytest.fixture(params=KINDS)
async def log(request: pytest.FixtureRequest) -> AsyncIterator[StartLog]:
    async with AsyncExitStack() as endings:
        if request.param == "memory":
            yield MemoryStartLog()
        else:
            yield RedisStartLog(await endings.enter_async_context(opened_link()))


async def test_what_has_never_started_has_no_starts(log: StartLog) -> None:
    assert {name: list(starts) for name, starts in (await log.last(["m"])).items()} == {"m": []}


async def test_starts_come_back_phase_by_phase_the_oldest_first(log: StartLog) -> None:
    await log.note("m", START)
    await log.note("m", {"ready": 1.0})
    await log.note("other", {"ready": 2.0})

    told = await log.last(["m", "other"])
    assert list(told["m"]) == [START, {"ready": 1.0}]
    assert list(told["m"][0]) == list(START)  # phases are in their order
    assert list(told["other"]) == [{"ready": 2.0}]


async def test_the_last_twenty_are_kept(log: StartLog) -> None:
    for number in range(REMEMBERED_STARTS + 3):
        await log.note("m", {"ready": float(number)})

    told = [start["ready"] for start in (await log.last(["m"]))["m"]]
    assert told == [float(number) for number in range(3, REMEMBERED_STARTS + 3)]


async def test_many_endpoints_are_asked_for_at_once(log: StartLog) -> None:
    names = [f"m{number}" for number in range(250)]
    await log.note("m249", START)

    told = await log.last(names)
    assert set(told) == set(names)
    assert list(told["m249"]) == [START]


# Redis


async def test_starts_outlive_whoever_noted_them_for_a_season() -> None:
    async with opened_link(prefix="starts") as link:
        await RedisStartLog(link).note("m", START)
        ttl = await link.command("TTL", link.keys.of("m", "starts"))
        assert KEPT - 60 < ttl <= KEPT
    async with opened_link(prefix="starts") as link:
        assert list((await RedisStartLog(link).last(["m"]))["m"]) == [START]


@pytest.mark.parametrize("odd", ["[1]", "no json", '{"ready": "soon"}', '{"ready": {"p": 1}}'])
async def test_what_a_newer_version_has_noted_is_passed_over(odd: str) -> None:
    async with opened_link() as link:
        log = RedisStartLog(link)
        await link.command("RPUSH", link.keys.of("m", "starts"), odd)
        await log.note("m", START)

        assert list((await log.last(["m"]))["m"]) == [START]


async def test_a_store_that_is_away_is_said_to_be() -> None:
    with redis_server() as server:
        async with opened_link(server.url) as link:
            log = RedisStartLog(link)
            server.kill()
            for asked in (log.note("m", START), log.last(["m"])):
                with pytest.raises(StoreUnavailable):
                    await asked
