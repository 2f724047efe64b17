"""What an endpoint did over the last day, coarse enough to be seen at a glance.

Decides what one quarter of an hour is remembered as. Each decision by itself is an event, the
phases of starts are `eta`'s; drawing it is the dashboard's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.core.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Sequence

SPAN = 900.0
"""Seconds of one cell: as narrow as an eye can tell in a strip that is a hand wide."""
CELLS = 96
"""A day."""

_NOTABLE: Sequence[State] = (
    State.FAILED,
    State.ACTIVATING,
    State.ACTIVE,
    State.DRAINING,
    State.INACTIVE,
)
"""A cell shows the first of these that was there: a start takes seconds and is what one looks for,
a drain says nothing that the emptiness after it does not."""


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
    """One endpoint's last day. Moments are Unix time; one that goes back counts as the latest."""

    __slots__ = ("_at", "_ended", "_requests", "_seen", "_state")

    def __init__(self, state: State, *, at: float) -> None:
        self._state = state
        self._at = at
        self._seen: dict[int, set[State]] = {_cell(at): {state}}
        self._requests: dict[int, int] = {}
        self._ended = 0

    def enter(self, state: State, *, at: float) -> None:
        """The state from now on."""
        self._advance(at)
        if state is not self._state:
            self._state = state
            self._seen.setdefault(_cell(self._at), set()).add(state)

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
        cells = range(last - CELLS + 1, last + 1)
        return Day(
            until=(last + 1) * SPAN,
            states=tuple(self._notable(cell) for cell in cells),
            requests=tuple(self._requests.get(cell, 0) for cell in cells),
        )

    def _notable(self, cell: int) -> str:
        seen = self._seen.get(cell, ())
        return next((state.value for state in _NOTABLE if state in seen), "")

    def _advance(self, at: float) -> None:
        """What was, goes on until now; what is older than a day is forgotten."""
        if at <= self._at:
            return
        last = _cell(at)
        oldest = last - CELLS + 1
        for cell in range(max(_cell(self._at) + 1, oldest), last + 1):
            self._seen[cell] = {self._state}
        if _cell(self._at) != last:
            self._seen = {cell: seen for cell, seen in self._seen.items() if cell >= oldest}
            self._requests = {c: count for c, count in self._requests.items() if c >= oldest}
        self._at = at


def _cell(at: float) -> int:
    return int(at // SPAN)
