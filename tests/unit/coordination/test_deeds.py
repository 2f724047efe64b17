"""Deeds of thousands of endpoints: how many are looked at together, and how often a holder."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.coordination.deeds import LOOK, LOOKS, SharedDeeds
from activator.core.deeds import Deed, Ordered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.coordination.base import Roster
    from activator.coordination.deeds import DeedStore

pytestmark = pytest.mark.looptime

MANY = 10 * LOOKS


class Store:
    """Endpoint → holder; looks wait until they may go on."""

    def __init__(self) -> None:
        self.looked: Counter[str] = Counter()
        self.looking = self.at_once = 0
        self.may_look = asyncio.Event()
        self.may_look.set()

    def listen(self, changed: Callable[[str, str], None], missed: Callable[[], None]) -> None:
        self.missed = missed

    async def look(self, endpoint: str) -> Deed:
        self.looked[endpoint] += 1
        self.looking += 1
        self.at_once = max(self.at_once, self.looking)
        await self.may_look.wait()
        await asyncio.sleep(0.001)
        self.looking -= 1
        return Deed(f"act-{len(endpoint) % 2}", term=1, where="{}")

    async def order(self, endpoint: str, act: str, **_: Any) -> tuple[Deed, Ordered]:
        return Deed("act-0", term=1, where="{}"), Ordered.TAKEN


class Peers:
    """A roster."""

    me = "me"

    def __init__(self) -> None:
        self.asked_about: list[str] = []
        self.gone: set[str] = set()

    def on_left(self, told: Callable[[str], None]) -> None: ...

    def on_forgotten(self, told: Callable[[], None]) -> None: ...

    def is_gone(self, act: str) -> bool:
        self.asked_about.append(act)
        return act in self.gone

    def silent_since(self, act: str) -> float | None:
        return None


class House:
    def __init__(self) -> None:
        self.store, self.peers = Store(), Peers()
        self.deeds = SharedDeeds(
            cast("DeedStore", self.store),
            cast("Roster", self.peers),
            clock=asyncio.get_running_loop().time,
            ended=lambda _: False,
        )
        self.of = [self.deeds.of("m" * (1 + number)) for number in range(MANY)]
        for each in self.of:
            each.follow(lambda: None)


@asynccontextmanager
async def opened() -> AsyncIterator[House]:
    house = House()
    house.deeds.open()
    try:
        yield house
    finally:
        await house.deeds.aclose()


async def test_all_are_looked_at_after_a_reconnection_some_at_a_time() -> None:
    async with opened() as house:
        await asyncio.sleep(LOOK / 2)
        house.store.missed()
        await asyncio.sleep(LOOK / 2)

        assert set(house.store.looked.values()) == {2}
        assert len(house.store.looked) == MANY
        assert house.store.at_once == LOOKS


async def test_an_order_does_not_wait_for_looks_that_are_still_to_come() -> None:
    async with opened() as house:
        house.store.may_look.clear()
        await asyncio.sleep(LOOK / 2)
        waiting = next(each for each in house.of if not each.is_known and not each._lock.locked())

        async with asyncio.timeout(LOOK / 4):
            taken = await waiting.order(wanted=1, victims=(), before=None, fence="")

        assert taken is Ordered.TAKEN
        assert house.store.looking == LOOKS
        house.store.may_look.set()


async def test_whether_a_holder_is_lost_is_asked_once_for_all_that_it_has() -> None:
    async with opened() as house:
        await asyncio.sleep(LOOK / 2)
        house.peers.asked_about.clear()
        house.peers.gone = {"act-1"}
        await asyncio.sleep(LOOK)

        assert sorted(house.peers.asked_about) == ["act-0", "act-1"]
        lost = [each for each in house.of if each.is_lost]
        assert len(lost) == MANY / 2
        assert {each.deed.holder for each in lost} == {"act-1"}
