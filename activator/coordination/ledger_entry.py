"""What a shared ledger knows of one ticket, and how activators call the replicas they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activator.coordination.base import Decided, Granted
    from activator.core.dispatch import Ticket


class Entry:
    """A ticket of this activator that waits, asks, or has a slot."""

    __slots__ = ("at", "decided", "granted", "phase", "seq", "ticket")

    ASKING = 0
    REFUSED = 1
    """It is told that it must wait, and keeps its place until it has said whether it does."""
    WAITING = 2
    TAKING = 3
    """It was offered a slot and has said that it takes it."""
    GRANTED = 4
    SPARE = 5
    """Its ticket is done with the slot, which is kept for another."""
    LEFT = 6
    """Its ticket was given a spare one before the store has answered: what comes is a spare."""

    def __init__(self, ticket: Ticket, phase: int) -> None:
        self.ticket = ticket
        self.seq = ""
        """What the store calls it; empty: the store has nothing to do with it."""
        self.phase = phase
        self.at = ""
        """The replica of which it has a slot, as all activators call it."""
        self.granted: Granted | None = None
        self.decided: Decided | None = None


def shared_id(replica_id: str) -> str:
    """How all activators call it: how often it was out of rotation is each one's own view."""
    return replica_id.partition("~")[0]
