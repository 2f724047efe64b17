"""How long an endpoint that nobody uses stays up.

Decides since when it is idle, and when it has been for long enough. What is to be done then, and
whether it may be done, is `lifecycle`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.core.observation import Observation

NEVER = float("inf")
LONG_AGO = float("-inf")


class IdleClock:
    """Of one endpoint. `timeout`: seconds; 0: it stays up for ever."""

    __slots__ = ("_ready_at", "_touched_at")

    def __init__(self) -> None:
        self._ready_at = LONG_AGO
        self._touched_at = LONG_AGO

    def became_ready(self, *, now: float) -> None:
        """Whoever it was started for may be late: it stays up for a whole timeout."""
        self._ready_at = now

    def touch(self, *, now: float) -> None:
        """What somebody has asked for counts as use."""
        self._touched_at = now

    def since(self, seen: Observation) -> float:
        return max(self._ready_at, seen.last_ended, self._touched_at)

    def over_at(self, seen: Observation, *, timeout: float) -> float:
        """When it has been idle for long enough; infinity if it never is."""
        return self.since(seen) + timeout if timeout else NEVER

    def looks_at(self, seen: Observation, *, timeout: float, now: float) -> float:
        """When to look whether that is so. With demand now it cannot be sooner than a whole timeout
        from now, so the end of a request need not be told."""
        return now + timeout if seen.demand and timeout else self.over_at(seen, timeout=timeout)
