"""Everything the brain may ask for, on one screen. The control loop carries it out."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetReplicas:
    """Ask the driver for so many replicas; `victims` (ids) go first when it becomes fewer, and
    are retired by it."""

    count: int
    reason: str
    victims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AskQuiet:
    """Declare draining: does every activator have nothing, and hold what comes from now on?

    Whoever carries out this or a Revive forgets the answer to the one before.
    """


@dataclass(frozen=True, slots=True)
class Revive:
    """Draining is called off: what is held may go to the replicas that are still there.

    Also asked for when replicas are ready again after a drain that ended at zero.
    """


@dataclass(frozen=True, slots=True)
class Retire:
    """These replicas receive nothing new and finish what they have.

    Whole: one that an earlier Retire named and this one does not is back in rotation.
    """

    victims: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FailHeld:
    """Everyone who waits is told why it cannot be: a failed start or no capacity."""

    cause: FailedStart
    retry_after: float


@dataclass(frozen=True, slots=True)
class Answer:
    """How an operator's `deactivate` has ended: none are ordered, or why that cannot be."""

    refusal: str = ""


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Observe again at this moment even if nothing happens before."""

    at: float


@dataclass(frozen=True, slots=True)
class Record:
    """A decision worth an event: one name an outcome, and the reason in words."""

    action: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailedStart:
    """Why a replica did not come up, in words a client may read."""

    message: str
    exit_code: int | None = None
    """Negative: killed by that signal."""
    last_lines: tuple[str, ...] = ()
    no_capacity: bool = False

    def __str__(self) -> str:
        tail = "".join(f"\n  {line}" for line in self.last_lines)
        return f"{self.message}; its last lines:{tail}" if tail else self.message


Effect = SetReplicas | AskQuiet | Revive | Retire | FailHeld | Answer | WakeAt | Record
