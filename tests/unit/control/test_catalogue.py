"""What replicas said of their models, noted and read back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.control.catalogue import Catalogue
from activator.control.keeper import EVERY
from activator.coordination.memory_models import MemoryModelList
from activator.core.catalogue import ModelCard
from activator.core.endpoint import Dialect, Replica
from activator.errors import StoreUnavailable
from tests.unit.control.house import endpoint, house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.upstream.registry import LiveEndpoint

pytestmark = pytest.mark.looptime

REPLICA = Replica("m-1", "127.0.0.1", 1)
OLD, NEW = ModelCard("llama", context=1024), ModelCard("llama", context=4096)


class Notes(MemoryModelList):
    """That of several, which may be away."""

    away = False
    writes = 0

    async def note(self, endpoint: str, cards: Sequence[ModelCard]) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")
        self.writes += 1
        await super().note(endpoint, cards)

    async def kept(self) -> tuple[ModelCard, ...]:
        return (await self.last(["m"]))["m"]


class Says:
    """Every replica serves this model."""

    card = OLD

    async def fetch(self, replica: Replica, path: str) -> bytes | None:
        row = {"id": self.card.id, "max_model_len": self.card.context}
        return json.dumps({"data": [row]}).encode()


@contextlib.asynccontextmanager
async def catalogue(
    notes: Notes, *, leading: bool = True
) -> AsyncIterator[tuple[LiveEndpoint, Says]]:
    async with house(replace(endpoint(), dialect=Dialect.OPENAI)) as h:
        says = Says()
        made = Catalogue(says)
        live = h.registry["m"]
        made.follow(live)
        made.start(notes, lives=lambda: h.registry, leading=lambda: leading)
        try:
            yield live, says
        finally:
            await made.aclose()


async def test_what_was_noted_is_known_until_a_replica_says_otherwise() -> None:
    notes = Notes()
    await notes.note("m", [OLD])
    async with catalogue(notes) as (live, says):
        await asyncio.sleep(0.01)
        assert live.models == (OLD,)

        says.card = NEW
        live.arrived(REPLICA)
        await asyncio.sleep(EVERY)
        assert live.models == await notes.kept() == (NEW,)


async def test_it_is_noted_once_for_each_replica_that_has_told_it() -> None:
    notes = Notes()
    async with catalogue(notes) as (live, _):
        for _ in range(2):
            live.arrived(REPLICA)
            await asyncio.sleep(5 * EVERY)
    assert notes.writes == 2


async def test_of_several_one_notes_it() -> None:
    notes = Notes()
    async with catalogue(notes, leading=False) as (live, _):
        live.arrived(REPLICA)
        await asyncio.sleep(2 * EVERY)
    assert notes.writes == 0


async def test_what_was_told_last_is_noted_at_the_end_or_when_the_store_is_back() -> None:
    notes = Notes()
    async with catalogue(notes) as (live, says):
        await asyncio.sleep(0.01)
        notes.away = True
        live.arrived(REPLICA)
        await asyncio.sleep(2 * EVERY)
        assert await notes.kept() == ()
        notes.away = False
        await asyncio.sleep(EVERY)
        assert await notes.kept() == (OLD,)

        says.card = NEW
        live.arrived(REPLICA)
        await asyncio.sleep(0.01)
    assert await notes.kept() == (NEW,)
