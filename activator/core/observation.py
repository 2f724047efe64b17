"""What an endpoint's life is decided from: one look at demand, replicas and orders, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.core.effects import FailedStart


@dataclass(frozen=True, slots=True)
class SeenReplica:
    """One replica that exists and has not been told to stop."""

    id: str
    ready: bool
    """Answers its probe; a starting or an ejected one does not."""
    in_flight: int = 0
    last_byte: float = float("-inf")
    """When a request at it last made progress, monotonic seconds; as far as it is known."""
    reason: str = ""
    """Why it is, or is not, ready; in words."""
    last_lines: tuple[str, ...] = ()
    """The end of what it has printed; told while a start is waited for."""
    is_retrying: bool = False
    """It has failed to start and tries again by itself."""
    no_capacity: bool = False
    """There is no room for it (yet)."""
    ordinal: int | None = None
    """Where the outside world itself decides who goes first: the highest. None: whom we name."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A replica that ended without having been told to."""

    id: str
    cause: FailedStart
    was_ready: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """Facts of one moment. Levels, not events: told again and again until they change."""

    demand: int
    """Held, in flight and queued, over all activators."""
    wanted: int
    """How many replicas the outside world is asked for now, by whomever."""
    replicas: tuple[SeenReplica, ...] = ()
    """Oldest first."""
    held_up: bool = False
    """Replicas that were told to stop are still there, and none that was asked for has begun."""
    last_ended: float = float("-inf")
    """End of the last response, monotonic seconds."""
    ended: tuple[Ended, ...] = ()
    """The last few, told repeatedly until they age out."""
    quiet: bool | None = None
    """The answer to the latest AskQuiet. None: there is no answer yet, or nothing was asked."""
    scaling: bool = False
    """An earlier SetReplicas is still being carried out; once it is not, what is seen here is no
    older than that order."""
    scale_error: str | None = None
    """Why the driver refused the latest SetReplicas; None once one has been taken."""
    scale_lasting: bool = False
    """That refusal will last until somebody mends something."""
    out_of_touch: bool = False
    """The outside world can be seen or asked only in part just now: orders may fail for it."""
    remembered: int = 0
    """With none wanted: how many ran before, where the outside world remembers it; else 0."""
    autoscaler: str = ""
    """Who else changes the count by itself, for people; empty: nobody is known."""
    leading: bool = True
    """Whether this activator is the one that may deactivate, or go beyond what was activated."""
    may_start: bool = True
    """Whether this activator may start replicas. False: another does all there is to do."""
    unsure_until: float = float("-inf")
    """Until then an activator that does not answer, and may exist, may have something in flight:
    nothing is stopped."""
