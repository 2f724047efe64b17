"""What somebody who waits for an endpoint may expect: how far its start is, and how long it takes.

Decides the words. Learning how long starts take is `eta`'s, why one failed is told by whoever saw
it; showing it is the proxy's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from activator.core.phases import Phase

if TYPE_CHECKING:
    from activator.core.eta import Estimate

STEPS: Final = ("Asked for", "Placed and fetched", "Starting up", "Ready")
"""Of a start, coarse enough for any backend."""

_TO: Final = "\N{EN DASH}"
_HEADLINES: Final = {
    Phase.REQUESTED: (0, "Waiting for a place to run"),
    Phase.WAITING_FOR_NODE: (1, "Waiting for a machine to be added"),
    Phase.SCHEDULED: (1, "Fetching what it needs"),
    Phase.PULLED: (1, "About to start"),
    Phase.STARTED: (2, "Starting up"),
    Phase.STOPPING: (0, "Waiting for the one before to stop"),
}


@dataclass(frozen=True, slots=True)
class Outlook:
    """One endpoint at one moment. Durations in seconds."""

    phase: Phase | None = None
    """Of the replica that has come furthest; None: there is none yet."""
    ready: bool = False
    """A replica answers."""
    paused: bool = False
    detail: str = ""
    """What it waits for, as whoever runs it says."""
    elapsed: float | None = None
    """Since the start under way was ordered; None: none is."""
    whole: Estimate | None = None
    """What a whole start takes; None: there is no earlier one to learn from."""
    left: Estimate | None = None
    """What is left of the start under way, or of one that began now."""
    failure: str = ""
    """Why the last start failed, while that matters."""
    retry_in: float | None = None
    """Until the next start is let through, while none is."""

    @property
    def step(self) -> int:
        """Which of `STEPS` it is at."""
        if self.ready:
            return len(STEPS) - 1
        return 0 if self.phase is None else _HEADLINES[self.phase][0]

    @property
    def headline(self) -> str:
        if self.paused:
            return "Paused by an operator"
        if self.retry_in is not None:
            return "It could not be started"
        if self.ready:
            return "Ready, waiting for a free place"
        return "Waking up" if self.phase is None else _HEADLINES[self.phase][1]


def usual(whole: Estimate | None) -> str:
    """How long a start takes, as precisely as that is known."""
    if whole is None:
        return "not known yet: nobody has seen it start"
    return f"usually {spread(whole.low, whole.high)}"


def remaining(left: Estimate | None) -> str:
    """How long it still takes; empty where nothing is known."""
    if left is None:
        return ""
    if left.high < 1:
        return "longer than usual, so any moment now"
    return spread(left.low, left.high)


def spread(low: float, high: float) -> str:
    """From and to, in seconds or minutes: rounded outwards to what is worth saying, one number if
    that is all."""
    unit, name = (1.0, "s") if high <= 120 else (60.0, "min")
    grain = _grain(high / unit)
    least = floor(low / unit / grain) * grain
    most = max(ceil(high / unit / grain) * grain, grain)
    if least == most:
        return f"about {most} {name}"
    return f"up to {most} {name}" if not least else f"{least}{_TO}{most} {name}"


def _grain(number: float) -> int:
    for above, grain in ((60, 10), (20, 5), (10, 2)):
        if number > above:
            return grain
    return 1
