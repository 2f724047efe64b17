"""What an endpoint did over the last day, coarse enough to be seen at a glance.

Decides what one quarter of an hour is remembered as. Each decision by itself is an event, the
phases of starts are `eta`'s; drawing it is the dashboard's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from activator.core.lifecycle import State

SPAN = 900.0
"""Seconds of one cell: as narrow as an eye can tell in a strip that is a hand wide."""
CELLS = 96
"""A day."""

_NOTABLE: Final = ("failed", "activating", "active", "draining", "inactive", "")
"""A cell shows the first of these that was there: a start takes seconds and is what one looks for,
a drain says nothing that the emptiness after it does not. The last: nothing was."""
_RANKS: Final = {shown: rank for rank, shown in enumerate(_NOTABLE)}
_UNKNOWN: Final = bytes([_RANKS[""]])


@dataclass(frozen=True, slots=True)
class Day:
    """The cells up to one moment, oldest first."""

    until: float
    """Unix time at which the last cell ends; it is the present one and not over."""
    states: tuple[str, ...]
    """Empty: not known, this activator did not run."""
    requests: tuple[int, ...]
    """Requests that ended in each, at this activator."""
    span: float = SPAN


class History:
    """One endpoint's last day. Moments are Unix time; one that goes back counts as the latest.

    There may be tens of thousands of these, nearly all of endpoints that did nothing, so a cell
    takes a byte, and another one only where requests have ended.
    """

    __slots__ = ("_at", "_ended", "_requests", "_seen", "_state")

    def __init__(self, state: State, *, at: float) -> None:
        self._state = _rank(state)
        self._at = at
        self._seen = bytes([_rank(state)])
        """Of each cell up to that of `_at`, what it shows, as its place in `_NOTABLE`."""
        self._requests: dict[int, int] = {}
        self._ended = 0

    def enter(self, state: State, *, at: float) -> None:
        """The state from now on."""
        self._advance(at)
        self._state = _rank(state)
        if self._state < self._seen[-1]:
            self._seen = self._seen[:-1] + bytes([self._state])

    def count(self, ended: int, *, at: float) -> None:
        """So many requests have ended since this activator started; those that are new count as
        ended now."""
        self._advance(at)
        new, self._ended = ended - self._ended, ended
        if new > 0:
            cell = _cell(self._at)
            self._requests[cell] = self._requests.get(cell, 0) + new

    def day(self, *, at: float) -> Day:
        """The `CELLS` cells that end with the present one."""
        self._advance(at)
        last = _cell(self._at)
        requests = [0] * CELLS
        for cell, count in self._requests.items():
            requests[cell - last - 1] = count
        return Day(
            until=(last + 1) * SPAN,
            states=tuple([_NOTABLE[seen] for seen in self._seen.rjust(CELLS, _UNKNOWN)]),
            requests=tuple(requests),
        )

    def _advance(self, at: float) -> None:
        """What was, goes on until now; what is older than a day is forgotten."""
        if at <= self._at:
            return
        last = _cell(at)
        passed = min(last - _cell(self._at), CELLS)
        if passed:
            self._seen = (self._seen + bytes([self._state]) * passed)[-CELLS:]
            self._requests = {c: n for c, n in self._requests.items() if c > last - CELLS}
        self._at = at


def _rank(state: State) -> int:
    return _RANKS[state.value]


def _cell(at: float) -> int:
    return int(at // SPAN)
