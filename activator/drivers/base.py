"""What every way of starting and stopping replicas must offer, and what it must tell.

A driver is level-triggered: it is told how many replicas there should be and reports what there
is, again and again. It decides nothing: retries, back-off and breakers are `core.lifecycle`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from activator.core.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.effects import FailedStart

__all__ = ["Driver", "DriverError", "Exit", "OutOfTouch", "Phase", "Sighting", "Snapshot"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """One replica as seen now. `id` is unique for each incarnation."""

    id: str
    phase: Phase
    since: float
    """Monotonic moment at which this phase began."""
    requested_at: float
    """Monotonic moment at which the replica was asked for."""
    host: str = ""
    port: int = 0
    detail: str = ""
    """Why it is in this phase, for people (`pid 4711`, `no node has enough nvidia.com/gpu`)."""
    reached: tuple[tuple[Phase, float], ...] = ()
    """Phases between `requested_at` and `since` that were seen, and the monotonic moments."""
    is_retrying: bool = False
    """It has failed to start and tries again by itself: no hope for those who wait."""
    no_capacity: bool = False
    """There is no room for it (yet)."""
    ordinal: int | None = None
    """Where the outside world itself decides who goes first: the highest. None: whom we name."""


@dataclass(frozen=True, slots=True)
class Exit:
    """A replica that ended without having been told to."""

    id: str
    cause: FailedStart


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything a driver knows at one moment."""

    wanted: int
    """Replicas the outside world has been asked for and still owes or runs."""
    replicas: tuple[Sighting, ...] = ()
    exits: tuple[Exit, ...] = ()
    """The most recent unasked ends (bounded), oldest first; told again until they age out, so
    readers remember which ids they have counted."""
    fence: str = ""
    """Changes with whatever makes an order that was prepared before outdated, every change of
    `wanted` by an order among it. Opaque."""
    remembered: int = 0
    """With none wanted: how many ran before, where the outside world remembers it; else 0."""
    autoscaler: str = ""
    """Who else changes the count by itself, for people; empty: nobody is known."""
    trouble: str = ""
    """What keeps the driver from seeing or doing its work just now, for people."""
    is_blind: bool = False
    """Nothing was seen of the outside world yet: no count here means anything."""


class Driver(Protocol):
    """Starts and stops the replicas of one endpoint."""

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        """Works until cancelled; calls `report` at once and after every change.

        When cancelled, stops whatever must not outlive the activator, then ends.
        """

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        """Ask for so many replicas; returns once the outside world has taken the order and what
        was last reported is no older than that.

        An activator that gives an order after a long pause must not undo what others have done
        meanwhile, which two conditions see to. `before`: taken only while exactly so many are
        wanted; otherwise somebody else was faster, the order is void, and it returns as if it had
        been taken. `fence` (an earlier snapshot's): taken only if it is the outside world's still.
        `victims` are the ids that go first when it becomes fewer.
        Raises DriverError when the order was not taken; nothing has changed then.
        """

    async def bump_fence(self) -> None:
        """Have every order refused that carries an earlier fence, whoever gives it.

        Returns once what was last reported is no older than that. Raises DriverError.
        """

    async def discard(self) -> None:
        """The endpoint is no longer configured, or with another backend: take away what was made
        for it and would outlive the activator. Asked once, while `run` still works.
        """

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        """The end of what a replica has printed, oldest first; empty if nothing is known.

        Asked for, not reported: a line is no change worth a snapshot.
        """


class DriverError(Exception):
    """The outside world refused or did not answer an order; the message says why."""

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting
        """Asking again will not help until somebody mends something."""


class OutOfTouch(DriverError):
    """The outside world cannot be asked now: that says nothing of a replica's start, and it is
    asked again when it is back."""
