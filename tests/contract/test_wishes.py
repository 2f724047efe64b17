"""What every Wishes promises, whichever it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.coordination.base import Outcome
from activator.coordination.memory_wishes import MemoryWishes
from tests.sharing import KINDS, Obedient, hall
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import Wishes
    from tests.sharing import Hall


@pytest.fixture(params=KINDS)
async def h(request: pytest.FixtureRequest) -> AsyncIterator[Hall]:
    async with hall(request.param) as opened:
        yield opened


def joined(wishes: Wishes, outcome: Outcome | None = None) -> Obedient:
    subject = Obedient(outcome or Outcome(done=True))
    wishes.join("m", subject)
    return subject


# alone


async def test_alone_a_pause_holds_until_it_is_lifted() -> None:
    wishes: Wishes = MemoryWishes()
    subject = joined(wishes)

    for on in (True, True, False, False):
        await wishes.pause("m", on=on)

    assert subject.told == ["pause", "resume"]


async def test_alone_a_pause_outlives_whoever_has_joined() -> None:
    wishes: Wishes = MemoryWishes()
    joined(wishes)
    await wishes.pause("m", on=True)
    wishes.leave("m")

    assert joined(wishes).told == ["pause"]


async def test_alone_one_deactivates_itself() -> None:
    wishes: Wishes = MemoryWishes()
    subject = joined(wishes, Outcome(refusal="there is a demand of 1"))
    wishes.activated("m")

    assert await wishes.deactivate("m", force=True) == Outcome(refusal="there is a demand of 1")
    assert subject.told == ["force"]


# several


async def test_a_pause_holds_for_all_whichever_was_asked_and_so_does_lifting_it(h: Hall) -> None:
    one, other = await h.wishes("one"), await h.wishes("other")
    subjects = [joined(one), joined(other)]

    await one.pause("m", on=True)

    assert subjects[0].told == ["pause"]
    await eventually(lambda: subjects[1].told == ["pause"])

    await other.pause("m", on=False)

    assert subjects[1].told == ["pause", "resume"]
    await eventually(lambda: subjects[0].told == ["pause", "resume"])


async def test_one_that_starts_later_knows_before_its_first_request(h: Hall) -> None:
    one = await h.wishes("one")
    await one.pause("m", on=True)
    await one.pause("other", on=True)
    await one.pause("other", on=False)
    await one.aclose()  # it outlives whoever was asked

    later = await h.wishes("later")

    assert joined(later).told == ["pause"]
    unpaused = Obedient()
    later.join("other", unpaused)
    assert unpaused.told == []


async def test_saying_it_twice_changes_nothing(h: Hall) -> None:
    one, other = await h.wishes("one"), await h.wishes("other")
    subject = joined(other)
    for on, told in ((True, ["pause"]), (False, ["pause", "resume"])):
        for _ in range(2):
            await one.pause("m", on=on)
        await eventually(lambda told=told: subject.told == told)  # type: ignore[misc]

    await one.pause("m", on=True)
    await eventually(lambda: subject.told == ["pause", "resume", "pause"])


async def test_who_has_left_is_told_nothing(h: Hall) -> None:
    one, other = await h.wishes("one"), await h.wishes("other")
    gone, stays = joined(one), Obedient()
    other.join("m", stays)
    one.leave("m")

    await other.pause("m", on=True)

    assert stays.told == ["pause"]
    assert gone.told == []
    assert joined(one).told in ([], ["pause"])  # by when it has heard of it


async def test_a_store_that_has_forgotten_is_told_again_by_whoever_remembers(h: Hall) -> None:
    one = await h.wishes("one")
    joined(one)
    await one.pause("m", on=True)
    await h.forget_wishes()

    one._due.set()  # as after every reconnection
    await eventually(lambda: not one._due.is_set())
    other = await h.wishes("other")
    subject = joined(other)

    await eventually(lambda: subject.told == ["pause"])


async def test_an_order_to_a_store_that_has_forgotten_is_later_than_what_is_remembered(
    h: Hall,
) -> None:
    one = await h.wishes("one")
    subject = joined(one)
    await one.pause("m", on=True)
    await h.forget_wishes()
    await asyncio.sleep(0.005)  # its clock counts milliseconds

    other = await h.wishes("other")
    await other.pause("m", on=False)

    await eventually(lambda: subject.told == ["pause", "resume"])


async def test_only_the_leader_deactivates_and_whoever_was_asked_hears_how_it_ended(
    h: Hall,
) -> None:
    outcome = Outcome(refusal="another activator is not quiet")
    asked, leader = await h.wishes("asked"), await h.wishes("leader", leading=True)
    follows, leads = joined(asked), joined(leader, outcome)

    assert await asked.deactivate("m", force=False) == outcome
    assert leads.told == ["deactivate"]
    assert follows.told == ["stay down"]


async def test_the_leader_may_be_asked_itself(h: Hall) -> None:
    leader = await h.wishes("leader", leading=True)
    subject = joined(leader)

    assert await leader.deactivate("m", force=True) == Outcome(done=True)
    assert subject.told == ["force"]


async def test_what_the_leader_does_not_have_it_cannot_deactivate(h: Hall) -> None:
    asked, _ = await h.wishes("asked"), await h.wishes("leader", leading=True)
    joined(asked)

    outcome = await asked.deactivate("m", force=False)

    assert "does not have this endpoint" in outcome.refusal


async def test_activating_is_activity_for_all_the_others(h: Hall) -> None:
    one, other = await h.wishes("one"), await h.wishes("other")
    here, there = joined(one), joined(other)

    one.activated("m")

    await eventually(lambda: there.told == ["touch"])
    assert here.told == []
