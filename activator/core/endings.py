"""Replicas that ended unasked: each counted once, as a crash or as a failed start.

Decides which of the two an end was. What follows from it is `lifecycle`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.observation import Ended, SeenReplica

PROVEN_AFTER = 5.0
"""Seconds that a replica must have been ready for its end to be a crash and not a failed start: a
server that binds its port before it loads its weights answers a probe and then dies."""


class Endings:
    """Remembers which ends were counted and since when replicas are ready; no more than is told."""

    def __init__(self) -> None:
        self._known: frozenset[str] | None = None
        self._ready_since: dict[str, float] = {}

    def new(self, told: Iterable[Ended]) -> list[Ended]:
        """The ends not told before; none at the first telling, for those are of an earlier life."""
        ends = list(told)
        ids = frozenset(end.id for end in ends)
        known = ids if self._known is None else self._known
        self._known = ids
        return [end for end in ends if end.id not in known]

    def note(self, replicas: Iterable[SeenReplica], *, now: float) -> None:
        """Who is there, and ready, now. An ejected replica keeps its first moment."""
        before = self._ready_since
        self._ready_since = {
            each.id: before.get(each.id, now)
            for each in replicas
            if each.ready or each.id in before
        }

    def ready_for(self, end: Ended, *, now: float) -> float:
        """Seconds from readiness to the end, as far as readiness was seen; ask before `note`."""
        return now - self._ready_since.get(end.id, now) if end.was_ready else 0.0
