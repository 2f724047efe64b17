"""Activators at one demand board, each with an endpoint `m`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sharing import Activator, kill
from tests.support import eventually

if TYPE_CHECKING:
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
