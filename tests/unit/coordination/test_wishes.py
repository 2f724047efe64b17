"""Asking a leader that does not answer, and a store that is away, in virtual time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.coordination.base import NoLeader, Outcome
from activator.coordination.shared_memory import SharedMemory
from activator.coordination.wish_talk import Activated, Answered, Asked, Ordered, decode, encode
from activator.coordination.wishes import ANSWERED_WITHIN, ASK_AGAIN, REMEMBERED, SharedWishes
from activator.core.standing import Standing
from activator.errors import StoreUnavailable
from tests.faults import Faulty, failures
from tests.sharing import Obedient
from tests.slicing import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from activator.coordination.wish_talk import Said

pytestmark = pytest.mark.looptime


@asynccontextmanager
async def opened(
    memory: SharedMemory, me: str = "me", *, leading: Callable[[], bool] = lambda: False
) -> AsyncIterator[SharedWishes]:
    wishes = SharedWishes(memory.wishes, me, leading=leading)
    await wishes.open()
    yield wishes
    await wishes.aclose()


async def test_without_a_leader_nothing_is_known_to_be_taken() -> None:
    async with opened(SharedMemory()) as wishes:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoLeader):
            await wishes.deactivate("m", force=False)

        assert asyncio.get_running_loop().time() - began == pytest.approx(ANSWERED_WITHIN)


async def test_whoever_leads_meanwhile_is_asked_again() -> None:
    leading = False
    memory = SharedMemory()
    async with opened(memory) as asked, opened(memory, "new", leading=lambda: leading) as new:
        subject = Obedient()
        new.join("m", subject)
        asking = asyncio.get_running_loop().create_task(asked.deactivate("m", force=False))
        await asyncio.sleep(ASK_AGAIN / 2)
        leading = True

        assert await asking == Outcome(done=True)
        assert subject.told == ["stay down", "deactivate"]


async def test_an_answer_that_was_lost_is_given_again_and_nothing_done_twice() -> None:
    memory = SharedMemory()
    async with opened(memory, leading=lambda: True) as leader:
        subject = Obedient()
        leader.join("m", subject)
        heard: list[Said] = []
        memory.wishes.listen(heard.append, lambda: None)
        for _ in range(2):
            await memory.wishes.say(Asked("q", "m", force=False))
            await asyncio.sleep(0.1)

        answers = [each for each in heard if isinstance(each, Answered)]
        assert answers == [Answered("q", Outcome(done=True))] * 2
        assert subject.told == ["deactivate"]


async def test_a_leader_that_is_at_it_is_asked_again_in_vain() -> None:
    class Slow(Obedient):
        async def deactivate(self, *, force: bool) -> Outcome:
            await asyncio.sleep(3.5 * ASK_AGAIN)
            return await super().deactivate(force=force)

    async with opened(SharedMemory(), leading=lambda: True) as leader:
        subject = Slow()
        leader.join("m", subject)

        assert await leader.deactivate("m", force=False) == Outcome(done=True)
        assert subject.told == ["deactivate"]


async def test_what_was_asked_is_not_remembered_for_ever() -> None:
    async with opened(SharedMemory(), leading=lambda: True) as leader:
        leader.join("m", Obedient())
        for _ in range(REMEMBERED + 10):
            await leader.deactivate("m", force=False)

        assert len(leader._taken) == REMEMBERED


async def test_while_the_store_is_away_orders_are_refused_and_a_pause_stays() -> None:
    memory = SharedMemory()
    async with opened(memory) as wishes:
        subject = Obedient()
        wishes.join("m", subject)
        await wishes.pause("m", on=True)
        memory.away = True

        with pytest.raises(StoreUnavailable):
            await wishes.pause("m", on=False)
        with pytest.raises(StoreUnavailable):
            await wishes.deactivate("m", force=False)
        wishes.activated("m")
        await asyncio.sleep(100.0)

        assert subject.told == ["pause"]


async def test_who_starts_without_the_store_learns_of_a_pause_when_it_is_back() -> None:
    memory = SharedMemory()
    async with opened(memory) as one:
        await one.pause("m", on=True)
        memory.away = True
        async with opened(memory, "later") as later:
            subject = Obedient()
            later.join("m", subject)
            await asyncio.sleep(100.0)
            assert subject.told == []

            memory.away = False
            await asyncio.sleep(2.0)
            assert subject.told == ["pause"]


async def test_an_order_that_was_overtaken_changes_nothing() -> None:
    memory = SharedMemory()
    async with opened(memory) as wishes:
        subject = Obedient()
        wishes.join("m", subject)
        await wishes.pause("m", on=True)
        await wishes.pause("m", on=False)
        wishes._heard(Ordered("m", Standing(1, paused=True)))

        assert subject.told == ["pause", "resume"]


@pytest.mark.parametrize(
    "said",
    [
        Activated("m", "one"),
        Asked("q", "m", force=True),
        Answered("q", Outcome(refusal="ü")),
        Answered("q", Outcome(done=True)),
    ],
)
def test_what_is_called_out_is_understood(said: Activated | Asked | Answered) -> None:
    assert decode(encode(said)) == said


def test_a_pause_is_called_out_by_the_store() -> None:
    said = b'{"v":1,"k":"ordered","e":"m","n":"7","p":1}'

    assert decode(said) == Ordered("m", Standing(7, paused=True))


@pytest.mark.parametrize(
    "said", [b"", b"[]", b"{", b'{"v":2,"k":"asked"}', b'{"v":1,"k":"new"}', b'{"v":1,"k":"asked"}']
)
def test_what_is_not_understood_is_passed_over(said: bytes) -> None:
    assert decode(said) is None


async def test_pauses_are_met_again_after_a_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = SharedMemory()
    async with opened(memory) as one:
        subject = Obedient()
        one.join("m", subject)
        Faulty(monkeypatch, memory.wishes, "meet", times=2)
        async with opened(SharedMemory(), "other"):
            one._due.set()
            await memory.wishes.order("m", paused=True, known=0)
            await asyncio.sleep(1.0)

        assert failures(caplog) == ["wishes/meet"] * 2
        assert one._standing["m"].paused


async def test_pauses_of_thousands_are_met_a_few_in_each_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = SharedMemory()
    async with opened(memory) as one:
        names = [f"m{number}" for number in range(200)]
        subjects = {name: Obedient() for name in names}
        for name, subject in subjects.items():
            one.join(name, subject)
            memory.wishes.kept[name] = Standing(number=1, paused=True)
        with counted(monkeypatch) as turns:
            turns.step_with(monkeypatch, one, "_of")
            assert await one._meet()

        assert all(each.told == ["pause"] for each in subjects.values())
        assert turns.steps >= 2 * len(names)
        assert turns.longest <= 2
