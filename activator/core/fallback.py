"""Whether a request that would be held goes to the fallback, and what its answer is worth.

Decides for one request at a time. Sending it there and counting the day's requests over all
activators are others' business; so is the endpoint's start, which goes on meanwhile.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from activator.core.backoff import Backoff
from activator.core.durations import in_words

if TYPE_CHECKING:
    from datetime import date

    from activator.core.endpoint import Endpoint, Fallback

REST: Final = Backoff(first=1.0, cap=60.0)
"""Seconds for which a fallback that fails is left alone: whoever comes is held at once, instead of
finding out again."""
LONGEST_REST: Final = 600.0
"""Seconds, whatever its `Retry-After` says."""


class Outcome(StrEnum):
    """What became of the idea of sending a request there."""

    SERVED = "served"
    """Its answer was passed on."""
    REFUSED = "refused"
    """It answered that it cannot."""
    FAILED = "failed"
    """It did not answer."""
    RESTING = "resting"
    """It has failed just now."""
    CAPPED = "capped"
    """The day's requests are used up."""
    TOO_LARGE = "too_large"
    """The body cannot be kept for the case that it fails."""
    UNREADABLE = "unreadable"
    """The fallback calls the model otherwise, and in the body there is none to be renamed."""
    UNAVAILABLE = "unavailable"
    """It is an endpoint without a free slot, or the store is away and nobody can count."""


def may_answer(*, cold: bool, paused: bool, tunnel: bool) -> bool:
    """For a request that would be held: not if a replica is only busy, nor while somebody has
    paused the endpoint, who wants it to wait; nor for a tunnel, which would stay there long after
    the replica is ready."""
    return cold and not paused and not tunnel


def is_answer(status: int) -> bool:
    """It is passed on: success, or that the request itself is wrong, which it would be at a replica
    too. Everything else says something of the fallback: that it is busy, does not know the model,
    wants another key."""
    return 200 <= status < 300 or status in (400, 422)


def is_its_own_trouble(status: int) -> bool:
    """The next request would be told the same, whatever it asks."""
    return status >= 500 or status in (401, 402, 403, 407, 408, 429)


def model_there(fallback: Fallback, other: Endpoint | None) -> str | None:
    """What `model` in a body is to be for it, None: as it is. `other`: the endpoint it is."""
    if fallback.model is not None or other is None:
        return fallback.model
    if other.upstream_model is not None:
        return other.upstream_model
    return next((name for name in other.match.models if "*" not in name), None)


class Conduct:
    """How one fallback has done lately, as this activator has seen it."""

    def __init__(self) -> None:
        self._failures = 0
        self._rests_until = 0.0
        self._used_up: tuple[date, int] | None = None
        self._counted: tuple[date, int] | None = None

    def why_not(self, *, day: date, most: int, now: float) -> Outcome | None:
        """What speaks against a request now, as far as is known here. `most`: a day."""
        if self._failures and now < self._rests_until:
            return Outcome.RESTING
        if self._used_up is not None and self._used_up == (day, most):
            return Outcome.CAPPED
        return None

    def answered(self) -> None:
        self._failures = 0

    def failed(self, *, now: float, retry_after: float | None = None) -> float | None:
        """Seconds for which it is left alone from now on, those that it asks for if it does; None:
        it is already. Requests that were under way together are one failure."""
        if self._failures and now < self._rests_until:
            return None
        self._failures += 1
        rest = max(REST.delay(self._failures), min(retry_after or 0.0, LONGEST_REST))
        self._rests_until = now + rest
        return rest

    def counted(self, taken: int, *, day: date) -> None:
        """So many of the day's requests were taken, by all activators."""
        self._counted = (day, taken)

    def in_words(self, *, day: date, most: int, now: float) -> str:
        """For operators; of other activators' requests it knows what it heard last. Empty: there is
        nothing to tell."""
        told: list[str] = []
        why = self.why_not(day=day, most=most, now=now)
        if why is Outcome.CAPPED:
            told.append(f"has had its {most} requests of today (UTC)")
        elif self._counted is not None and self._counted[0] == day and most:
            told.append(f"{self._counted[1]} of {most} requests today (UTC)")
        if why is Outcome.RESTING:
            told.append(f"not asked for {in_words(self._rests_until - now)}")
        return ", ".join(told)

    def used_up(self, *, day: date, most: int) -> bool:
        """Nothing is left of this day's `most`. True: that is news."""
        before, self._used_up = self._used_up, (day, most)
        return before != self._used_up
