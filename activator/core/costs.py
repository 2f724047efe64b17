"""What an endpoint has used and saved: replica time integrated over time, and its price.

Decides how usage is counted. Which replicas are up is told by the control loop, at least at every
change; exporting the figures is telemetry's and admin's business.
"""

from __future__ import annotations

_HOUR = 3600.0


class Ledger:
    """Replica-seconds up over time, against `always_on` replicas that never stop.

    `saved` adds up the moments at which fewer than `always_on` were up; moments above it cost,
    but never undo what was saved, so both figures only grow. Money is in the unit of
    `price_per_hour`, at the price that held when the time passed.
    """

    __slots__ = (
        "_always_on",
        "_price",
        "_seen_at",
        "_up",
        "cost",
        "cost_saved",
        "saved",
        "start_cost",
        "used",
    )

    def __init__(self, *, now: float, always_on: int = 1, price_per_hour: float = 0.0) -> None:
        """`now` infinite: no time counts before it is to `begin`."""
        self._always_on = max(always_on, 1)
        self._price = price_per_hour
        self._seen_at = now
        self._up = 0
        self.used = 0.0
        """Replica-seconds."""
        self.saved = 0.0
        """Replica-seconds."""
        self.cost = 0.0
        self.cost_saved = 0.0
        self.start_cost = 0.0
        """Of what `cost` says, what one replica cost while a start from zero was waited for."""

    def begin(self, *, now: float) -> None:
        """Time counts from now on."""
        self._seen_at = now

    def observe(self, replicas_up: int, *, now: float) -> None:
        """From `now` on so many replicas are up; what was up until now is booked."""
        self.book(now=now)
        self._up = replicas_up

    def reprice(self, *, always_on: int, price_per_hour: float, now: float) -> None:
        """A changed configuration: holds from `now` on, the past keeps its price."""
        self.book(now=now)
        self._always_on = max(always_on, 1)
        self._price = price_per_hour

    def started(self, seconds: float) -> None:
        """A start from zero has ended, well or not, after so long."""
        self.start_cost += seconds * self._price / _HOUR

    def book(self, *, now: float) -> None:
        """What was up until now, and goes on."""
        passed = now - self._seen_at
        if passed <= 0:
            return
        self._seen_at = now
        if self._up:
            used = self._up * passed
            self.used += used
            self.cost += used * self._price / _HOUR
        if self._up < self._always_on:
            saved = (self._always_on - self._up) * passed
            self.saved += saved
            self.cost_saved += saved * self._price / _HOUR
