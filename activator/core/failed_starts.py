"""Starts that fail: when to try again, when to give up for a while, when to let one through.

Decides the moments only. What counts as a start, and what is told to those who wait, is
`lifecycle`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Collection

    from activator.core.effects import FailedStart

RETRY = Backoff(first=0.5, factor=2.0, cap=60.0)
"""Between attempts while somebody waits: many failures (a port still in use, a device not yet
released) are gone half a second later."""

ATTEMPTS = 3
"""What fails three times in a row will fail a fourth time."""

TELL_WITHIN = 8.0
"""Seconds from the first failure until those who wait are told, whatever attempt is under way: the
contract is ten seconds, and the answers have to be written too."""

BREAKER = Backoff(first=5.0, factor=2.0, cap=60.0)
"""How long nothing starts after giving up. Five seconds let a transient fault pass; the cap is one
minute because Retry-After ends there and because somebody may have repaired it."""

FORGET_AFTER = 120.0
"""Seconds without a failure after which attempts are counted from the start again."""


class FailedStarts:
    """Failures in a row of one endpoint, and its breaker."""

    def __init__(self) -> None:
        self.cause: FailedStart | None = None
        self.retry_at = float("-inf")
        """No order before this moment."""
        self.open_until = float("-inf")
        """The breaker lets nothing through before this moment."""
        self._attempts = 0
        self._counted = False
        self._first_at = float("-inf")
        self._last_at = float("-inf")
        self._openings = 0
        self._hopes: frozenset[str] = frozenset()

    def attempted(self) -> None:
        """An order has been given: its failure is a new attempt's."""
        self._counted = False

    def failed(self, cause: FailedStart, *, survivors: Collection[str], now: float) -> None:
        """A start failed. Several replicas of one order that fail are one attempt.

        While one of the `survivors` (replicas that exist at the first failure) is still there,
        giving up would stop a start that may succeed.
        """
        self.cause = cause
        if now - self._last_at > FORGET_AFTER:
            self._attempts = 0
        self._last_at = now
        if not self._attempts:
            self._first_at = now
            self._hopes = frozenset(survivors)
        if not self._counted:
            self._counted = True
            self._attempts += 1
            self.retry_at = now + RETRY.delay(self._attempts)

    def gives_up(self, alive: Collection[str], *, now: float) -> bool:
        """Those who wait should be told now. After an opening one failure is enough."""
        if not self._attempts or not self._hopes.isdisjoint(alive):
            return False
        return bool(self._openings) or self._attempts >= ATTEMPTS or now >= self.gives_up_at

    @property
    def present_cause(self) -> FailedStart | None:
        """Of the start that is being tried; None: nothing of it has failed."""
        return self.cause if self._attempts else None

    @property
    def gives_up_at(self) -> float:
        """Infinity while nothing has failed."""
        return self._first_at + TELL_WITHIN if self._attempts else float("inf")

    def open(self, cause: FailedStart, *, now: float) -> float:
        """The breaker opens; returns for how many seconds."""
        self._openings += 1
        rest = BREAKER.delay(self._openings)
        self.cause = cause
        self.open_until = now + rest
        self._restart()
        return rest

    def proven(self) -> None:
        """A replica has been ready for long enough: earlier openings do not count any more."""
        self._openings = 0

    def forget(self) -> None:
        """Everything is as if nothing had failed."""
        self.cause = None
        self.open_until = float("-inf")
        self._openings = 0
        self._restart()

    def _restart(self) -> None:
        self._attempts = 0
        self._counted = False
        self._hopes = frozenset()
        self.retry_at = float("-inf")
