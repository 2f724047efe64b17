"""What every DemandBoard promises to a single activator, whichever it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory import MemoryBoard
from tests.sharing import KINDS, Activator, hall
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import DemandBoard


@pytest.fixture(params=["alone", *KINDS])
async def board(request: pytest.FixtureRequest) -> AsyncIterator[DemandBoard]:
    if request.param == "alone":
        yield MemoryBoard()
        return
    async with hall(request.param) as h:
        yield await h.board(await h.roster())


async def test_demand_and_last_end_are_what_the_members_say(board: DemandBoard) -> None:
    member = Activator(demand=3, last_ended=17.0)
    board.join("model", member)
    await eventually(lambda: board.demand("model") == 3)
    await eventually(lambda: board.last_ended("model") == 17.0)

    member.demand, member.last_ended = 0, 42.0

    await eventually(lambda: board.demand("model") == 0)
    await eventually(lambda: board.last_ended("model") == 42.0)


async def test_endpoints_are_counted_each_for_itself(board: DemandBoard) -> None:
    board.join("model", Activator(demand=3))
    board.join("other", Activator(demand=5))

    await eventually(lambda: board.demand("model") == 3)
    await eventually(lambda: board.demand("other") == 5)


async def test_with_nothing_anywhere_everybody_holds_back_what_comes(board: DemandBoard) -> None:
    member = Activator()
    board.join("model", member)
    await eventually(lambda: not member.holds_back)  # it has joined

    assert await board.ask_quiet("model")

    assert member.holds_back


async def test_with_demand_somewhere_nobody_holds_anything_back(board: DemandBoard) -> None:
    busy, other = Activator(demand=1), Activator()
    board.join("model", busy)
    board.join("other", other)
    await eventually(lambda: not other.holds_back)

    assert not await board.ask_quiet("model")

    assert not busy.holds_back
    assert not other.holds_back


async def test_draining_that_is_called_off_is_called_off_for_everybody(
    board: DemandBoard,
) -> None:
    member = Activator()
    board.join("model", member)
    await eventually(lambda: not member.holds_back)
    assert await board.ask_quiet("model")

    board.revive("model")

    await eventually(lambda: not member.holds_back)


async def test_one_that_has_left_is_neither_counted_nor_asked(board: DemandBoard) -> None:
    member = Activator(demand=3)
    board.join("model", member)
    await eventually(lambda: board.demand("model") == 3)

    board.leave("model")

    await eventually(lambda: board.demand("model") == 0)
    assert await board.ask_quiet("model")
    assert not member.holds_back
