"""Deeds of thousands of endpoints: which are looked at together, when, and how often a holder."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.aiokit import tasks
from activator.aiokit.pace import AT_ONCE
from activator.coordination.deed_reader import AGAIN, TOGETHER
from activator.coordination.deeds import LOOK, SharedDeeds
from activator.core.deeds import Deed, Ordered
from activator.errors import StoreUnavailable
from tests.slicing import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from activator.coordination.base import Roster
    from activator.coordination.deeds import DeedStore

pytestmark = pytest.mark.looptime

MANY = 10 * TOGETHER


class Store:
    """Endpoint → holder; looks wait until they may go on."""

    def __init__(self) -> None:
        self.looked: Counter[str] = Counter()
        self.questions: list[int] = []
        """How many endpoints each was about."""
        self.looking = self.at_once = 0
        self.may_look = asyncio.Event()
        self.may_look.set()
        self.may_order = asyncio.Event()
        self.may_order.set()
        self.is_away = False
        self.term = 1
        self.odd: dict[str, Exception] = {}

    def listen(self, changed: Callable[[str, str], None], missed: Callable[[], None]) -> None:
        self.changed, self.missed = changed, missed

    async def look(self, endpoints: Sequence[str]) -> Sequence[Deed | Exception]:
        self.looked.update(endpoints)
        self.questions.append(len(endpoints))
        self.looking += 1
        self.at_once = max(self.at_once, self.looking)
        await self.may_look.wait()
        await asyncio.sleep(0.001)
        self.looking -= 1
        if self.is_away:
            raise StoreUnavailable("away")
        return [
            self.odd.get(each) or Deed(f"act-{len(each) % 2}", term=self.term, where="{}")
            for each in endpoints
        ]

    async def order(self, endpoint: str, act: str, **_: Any) -> tuple[Deed, Ordered]:
        answer = Deed("act-0", term=self.term, where="{}"), Ordered.TAKEN
        await self.may_order.wait()
        return answer


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
        self.unfollow = [each.follow(lambda: None) for each in self.of]


@asynccontextmanager
async def unopened() -> AsyncIterator[House]:
    """Nothing has been asked yet."""
    house = House()
    try:
        yield house
    finally:
        await house.deeds.aclose()


@asynccontextmanager
async def opened() -> AsyncIterator[House]:
    async with unopened() as house:
        house.deeds.open()
        yield house


async def test_all_are_looked_at_after_a_reconnection_many_in_one_question() -> None:
    async with opened() as house:
        await asyncio.sleep(LOOK / 2)
        house.store.missed()
        await asyncio.sleep(LOOK / 2)

        assert set(house.store.looked.values()) == {2}
        assert len(house.store.looked) == MANY
        assert house.store.questions == [TOGETHER] * (2 * MANY // TOGETHER)
        assert house.store.at_once == 1


async def test_an_order_does_not_wait_for_looks_that_are_still_to_come() -> None:
    async with opened() as house:
        house.store.may_look.clear()
        await asyncio.sleep(LOOK / 2)
        waiting = next(each for each in house.of if not each.is_known and not each.lock.locked())

        async with asyncio.timeout(LOOK / 4):
            taken = await waiting.order(wanted=1, victims=(), before=None, fence="")

        assert taken is Ordered.TAKEN
        assert house.store.looking == 1
        house.store.may_look.set()


async def test_one_about_which_is_asked_is_looked_at_after_the_answer_and_holds_up_no_other() -> (
    None
):
    async with opened() as house:
        await asyncio.sleep(LOOK / 2)
        one, *others = house.of
        house.store.may_order.clear()
        ordering = asyncio.ensure_future(  # noqa: TID251 - what a test waits for
            one.order(wanted=1, victims=(), before=None, fence="")
        )
        await asyncio.sleep(0)
        house.store.term = 2
        house.store.missed()
        house.store.changed("act-0", one.endpoint)
        await asyncio.sleep(LOOK / 2)
        assert {each.deed.term for each in others} == {2}
        assert house.store.looked[one.endpoint] == 1

        house.store.may_order.set()
        await ordering
        await asyncio.sleep(LOOK / 2)

        assert one.deed.term == 2  # and not what was answered to the older question
        assert house.store.looked[one.endpoint] == 2


async def test_while_the_store_is_away_nobody_waits_in_line_to_learn_it() -> None:
    async with unopened() as house:
        house.store.is_away = True
        house.deeds.open()
        await asyncio.sleep(LOOK / 2)
        assert all(each.is_known for each in house.of)
        assert len(house.store.questions) == 1

        house.store.is_away = False
        await asyncio.sleep(AGAIN + LOOK)
        assert {each.deed.term for each in house.of} == {1}


async def test_one_that_cannot_be_read_is_told_of_and_read_again_and_the_others_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with unopened() as house:
        odd, away, *others = house.of
        house.store.odd = {
            odd.endpoint: ValueError("nobody has written it"),
            away.endpoint: StoreUnavailable("moving"),
        }
        house.deeds.open()
        await asyncio.sleep(tasks.AGAIN.first / 2)
        assert {each.deed.term for each in others} == {1}
        assert (odd.deed.term, odd.is_known) == (0, False)
        assert (away.deed.term, away.is_known) == (0, True)
        assert [record.message for record in caplog.records] == ["task failed"]

        house.store.odd.clear()
        await asyncio.sleep(AGAIN + LOOK)
        assert (odd.deed.term, away.deed.term) == (1, 1)


async def test_one_that_nobody_follows_any_more_is_not_looked_at() -> None:
    async with opened() as house:
        await asyncio.sleep(LOOK / 2)
        house.unfollow[0]()
        house.store.missed()
        house.of[0].look()
        await asyncio.sleep(LOOK / 2)

        assert house.store.looked[house.of[0].endpoint] == 1
        assert house.store.looked[house.of[1].endpoint] == 2


async def test_that_this_activator_is_about_to_end_is_told_to_a_few_at_a_time() -> None:
    async with unopened() as house:
        turns = Turns()
        for each in house.of:
            each.follow(turns.step)
        with turns.counted():
            house.deeds.leave()
            assert all(each.is_leaving for each in house.of)
            for _ in range(MANY):
                await asyncio.sleep(0)

        assert turns.steps >= MANY
        assert turns.longest <= AT_ONCE


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


@pytest.mark.parametrize("are_followed", [False, True])
async def test_what_is_heard_after_the_end_starts_nothing(*, are_followed: bool) -> None:
    async with opened() as h:
        await asyncio.sleep(0.5)
    if not are_followed:
        for end in h.unfollow:
            end()
    looked = h.store.looked.total()

    h.store.missed()
    h.of[0].look()

    assert not len(h.deeds.tasks)
    for end in h.unfollow if are_followed else ():
        end()
    assert h.store.looked.total() == looked
