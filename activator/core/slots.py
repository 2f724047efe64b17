"""The slots of one replica: how many are taken, how many there are, how they open after a start.

A replica that has just been started gets a window of 1, 2, 4 … requests, doubled at each first
byte of a response or after each second, whichever is sooner, until it is as wide as the limit: a
model server that answers its probe may still be compiling, and a full burst would hit it cold.
Who gets a slot is `core.dispatch`'s business, at which replica `core.balancing`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.core.hashing import fingerprint

if TYPE_CHECKING:
    from activator.core.endpoint import Replica

STEP: Final = 1.0
"""Seconds after which the window doubles by itself."""
WIDE_OPEN: Final = 256
"""Window at which pacing ends where there is no limit: more than a server admits at once."""
NO_LIMIT: Final = 1 << 62


class ReplicaSlots:
    """Mutable and owned by one dispatcher. Free as long as `in_flight < limit`."""

    __slots__ = (
        "heir", "id", "in_flight", "limit", "next_step", "offered", "replica", "salt", "turn",
        "window",
    )  # fmt: skip

    def __init__(self, replica: Replica, *, concurrency: int, paced: bool, now: float) -> None:
        """`concurrency` 0 = no limit."""
        self.replica = replica
        self.id = replica.id
        self.salt = fingerprint(replica.id.encode())
        self.in_flight = 0
        """Those of `Replica.before` included."""
        self.heir: ReplicaSlots | None = None
        """The same replica, back in rotation under another id while this one is still busy."""
        self.offered = True
        """May get something new."""
        self.turn = 0
        """The number of its latest grant in its endpoint: the smallest has rested longest."""
        self.window = 1 if paced else 0
        """0 = not paced (any more)."""
        self.next_step = now + STEP
        """When the window doubles by time; means nothing once it is 0."""
        self.limit = 0
        self.resize(concurrency)

    @property
    def is_free(self) -> bool:
        return self.in_flight < self.limit

    def resize(self, concurrency: int) -> None:
        """Another limit; the window goes on from where it is, and ends if it is wide enough."""
        if self.window >= (concurrency or WIDE_OPEN):
            self.window = 0
        self.limit = self.window or concurrency or NO_LIMIT

    def catch_up(self, *, concurrency: int, now: float) -> None:
        """Take the steps that were due by time until now."""
        while self.window and now >= self.next_step:
            self.widen(concurrency=concurrency, now=self.next_step)

    def widen(self, *, concurrency: int, now: float) -> None:
        """One step: twice the window, and a new second begins."""
        self.window *= 2
        self.next_step = now + STEP
        self.resize(concurrency)
