"""The pieces of a body as they come, taken in slices that hold nobody up."""

from __future__ import annotations

from typing import Final

SLICE: Final = 8 << 10
"""Bytes of one step: under a hundred microseconds as a rule, some milliseconds for the worst."""


class Pieces:
    """First in, first out; falsy when there is nothing to take."""

    __slots__ = ("_pieces", "_taken")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._taken = 0
        """Bytes of the first piece that were taken."""

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, data: bytes) -> None:
        self._pieces.append(data)

    def take(self) -> bytes:
        """The next bytes, `SLICE` at most. There must be some."""
        piece, start = self._pieces[0], self._taken
        self._taken += SLICE
        if self._taken >= len(piece):
            del self._pieces[0]
            self._taken = 0
        return piece[start : start + SLICE]

    def clear(self) -> None:
        self._pieces.clear()
        self._taken = 0
