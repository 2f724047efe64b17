"""How long a start may take.

Decides by when a replica must be ready, and what is told of a start that has taken longer. That
those who wait are told, and when to try again, is the business of `lifecycle` and `failed_starts`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.durations import in_words
from activator.core.effects import FailedStart

if TYPE_CHECKING:
    from activator.core.fleet import View
    from activator.core.observation import Observation

NEVER = float("inf")


class StartClock:
    """Of one endpoint. Stands still while a start has to wait for replicas to stop. `timeout`:
    seconds; 0: it may take for ever."""

    __slots__ = ("_begins_at", "_is_held_up")

    def __init__(self) -> None:
        self._is_held_up = False
        self._begins_at = float("-inf")

    def look(self, seen: Observation, *, now: float) -> None:
        if seen.held_up or self._is_held_up:
            self._begins_at = now  # or later
        self._is_held_up = seen.held_up

    def over_at(self, *, since: float, timeout: float) -> float:
        """When a start that was decided at `since` has taken too long; infinity if never."""
        return max(since, self._begins_at) + timeout if timeout else NEVER


def overdue(view: View, *, timeout: float, cause: FailedStart | None) -> FailedStart:
    """Of a start that has. `cause`: why one that was part of it has failed."""
    within, error = in_words(timeout), view.seen.scale_error
    if error:
        return FailedStart(f"could not be asked to start within {within}: {error}")
    words = f"did not become ready within {within}"
    if not view.alive:
        if cause is None:
            return FailedStart(words)
        return replace(cause, message=f"{words}: {cause.message}")
    told = view.alive[-1]  # as good as any: they run the same thing
    reason = f" ({told.reason})" if told.reason else ""
    no_capacity = all(each.no_capacity for each in view.alive)
    return FailedStart(words + reason, last_lines=told.last_lines, no_capacity=no_capacity)
