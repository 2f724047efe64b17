"""What the demand boards of several activators promise together, in memory and over Redis."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from activator.coordination import asking, shares, words
from activator.coordination.base import Share
from tests.sharing import KINDS, SILENCE, Activator, hall, kill
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.board import SharedBoard
    from activator.coordination.roster import SharedRoster
    from tests.sharing import Hall


class Seat:
    """One activator with an endpoint `m`."""

    def __init__(self, roster: SharedRoster, board: SharedBoard) -> None:
        self.roster = roster
        self.board = board
        self.member = Activator()
        self.overruled: list[tuple[str, str]] = []

    async def open(self) -> Seat:
        self.board.join("m", self.member)
        await eventually(lambda: not self.member.holds_back)
        return self

    async def silence(self) -> None:
        """It stands still: it neither beats nor hears anything."""
        await kill(self.roster)
        deafen(self.board)


def deafen(board: SharedBoard) -> None:
    """It hears no question any more."""
    board._words.declared = lambda said: None  # type: ignore[method-assign]


async def joined(board: SharedBoard) -> None:
    """The store has said what is being drained."""
    await eventually(lambda: board._words._seats["m"].joined)


class Seats:
    def __init__(self, h: Hall) -> None:
        self.h = h

    async def make(self) -> Seat:
        roster = await self.h.roster()
        overruled: list[tuple[str, str]] = []
        board = await self.h.board(roster, overruled=lambda e, act: overruled.append((e, act)))
        seat = Seat(roster, board)
        seat.overruled = overruled
        return await seat.open()

    async def several(self, count: int) -> list[Seat]:
        made = [await self.make() for _ in range(count)]
        names = {seat.roster.me for seat in made}
        await eventually(lambda: all(seat.roster.members == names for seat in made))
        return made


@pytest.fixture(params=KINDS)
async def seats(request: pytest.FixtureRequest) -> AsyncIterator[Seats]:
    async with hall(request.param) as h:
        yield Seats(h)


# shares


async def test_demand_is_that_of_all_together(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.arrive(3)
    other.member.held = 2
    other.member.loads = {"m-1": 2}
    other.member.arrive(4)

    await eventually(lambda: one.board.demand("m") == other.board.demand("m") == 7)
    assert one.board.elsewhere("m") == Share(4, 2, 20, {"m-1": 2})
    one.member.demand = 0
    await eventually(lambda: other.board.demand("m") == 4)


async def test_the_first_request_is_told_at_once(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    for regularly in ("EVERY", "AGAIN"):
        monkeypatch.setattr(shares, regularly, 3600.0)
    one, other = await seats.several(2)
    before = other.member.changes

    one.member.arrive()

    await eventually(lambda: other.board.demand("m"))
    assert other.member.changes > before


async def test_the_last_end_is_the_latest_anywhere(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.arrive()
    ended = time.monotonic() - 5.0
    one.member.last_ended, one.member.demand = ended, 0

    await eventually(lambda: other.board.last_ended("m") > 0)
    assert other.board.last_ended("m") == pytest.approx(ended, abs=0.2)


async def test_one_that_comes_later_learns_what_there_is(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.arrive(3)
    await eventually(lambda: other.board.demand("m") == 3)

    late = await seats.make()

    await eventually(lambda: late.board.demand("m") == 3)


async def test_what_an_activator_had_goes_with_it(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.arrive(3)
    await eventually(lambda: other.board.demand("m") == 3)

    await one.roster.aclose()

    await eventually(lambda: other.board.demand("m") == 0)


async def test_what_a_silent_one_has_counts_no_more_until_it_is_back(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.arrive(3)
    await eventually(lambda: other.board.demand("m") == 3)

    await kill(one.roster)
    await eventually(lambda: other.board.demand("m") == 0)
    await one.roster.open()

    await eventually(lambda: other.board.demand("m") == 3)


# words


async def test_with_nothing_anywhere_all_hold_back_what_comes(seats: Seats) -> None:
    made = await seats.several(3)

    assert await made[0].board.ask_quiet("m")

    assert all(seat.member.holds_back for seat in made)
    assert await made[0].board.agree("m")


async def test_with_something_anywhere_nobody_holds_anything_back(seats: Seats) -> None:
    made = await seats.several(3)
    made[2].member.demand = 1  # nobody has been told yet

    assert not await made[0].board.ask_quiet("m")

    await eventually(lambda: not any(seat.member.holds_back for seat in made))
    assert not await made[0].board.agree("m")
    assert sum(seat.member.revivals for seat in made) == 0


async def test_a_request_before_all_have_agreed_ends_it(seats: Seats) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")

    other.member.arrive()
    await eventually(lambda: not other.member.holds_back)

    assert other.member.revivals == 1
    assert not await one.board.agree("m")
    one.board.conclude("m", ordered=False)
    await eventually(lambda: not one.member.holds_back)
    assert one.member.revivals == 0


async def test_a_request_after_all_have_agreed_makes_the_order_void_before_it_goes_on(
    seats: Seats,
) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    other.member.can_mark = False

    other.member.arrive()
    await eventually(lambda: other.member.asked_to_mark >= 2)  # and again, after a while
    assert other.member.holds_back
    other.member.can_mark = True

    await eventually(lambda: not other.member.holds_back)
    assert other.member.revivals == 1


async def test_one_that_left_its_client_again_takes_nothing_back(seats: Seats) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    other.member.can_mark = False
    other.member.arrive()
    await eventually(lambda: other.member.asked_to_mark)
    other.member.demand = 0
    other.member.can_mark = True
    await eventually(lambda: not other.board._words._lasting)

    assert other.member.holds_back
    assert other.member.revivals == 0


async def test_a_word_is_kept_however_long_its_asker_is_away(seats: Seats) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    await one.silence()
    await eventually(lambda: other.roster.unknown)

    assert other.member.holds_back
    other.member.arrive()

    await eventually(lambda: not other.member.holds_back)
    assert other.member.revivals == 1


async def test_after_the_order_a_word_is_kept_until_the_replicas_are_seen_to_go(
    seats: Seats,
) -> None:
    one, other = await seats.several(2)
    other.board.saw("m", fence="7", empty=False)
    assert await one.board.ask_quiet("m", fence="7")
    assert await one.board.agree("m")
    one.board.conclude("m", ordered=True)
    await eventually(lambda: not one.member.holds_back)
    other.board.saw("m", fence="7", empty=False)
    assert other.member.holds_back

    other.board.saw("m", fence="8", empty=True)

    assert not other.member.holds_back
    assert other.member.revivals == 0


@pytest.mark.parametrize("sees_it_later", [False, True], ids=["never", "later"])
async def test_none_wanted_before_the_fence_of_the_order_was_seen_may_be_old(
    seats: Seats, sees_it_later: bool
) -> None:
    one, other = await seats.several(2)
    other.board.saw("m", fence="5", empty=False)
    assert await one.board.ask_quiet("m", fence="7")

    other.board.saw("m", fence="6", empty=True)
    assert other.member.holds_back
    if sees_it_later:
        other.board.saw("m", fence="7", empty=False)
    other.board.saw("m", fence="8", empty=True)

    assert other.member.holds_back is not sees_it_later


async def test_the_end_of_one_order_does_not_end_what_an_earlier_word_was_given_for(
    seats: Seats,
) -> None:
    one, other, third = await seats.several(3)
    other.board.saw("m", fence="5", empty=False)
    assert await one.board.ask_quiet("m", fence="7")
    assert await third.board.ask_quiet("m", fence="5")

    other.board.saw("m", fence="6", empty=True)

    assert other.member.holds_back


async def test_a_word_to_one_leader_is_not_released_by_another(seats: Seats) -> None:
    paused, leader, third = await seats.several(3)
    assert await paused.board.ask_quiet("m")
    assert await paused.board.agree("m")
    await paused.silence()
    await eventually(lambda: leader.roster.unknown)
    assert not await leader.board.ask_quiet("m")

    third.member.arrive()

    await eventually(lambda: not third.member.holds_back)
    assert third.member.revivals == 1


async def test_a_word_to_one_leader_outlives_anothers_question_and_a_new_connection(
    seats: Seats,
) -> None:
    one, other, third = await seats.several(3)
    assert await one.board.ask_quiet("m")
    assert await third.board.ask_quiet("m")
    third.board.revive("m")
    await eventually(lambda: not third.board._tasks)
    await asyncio.sleep(0.05)

    other.board._missed()
    await joined(other.board)

    assert other.member.holds_back
    other.member.arrive()
    await eventually(lambda: not other.member.holds_back)
    assert other.member.revivals == 1


async def test_an_asker_with_a_lower_term_is_refused(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.board._asking._term = lambda: 7
    assert await one.board.ask_quiet("m")
    one.board.revive("m")

    assert not await other.board.ask_quiet("m")


async def test_one_that_joins_while_all_are_asked_is_asked_too(seats: Seats) -> None:
    one = await seats.make()
    assert await one.board.ask_quiet("m")

    roster = await seats.h.roster()
    board = await seats.h.board(roster)
    late = Activator()
    board.join("m", late)
    await joined(board)

    assert late.holds_back
    late.arrive()
    await eventually(lambda: not late.holds_back)
    assert not await one.board.agree("m")


async def test_one_that_joins_after_all_have_agreed_takes_nothing_for_granted(
    seats: Seats,
) -> None:
    one = await seats.make()
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    board = await seats.h.board(await seats.h.roster())
    late = Activator()
    board.join("m", late)
    await joined(board)
    assert late.holds_back

    late.arrive()

    await eventually(lambda: not late.holds_back)
    assert late.revivals == 1


@pytest.mark.parametrize("leader_asks", [False, True], ids=["a request", "another leader"])
async def test_one_that_joins_while_others_could_not_make_the_order_void_yet(
    seats: Seats, leader_asks: bool
) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    other.member.can_mark = False
    if leader_asks:
        assert not await other.board.ask_quiet("m")
    else:
        other.member.arrive()
        await eventually(lambda: other.member.asked_to_mark >= 2)
    board = await seats.h.board(await seats.h.roster())
    late = Activator()
    board.join("m", late)
    await eventually(lambda: board._words._seats["m"].joined)
    assert late.holds_back

    late.arrive()

    await eventually(lambda: not late.holds_back)
    assert late.revivals == 1


async def test_whoever_leads_next_makes_the_last_ones_order_void_before_it_asks(
    seats: Seats,
) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")

    assert not await other.board.ask_quiet("m")

    assert other.member.revivals == 1
    assert await other.board.ask_quiet("m")


async def test_once_the_order_is_void_nothing_is_held_back_from_whoever_joins(
    seats: Seats,
) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    other.member.arrive()
    await eventually(lambda: not other.member.holds_back)

    late = await seats.make()

    assert late.member.revivals == 0


async def test_one_that_has_signed_off_need_not_answer(seats: Seats) -> None:
    one, other = await seats.several(2)
    other.board.leave("m")
    await eventually(lambda: not other.board._tasks)

    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")


async def test_one_that_was_seen_gone_need_not_answer(seats: Seats) -> None:
    one, other = await seats.several(2)
    await other.silence()
    await eventually(lambda: one.roster.unknown)
    one.roster._ended = lambda _: True
    await eventually(lambda: one.roster.is_gone(other.roster.me))

    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")


async def test_one_that_may_exist_keeps_replicas_up(seats: Seats) -> None:
    one, other = await seats.several(2)
    assert one.board.unsure_until("m") < 0
    changes = one.member.changes
    await other.silence()
    await eventually(lambda: one.roster.unknown)

    since = one.roster.silent_since(other.roster.me)
    assert since is not None
    assert one.board.unsure_until("m") == since + one.member.patience
    assert one.member.changes > changes
    assert not await one.board.ask_quiet("m")
    await eventually(lambda: not one.member.holds_back)
    assert one.overruled == []


async def test_one_that_may_exist_is_overruled_when_its_requests_must_have_ended(
    seats: Seats,
) -> None:
    one, other = await seats.several(2)
    one.member.patience = SILENCE + 0.2
    await other.silence()
    await eventually(lambda: one.roster.unknown)
    await eventually(lambda: one.board.unsure_until("m") < time.monotonic())

    assert await one.board.ask_quiet("m")
    assert one.overruled == [("m", other.roster.me)]
    assert await one.board.agree("m")


async def test_without_a_limit_in_time_it_is_never_overruled(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.patience = 0.0
    await other.silence()
    await eventually(lambda: one.roster.unknown)

    assert one.board.unsure_until("m") == float("inf")
    assert not await one.board.ask_quiet("m")


async def test_one_that_does_not_answer_in_time_has_not_given_its_word(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ANSWER_WITHIN", 0.2)
    one, other = await seats.several(2)
    deafen(other.board)

    assert not await one.board.ask_quiet("m")
    await eventually(lambda: not one.member.holds_back)


async def test_a_question_that_was_missed_is_asked_again(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "ASK_AGAIN", 0.1)
    one, other = await seats.several(2)
    hear, missed = other.board._words.declared, []

    def hear_late(said: object) -> None:
        missed.append(said)
        if len(missed) > 1:
            hear(said)  # type: ignore[arg-type]

    other.board._words.declared = hear_late  # type: ignore[method-assign]

    assert await one.board.ask_quiet("m")


# single replicas


async def test_single_replicas_are_given_up_where_nothing_is_at_them(seats: Seats) -> None:
    one, other = await seats.several(2)
    one.member.arrive(5)
    other.member.loads = {"m-1": 3}
    other.member.arrive(3)

    assert await one.board.ask_quiet("m", ("m-2",))
    assert await one.board.agree("m")
    assert one.member.withheld == other.member.withheld == {"m-2"}
    assert not other.member.holds_back
    one.board.conclude("m", ordered=True)
    await asyncio.sleep(0.05)
    assert other.member.withheld == {"m-2"}


async def test_replicas_given_up_for_one_leader_stay_out_whatever_another_asks(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "LEAVES_WITHIN", 0.3)
    one, other, third = await seats.several(3)
    assert await one.board.ask_quiet("m", ("m-1",))

    assert await third.board.ask_quiet("m", ("m-2",))
    assert other.member.withheld == {"m-1", "m-2"}
    third.board.revive("m")
    await asyncio.sleep(0.05)
    assert other.member.withheld >= {"m-1"}

    await eventually(lambda: not other.member.withheld)
    assert other.member.revivals == 1


async def test_a_replica_that_is_used_anywhere_is_not_given_up(seats: Seats) -> None:
    one, other = await seats.several(2)
    other.member.loads = {"m-2": 1}

    assert not await one.board.ask_quiet("m", ("m-2",))

    await eventually(lambda: not one.member.withheld)


async def test_a_replica_that_was_given_up_and_is_still_there_is_taken_back(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "LEAVES_WITHIN", 0.2)
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m", ("m-2",))
    assert await one.board.agree("m")
    one.board.conclude("m", ordered=True)

    await eventually(lambda: not other.member.withheld)
    assert other.member.revivals == 1


async def test_a_replica_that_was_given_up_and_is_gone_needs_nothing_more(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(words, "LEAVES_WITHIN", 0.1)
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m", ("m-2",))
    other.member.withheld = frozenset()

    await eventually(lambda: other.board._words._seats["m"].word is None)
    assert other.member.revivals == 0
