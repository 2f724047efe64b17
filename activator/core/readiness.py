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

IN_DOUBT = 1.0
"""Seconds between the probes of a ready replica after one that failed."""

FASTEST = 0.01
"""Seconds between probes at least, whatever the policy says: a zero must not spin."""

SLOWEST = 2.0
"""Seconds between the probes of a replica that stays away at most: a second more, on average, is
nothing to whoever has waited for minutes, and whoever comes now makes the pace quick again."""

AWAITED_SHARE = 0.001
"""Of the time since a replica last gave a sign, between two probes while somebody waits for it. On
average half of the pace is added to a wait: 0.05 % of it, and less than 0.1 s to one of three
minutes, which is what loading a large model takes. Up to 50 s the policy's interval is longer."""

UNAWAITED_SHARE = 0.05
"""The same while nobody waits for it: nobody is kept waiting by it either."""

TOGETHER = 500.0
"""Probes a second of all replicas that do not answer, whatever else is said: one costs some tenths
of a millisecond, and what is warm must go on while hundreds of replicas start, or stay away."""


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


def pace_while_away(since_sign: float, *, interval: float, awaited: bool, crowd: int) -> float:
    """Seconds between two probes of a replica that does not answer, and last gave a sign so long
    ago: its start, its end, news of it, somebody who begins to wait for it.

    The longer it has been silent, the less a moment more matters, and the more is saved by asking
    less often. `crowd`: so many replicas do not answer just now, this one among them.
    """
    share = AWAITED_SHARE if awaited else UNAWAITED_SHARE
    eager = max(interval, FASTEST)
    return max(eager, min(since_sign * share, SLOWEST), crowd / TOGETHER)


class Readiness:
    """One replica, from its start. Ready on the first answer."""

    def __init__(self, policy: ProbePolicy, *, now: float) -> None:
        self.ready = False
        self.reason = "has not answered a probe yet"
        """Why it is, or is not, ready; in words."""
        self.generation = 0
        """How many times it has become ready: ejected and ready again is a new generation."""
        self._policy = policy
        self._failures = 0
        self._sign_at = now
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

    def stirred(self, now: float) -> None:
        """News of it, or somebody begins to wait for it: asking it quickly is worth while again."""
        self._sign_at = now

    def next_probe(self, began: float, *, awaited: bool = True, crowd: int = 1) -> float:
        """When the next probe should begin if the last one began at `began`; `awaited` and
        `crowd` as in `pace_while_away`.

        Ask again when any of this, or `ready`, has changed: the pace may have. Infinity: a ready
        replica is not probed (`ready_interval` 0), the data path alone ejects it.
        """
        if not self.ready:
            silent = max(0.0, began - self._sign_at)
            interval = self._policy.interval
            return began + pace_while_away(silent, interval=interval, awaited=awaited, crowd=crowd)
        calm = self._policy.ready_interval or float("inf")
        return began + (min(calm, IN_DOUBT) if self._failures else calm)

    def away_for(self, now: float) -> str:
        """How long it has been ejected, in words; empty if it is not."""
        return "" if self._ejected_at is None else in_words(now - self._ejected_at)

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
        self._ejected_at = self._sign_at = now
