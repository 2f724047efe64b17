"""What every Roster promises, whichever it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory import MemoryRoster
from activator.coordination.whereabouts import has_ended
from tests.faults import Faulty, failures
from tests.sharing import BEAT, KINDS, SILENCE, hall, kill
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import Roster
    from tests.sharing import Hall


@pytest.fixture(params=KINDS)
async def h(request: pytest.FixtureRequest) -> AsyncIterator[Hall]:
    async with hall(request.param) as opened:
        yield opened


class Ear:
    """What a roster told."""

    def __init__(self, roster: Roster) -> None:
        self.heard: list[tuple[str, str]] = []
        roster.on_joined(lambda act: self.heard.append(("joined", act)))
        roster.on_silent(lambda act: self.heard.append(("silent", act)))
        roster.on_left(lambda act: self.heard.append(("left", act)))
        roster.on_forgotten(lambda: self.heard.append(("forgotten", "")))


def test_alone_it_is_the_only_member() -> None:
    roster: Roster = MemoryRoster()

    assert roster.members == {roster.me}
    assert roster.unknown == frozenset()
    assert not roster.is_gone(roster.me)


async def test_names_are_new_and_hard_to_guess(h: Hall) -> None:
    names = {(await h.roster()).me for _ in range(5)}

    assert len(names) == 5
    assert all(len(bytes.fromhex(name)) >= 8 for name in names)


async def test_one_that_starts_while_the_store_is_away_knows_that_it_knows_nobody(h: Hall) -> None:
    if h.memory is None:
        pytest.skip("shown over processes: a Redis that was never reached")
    h.memory.away = True
    roster = await h.roster()
    told: list[frozenset[str]] = []
    roster.on_acquainted(lambda: told.append(roster.members))
    await eventually(lambda: h.memory and h.memory.refused > 5)
    assert not roster.is_acquainted
    h.memory.away = False
    other = await h.roster()

    await eventually(lambda: told)

    assert roster.is_acquainted
    assert told == [{roster.me, other.me}]


async def test_everybody_knows_everybody(h: Hall) -> None:
    rosters = [await h.roster() for _ in range(3)]
    names = {roster.me for roster in rosters}

    for roster in rosters:
        await eventually(lambda roster=roster: roster.members == names)  # type: ignore[misc]
        assert not any(roster.is_gone(name) for name in names)


async def test_one_that_comes_later_is_told(h: Hall) -> None:
    one = await h.roster()
    ear = Ear(one)
    other = await h.roster()

    await eventually(lambda: ear.heard == [("joined", other.me)])


async def test_one_that_signs_off_has_left_and_is_gone(h: Hall) -> None:
    one, other = await h.roster(), await h.roster()
    await eventually(lambda: other.me in one.members)
    ear = Ear(one)

    await other.aclose()

    await eventually(lambda: ear.heard == [("left", other.me)])
    assert one.members == {one.me}
    assert one.is_gone(other.me)


async def test_one_that_only_stops_is_silent_after_a_while_and_may_exist(h: Hall) -> None:
    one, other = await h.roster(), await h.roster()
    await eventually(lambda: other.me in one.members)
    ear = Ear(one)

    await kill(other)
    stopped = one._clock()
    number = one._number
    await eventually(lambda: one._number >= number + 2)  # it has looked, however late
    looked = one._clock()
    await eventually(lambda: ear.heard == [("silent", other.me)])

    assert one._clock() - stopped >= SILENCE - 2 * BEAT
    assert one.unknown == {other.me}
    assert one.members == {one.me}
    assert not one.is_gone(other.me)
    since = one.silent_since(other.me)
    assert since is not None
    assert since <= looked


async def test_one_that_goes_on_is_back(h: Hall) -> None:
    one, other = await h.roster(), await h.roster()
    await eventually(lambda: other.me in one.members)
    await kill(other)
    await eventually(lambda: one.unknown)
    ear = Ear(one)

    await other.open()

    await eventually(lambda: ear.heard == [("joined", other.me)])
    assert one.unknown == frozenset()
    assert one.silent_since(other.me) is None


async def test_one_that_is_silent_and_seen_to_have_ended_has_left(h: Hall) -> None:
    one = await h.roster(ended=lambda record: record["pid"] != 0)
    other = await h.roster()
    await eventually(lambda: other.me in one.members)
    ear = Ear(one)

    await kill(other)

    await eventually(lambda: ear.heard == [("silent", other.me), ("left", other.me)])
    assert one.is_gone(other.me)
    third = await h.roster()
    assert other.me not in third.members | third.unknown


async def test_one_that_runs_on_this_machine_is_not_taken_for_ended(h: Hall) -> None:
    one, other = await h.roster(ended=has_ended), await h.roster()
    await eventually(lambda: other.me in one.members)

    await kill(other)
    await eventually(lambda: one.unknown == {other.me})
    number = one._number
    await eventually(lambda: one._number >= number + 3)  # and it has looked again

    assert one.unknown == {other.me}


async def test_nobody_knows_is_not_gone_at_once(h: Hall) -> None:
    one = await h.roster()

    assert not one.is_gone("somebody")
    await eventually(lambda: one.is_gone("somebody"))


async def test_one_that_the_others_have_buried_is_told_that_it_was_forgotten(h: Hall) -> None:
    one = await h.roster(ended=lambda _: True)
    other = await h.roster()
    await eventually(lambda: other.me in one.members)
    ear = Ear(other)
    await kill(other)
    await eventually(lambda: one.is_gone(other.me))

    await other.open()

    await eventually(lambda: ("forgotten", "") in ear.heard)
    await eventually(lambda: other.me in one.members)


async def test_a_listener_that_fails_keeps_nobody_from_hearing_and_nobody_from_beating(
    h: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    one = await h.roster()

    def broken(_act: str) -> None:
        raise RuntimeError("a bug")

    one.on_joined(broken)
    ear = Ear(one)
    other = await h.roster()

    await eventually(lambda: ear.heard == [("joined", other.me)])
    await asyncio.sleep(2 * SILENCE)
    assert one.me in other.members
    assert failures(caplog) == ["roster/listener"]


async def test_one_that_meets_a_fault_of_its_own_with_each_beat_is_not_taken_for_silent(
    h: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await h.roster(), await h.roster()
    await eventually(lambda: other.members == {one.me, other.me})
    Faulty(monkeypatch, one, "_bury", times=1000)
    await asyncio.sleep(3 * SILENCE)

    assert other.members == {one.me, other.me}


async def test_one_that_could_not_look_for_a_fault_of_its_own_takes_nobody_for_gone(
    h: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await h.roster()
    assert not one.is_gone("somebody")
    faulty = Faulty(monkeypatch, one._store, "beat", times=1000)
    await eventually(lambda: faulty.failed >= 2)
    await asyncio.sleep(2 * SILENCE)

    assert not one.is_gone("somebody")  # it may have come meanwhile
