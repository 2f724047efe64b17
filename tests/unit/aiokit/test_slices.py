"""Long work lets others have their turns."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.aiokit.slices import SLICE, OnePiece, Slices
from tests.slicing import counted

if TYPE_CHECKING:
    import pytest


class Work:
    """Takes so long for each step, by a clock of its own."""

    def __init__(self, step: float) -> None:
        self._now = 0.0
        self._step = step
        self.in_one_piece = [0]
        """Steps between two turns of the loop."""

    def clock(self) -> float:
        return self._now

    async def run(self, steps: int) -> None:
        slices = Slices(clock=self.clock)
        for _ in range(steps):
            await slices.turn()
            self.in_one_piece[-1] += 1
            self._now += self._step

    def turn_of_others(self) -> None:
        self.in_one_piece.append(0)
        self._again = asyncio.get_running_loop().call_soon(self.turn_of_others)

    def end(self) -> None:
        self._again.cancel()


async def played(work: Work, *, steps: int) -> list[int]:
    work.turn_of_others()
    await work.run(steps)
    work.end()
    return [count for count in work.in_one_piece if count]


async def test_others_have_a_turn_whenever_a_slice_is_used_up() -> None:
    pieces = await played(Work(SLICE / 4), steps=40)

    assert sum(pieces) == 40
    assert max(pieces) <= 4
    assert len(pieces) == 10


async def test_what_is_shorter_than_a_slice_is_done_at_once() -> None:
    assert await played(Work(SLICE / 100), steps=50) == [50]


async def test_nobody_comes_in_between_where_it_is_to_be_one_piece(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with counted(monkeypatch) as turns:
        slices = OnePiece()
        for _ in range(50):
            await slices.turn()
            turns.step()

    assert turns.longest == 50
