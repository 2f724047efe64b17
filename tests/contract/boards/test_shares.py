"""What activators have, told to each other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from activator.coordination import shares
from activator.coordination.base import Share
from tests.sharing import kill
from tests.support import eventually

if TYPE_CHECKING:
    from tests.contract.boards.seats import Seats


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
