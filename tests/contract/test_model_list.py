"""What every ModelList promises, whichever it is."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory_models import MemoryModelList
from activator.coordination.redis_models import KEPT, RedisModelList
from activator.core.catalogue import ModelCard
from activator.errors import StoreUnavailable
from tests.redis_server import opened_link, redis_server
from tests.sharing import KINDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import ModelList

CARDS = (
    ModelCard("org/llama-é", created=7, owned_by="vllm", context=4096),
    ModelCard("lora-x", parent="org/llama-é"),
)


@pytest.fixture(params=KINDS)
async def notes(request: pytest.FixtureRequest) -> AsyncIterator[ModelList]:
    async with AsyncExitStack() as endings:
        if request.param == "memory":
            yield MemoryModelList()
        else:
            yield RedisModelList(await endings.enter_async_context(opened_link()))


async def test_what_nobody_has_noted_is_nothing(notes: ModelList) -> None:
    assert dict(await notes.last(["m"])) == {"m": ()}
    assert dict(await notes.last([])) == {}


async def test_cards_come_back_as_they_were_noted_last(notes: ModelList) -> None:
    await notes.note("m", CARDS[1:])
    await notes.note("m", CARDS)
    await notes.note("other", CARDS[:1])

    assert dict(await notes.last(["other", "m"])) == {"other": CARDS[:1], "m": CARDS}


async def test_many_endpoints_are_asked_for_at_once(notes: ModelList) -> None:
    names = [f"m{number}" for number in range(50)]
    await notes.note("m49", CARDS)

    told = await notes.last(names)
    assert set(told) == set(names)
    assert told["m49"] == CARDS


# Redis


async def test_they_outlive_whoever_noted_them_for_a_season() -> None:
    async with opened_link(prefix="models") as link:
        await RedisModelList(link).note("m", CARDS)
        ttl = await link.command("TTL", link.keys.of("m", "models"))
        assert KEPT - 60 < ttl <= KEPT
    async with opened_link(prefix="models") as link:
        assert (await RedisModelList(link).last(["m"]))["m"] == CARDS


@pytest.mark.parametrize("odd", ["[1]", "no json", '{"data": 3}', '{"data": [{"id": 1}]}'])
async def test_what_a_newer_version_has_noted_is_passed_over(odd: str) -> None:
    async with opened_link() as link:
        await link.command("SET", link.keys.of("m", "models"), odd)

        assert (await RedisModelList(link).last(["m"]))["m"] == ()


async def test_a_store_that_is_away_is_said_to_be() -> None:
    with redis_server() as server:
        async with opened_link(server.url) as link:
            notes = RedisModelList(link)
            server.kill()
            for asked in (notes.note("m", CARDS), notes.last(["m"])):
                with pytest.raises(StoreUnavailable):
                    await asked
