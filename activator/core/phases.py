"""How far a replica is, as whoever runs it sees it; the words of status and of cold starts."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """In the order in which a replica goes through them; probes say whether it answers."""

    REQUESTED = "requested"
    """Asked for; has no address yet."""
    WAITING_FOR_NODE = "waiting for node"
    """There is no room for it, and more is being made."""
    SCHEDULED = "scheduled"
    """Has a place to run; what it runs is being fetched."""
    PULLED = "pulled"
    """All is there, it does not run (again) yet."""
    STARTED = "started"
    """Runs and has an address: may be probed."""
    STOPPING = "stopping"
    """Told to stop: must get nothing new."""
