"""The word that an activator gives: it has nothing, and holds back what comes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.control.scaling import Scaler
from activator.core.effects import SetReplicas
from tests.contract.boards.seats import Seats, joined
from tests.faults import Faulty, failures, long_pauses
from tests.sharing import Activator
from tests.support import eventually

if TYPE_CHECKING:
    from activator.drivers.base import Driver


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


async def test_a_word_is_taken_back_though_that_met_a_fault_of_ours(
    seats: Seats, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    Faulty(monkeypatch, other.member, "mark_revived", times=2)

    for _ in range(10):
        other.member.arrive()
    await eventually(lambda: not other.member.holds_back)

    assert failures(caplog) == ["words/revive m"] * 2


async def test_one_endpoint_that_cannot_join_for_a_fault_of_ours_keeps_no_other_from_it(
    seats: Seats, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    one = await seats.make()
    joined_ = one.board._words._joined

    def fails(seat: Any, drain: Any) -> None:
        if seat.endpoint == "a":
            raise RuntimeError("a bug")
        joined_(seat, drain)

    monkeypatch.setattr(one.board._words, "_joined", fails)
    stuck, free = Activator(), Activator()
    one.board.join("a", stuck)
    one.board.join("b", free)
    await eventually(lambda: not free.holds_back)
    assert stuck.holds_back

    monkeypatch.setattr(one.board._words, "_joined", joined_)
    await eventually(lambda: not stuck.holds_back)
    assert set(failures(caplog)) == {"words/join a"}


async def test_one_endpoint_that_never_joins_for_a_fault_of_ours_delays_no_other_for_long(
    seats: Seats, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    long_pauses(monkeypatch)
    one = await seats.make()
    joined_ = one.board._words._joined

    def fails(seat: Any, drain: Any) -> None:
        if seat.endpoint == "a":
            raise RuntimeError("a bug")
        joined_(seat, drain)

    monkeypatch.setattr(one.board._words, "_joined", fails)
    one.board.join("a", Activator())
    await eventually(lambda: failures(caplog))
    late = Activator()
    one.board.join("b", late)

    await eventually(lambda: not late.holds_back)


async def test_an_order_whose_agreement_met_a_fault_of_ours_holds_nobody_back_for_ever(
    seats: Seats, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = await seats.several(2)
    scaler = Scaler("m", driver=cast("Driver", None), board=one.board)
    assert await scaler.ask_quiet()
    assert one.member.holds_back
    Faulty(monkeypatch, one.board, "agree", after=True)
    with pytest.raises(RuntimeError):
        await scaler.carry_out(SetReplicas(0, reason="idle"), agreed=True, before=1, fence="")

    await eventually(lambda: not one.member.holds_back and not other.member.holds_back)
