"""1→N while an endpoint is active: the count that should run now, and how some of them leave.

Decides the count (autoscaling over a floor that somebody set by hand) and when those who are to go
have finished. Orders and states are `lifecycle`'s business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.autoscaling import Autoscaler, highest, victims

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.core.endpoint import ScalePolicy
    from activator.core.observation import SeenReplica

SETTLES_AFTER = 1.0
"""Seconds from taking a replica out of rotation until its count of requests is believed: a request
may have been granted to it just before, at another activator."""


class Resizer:
    """One endpoint's size between one and many. With a fixed size it does no work."""

    def __init__(self) -> None:
        self._autoscaler = Autoscaler()
        self._floor = 0
        self._leaving: tuple[str, ...] = ()
        self._left_at = 0.0

    @property
    def leaving(self) -> tuple[str, ...]:
        """Those that get nothing new and finish what they have."""
        return self._leaving

    def restart(self, count: int, *, now: float) -> None:
        """`count` replicas run from now on, nobody leaves."""
        self._autoscaler.restart(count, now=now)
        self._leaving = ()

    def accept(self, floor: int) -> None:
        """Somebody wants at least so many until the endpoint goes idle; 0: nobody does."""
        self._floor = floor

    def lower(self, count: int) -> None:
        """Somebody went below what was accepted before."""
        self._floor = min(self._floor, count)

    def count(self, demand: int, *, ready: int, policy: ScalePolicy, now: float) -> int:
        """The replicas that should run now. `demand` holds until the next call."""
        if _is_fixed(policy):
            return max(policy.min, 1, self._floor)
        asked = self._autoscaler.desired(demand, ready=ready, policy=policy, now=now)
        return max(asked, self._floor)

    def leave(self, alive: Sequence[SeenReplica], *, count: int, now: float) -> bool:
        """Take `count` of those alive out of rotation; True once they have finished.

        Who was chosen stays chosen while it is there, however idle others become. Where the
        outside world takes the highest ordinals whatever we name, it is these that finish.
        """
        there = {replica.id for replica in alive}
        chosen = tuple(each for each in self._leaving if each in there)[: max(count, 0)]
        if any(replica.ordinal is not None for replica in alive):
            chosen = highest(alive, count=count)
        elif len(chosen) < count:
            others = [replica for replica in alive if replica.id not in chosen]
            chosen += victims(others, count=count - len(chosen))
        if not set(chosen) <= set(self._leaving):
            self._left_at = now
        self._leaving = chosen
        busy = any(replica.in_flight for replica in alive if replica.id in chosen)
        return not chosen or (not busy and now >= self._left_at + SETTLES_AFTER)

    def stay(self) -> None:
        """Nobody leaves."""
        self._leaving = ()

    def wakes_at(self, *, policy: ScalePolicy, now: float) -> float:
        """When time alone may change something here; infinity if never."""
        settled = self._left_at + SETTLES_AFTER if self._leaving else float("inf")
        if _is_fixed(policy):
            return settled
        averaged = self._autoscaler.next_change(policy=policy, now=now)
        return min(averaged, settled) if settled > now else averaged


def _is_fixed(policy: ScalePolicy) -> bool:
    return policy.max <= max(policy.min, 1)
