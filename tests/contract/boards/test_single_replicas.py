"""Replicas that are given up one by one, while others stay."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.coordination import words
from tests.support import eventually

if TYPE_CHECKING:
    import pytest

    from tests.contract.boards.seats import Seats


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
