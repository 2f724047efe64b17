"""A container on its way from an order to its end: what the drivers remember of one, and its names.

Decides nothing. What becomes of it is `docker`'s to say.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from activator.drivers.base import Phase, Sighting

if TYPE_CHECKING:
    import asyncio

    from activator.drivers.docker_follow import Tail

KEPT_EXITS = 8
"""Unasked ends that a snapshot tells: more than a breaker counts before it opens."""
HEARSAY = 0.2
"""Seconds in which the reason of an end that was seen should be heard: a person's `docker stop` is
told by an event of its own."""
FAULT_RETRY = 10.0
"""Seconds until what failed by a fault of our own is tried again: each time fills the log."""
RETRY = 0.5
"""Seconds before what the engine refused to take down, or broke off, is tried again."""

_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(slots=True)
class Made:
    """One incarnation, from the order on: `container` is empty until there is one."""

    id: str
    requested_at: float
    since: float
    tail: Tail
    container: str = ""
    started_at: str = ""
    phase: Phase = Phase.REQUESTED
    detail: str = ""
    host: str = ""
    port: int = 0
    work: asyncio.Task[None] | None = None
    """What is being done to it now: brought up, asked for its last lines, or taken down."""
    is_ours: bool = False
    """Ordered here, not found."""
    is_creating: bool = False
    is_told_to_stop: bool = False
    is_elsewhere: bool = False
    """Another activator is about to start it."""
    was_killed: bool = False
    """Somebody has sent it a signal through the engine."""
    end_seen: bool = False


def new_id(endpoint: str) -> str:
    """Of an incarnation; every activator reads it from the container's label."""
    return f"{endpoint}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}"


def slug(text: str) -> str:
    """What the name of a container may have."""
    return re.sub(r"[^a-zA-Z0-9_.-]+", "-", text).strip("-._") or "activator"


def sighting(made: Made) -> Sighting:
    return Sighting(
        id=made.id,
        phase=made.phase,
        since=made.since,
        requested_at=made.requested_at,
        host=made.host,
        port=made.port,
        detail=made.detail,
    )
