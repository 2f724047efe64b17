"""Whether one replica may be given requests: probes and the data path's experience, weighed.

Decides ready or not, why, and when to look again. Sending probes, each with its timeout, is the
prober's business; a probe that hangs must not delay the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from activator.core.durations import in_words

if TYPE_CHECKING:
    from activator.core.endpoint import ProbePolicy

MAX_OPEN_PROBES = 4
"""Probes of one replica that may be unanswered at a time. A server that loads may leave some
hanging; beyond these few, more of them would only fill its backlog."""

FAILURES_TO_EJECT = 3
"""In a row, of an idle replica: one slow answer is a hiccup."""

EAGER_FOR = 10.0
"""Seconds for which an ejected replica is probed as if it were starting: it often is back soon."""

EASING_OFF = 10.0
"""Seconds over which the pace then falls to `SLOWEST`."""

SLOWEST = 1.0
"""Seconds between the probes of a replica that stays away, and of a ready one in doubt."""


FASTEST = 0.01
"""Seconds between probes at least, whatever the policy says: a zero must not spin."""


class Answer(StrEnum):
    ANSWERED = "answered"
    REFUSED = "refused"
    """Connection refused or reset: nothing listens."""
    TIMEOUT = "timeout"
    ERROR = "error"
    """A status that is not a success, or no valid HTTP."""


@dataclass(frozen=True, slots=True)
class ProbeOutcome:
    """`detail` is for people: `HTTP 503`, `no answer within 1 s`."""

    kind: Answer
    detail: str = ""


class Readiness:
    """One replica, from its start. Ready on the first answer."""

    def __init__(self, policy: ProbePolicy) -> None:
        self.ready = False
        self.reason = "has not answered a probe yet"
        """Why it is, or is not, ready; in words."""
        self.generation = 0
        """How many times it has become ready: ejected and ready again is a new generation."""
        self._policy = policy
        self._failures = 0
        self._ejected_at: float | None = None
        self._is_stalled = False

    def reconfigure(self, policy: ProbePolicy) -> None:
        """Holds from the next probe on."""
        self._policy = policy

    def probed(self, outcome: ProbeOutcome, *, in_flight: int, now: float) -> None:
        """A probe has ended while the replica had so many requests in flight.

        A server that generates with its only thread answers no probe: with requests in flight
        only a refused connection counts against it.
        """
        what = outcome.detail or outcome.kind.value
        if outcome.kind is Answer.ANSWERED:
            self._on_answer(what, in_flight)
        elif not self.ready:
            if self._ejected_at is None:
                self.reason = f"starting, last probe: {what}"
        elif outcome.kind is Answer.REFUSED:
            self._eject(f"a probe was refused: {what}", now)
        elif in_flight:
            self._failures = 0
        else:
            self._failures += 1
            if self._failures >= FAILURES_TO_EJECT:
                self._eject(f"{self._failures} probes in a row failed, the last: {what}", now)

    def refused(self, now: float) -> None:
        """A request could not connect, or its connection was reset: out of rotation at once."""
        if self.ready:
            self._eject("a connection was refused or reset", now)

    def stalled(self, now: float) -> None:
        """Requests in flight and not one byte for too long: out of rotation.

        A stuck model server goes on answering probes, so these alone do not bring it back: what
        is stuck must have ended, or bytes must move again (`moved`).
        """
        self._is_stalled = True
        if self.ready:
            self._eject("requests in flight, and not one byte came", now)

    def moved(self) -> None:
        """Bytes of a response came: it is not stalled (any more)."""
        self._is_stalled = False

    def next_probe(self, now: float) -> float:
        """When the next probe should begin if the last one began at `now`.

        Ask again when `ready` has changed: the pace may have. Infinity: a ready replica is not
        probed (`ready_interval` 0), the data path alone ejects it.
        """
        return now + self._pace(now)

    def away_for(self, now: float) -> str:
        """How long it has been ejected, in words; empty if it is not."""
        return "" if self._ejected_at is None else in_words(now - self._ejected_at)

    def _pace(self, now: float) -> float:
        eager = max(self._policy.interval, FASTEST)
        if self.ready:
            calm = self._policy.ready_interval or float("inf")
            return min(calm, SLOWEST) if self._failures else calm
        if self._ejected_at is None:
            return eager
        eased = (now - self._ejected_at - EAGER_FOR) / EASING_OFF
        return max(eager, min(eased, 1.0) * SLOWEST)

    def _on_answer(self, what: str, in_flight: int) -> None:
        self._failures = 0
        if self._is_stalled and in_flight:
            return
        self._is_stalled = False
        if not self.ready:
            self.ready = True
            self.generation += 1
            self._ejected_at = None
            self.reason = f"answered a probe: {what}"

    def _eject(self, why: str, now: float) -> None:
        self.ready = False
        self.reason = why
        self._failures = 0
        self._ejected_at = now
