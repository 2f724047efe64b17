"""What every DemandBoard promises, whichever it is. More implementations join IMPLEMENTATIONS."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from activator.coordination.base import Share
from activator.coordination.memory import MemoryBoard
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from activator.coordination.base import DemandBoard


@asynccontextmanager
async def _memory() -> AsyncIterator[DemandBoard]:
    yield MemoryBoard()


IMPLEMENTATIONS = [pytest.param(_memory, id="memory")]


@pytest.fixture(params=IMPLEMENTATIONS)
async def board(request: pytest.FixtureRequest) -> AsyncIterator[DemandBoard]:
    async with request.param() as opened:
        yield opened


@dataclass
class Activator:
    """One member: quiet only if it has nothing."""

    demand: int = 0
    last_ended: float = 0.0
    holds_back: bool = False
    patience: float = 3600.0
    withheld: frozenset[str] = frozenset()
    revivals: int = 0

    def follow(self, stirred: Callable[[], None]) -> None:
        self.stirred = stirred

    @property
    def share(self) -> Share:
        return Share(demand=self.demand)

    def quiesce(self, replicas: Sequence[str] | None = None) -> bool:
        self.holds_back = not self.demand
        return self.holds_back

    def revive(self) -> None:
        self.holds_back = False

    async def mark_revived(self) -> bool:
        self.revivals += 1
        return True

    def changed(self) -> None:
        return


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

    assert await board.ask_quiet("model")

    assert member.holds_back


async def test_with_demand_somewhere_nobody_holds_anything_back(board: DemandBoard) -> None:
    busy, other = Activator(demand=1), Activator()
    board.join("model", busy)
    board.join("other", other)

    assert not await board.ask_quiet("model")

    assert not busy.holds_back
    assert not other.holds_back


async def test_draining_that_is_called_off_is_called_off_for_everybody(
    board: DemandBoard,
) -> None:
    member = Activator()
    board.join("model", member)
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
