"""Whose word is needed when activators come, go, are silent or hear nothing."""

from __future__ import annotations

import time

import pytest

from activator.coordination import asking
from tests.contract.boards.seats import Seats, deafen, joined
from tests.sharing import SILENCE, Activator
from tests.support import eventually


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


async def test_what_the_store_has_forgotten_is_void_before_anybody_comes(seats: Seats) -> None:
    one, other = await seats.several(2)
    assert await one.board.ask_quiet("m")
    assert await one.board.agree("m")
    await seats.h.forget_drains("m")

    other.board._words.join_again()

    await eventually(lambda: not other.member.holds_back)
    assert other.member.revivals == 1
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
