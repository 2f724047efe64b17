"""Which of an endpoint's replicas its gate may send requests to.

Decides nothing: who is there is the driver's to tell, who answers the prober's, who leaves
`core.lifecycle`'s, whom this activator withholds because it gave its word the member's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.drivers.base import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from activator.control.account import Account
    from activator.core.endpoint import Replica
    from activator.drivers.base import Snapshot
    from activator.upstream.registry import LiveEndpoint, LiveReplica

NOBODY: Final[frozenset[str]] = frozenset()
"""One for all of thousands of endpoints: an empty set is as large as one of four."""


class Rotation:
    """Of one endpoint."""

    __slots__ = ("_account", "_adopted", "_is_closed", "_leaving", "_live", "_paces", "_reached")

    def __init__(self, live: LiveEndpoint, *, account: Account, paces: bool) -> None:
        """`paces`: what is started from now on is given requests one after the other at first."""
        self._live = live
        self._account = account
        self._paces = paces
        self._is_closed = False
        self._leaving = NOBODY
        """Ids that receive nothing new: retired, or told to go and not yet gone."""
        self._adopted: frozenset[str] | None = None
        """Those that were there already; None: nothing was seen yet."""
        self._reached: dict[str, LiveReplica] = {}
        """Replicas that were offered, by the id they were offered under, while anything is in
        flight there."""

    def saw(self, snapshot: Snapshot) -> None:
        there = {each.id for each in snapshot.replicas}
        if self._adopted is None:
            self._adopted = frozenset(there) or NOBODY
        self._leaving = self._leaving & there or NOBODY

    def retire(self, replicas: Iterable[str]) -> None:
        """These leave, and no others: whoever left before, and is not named, is back."""
        self._leaving = frozenset(replicas)

    def leave(self, replicas: Iterable[str]) -> None:
        self._leaving = self._leaving.union(replicas)

    def stay(self, replicas: Iterable[str]) -> None:
        self._leaving = self._leaving.difference(replicas)

    def close(self) -> None:
        """Nobody receives anything new any more."""
        self._is_closed = True

    def is_leaving(self, replica_id: str) -> bool:
        return self._is_closed or replica_id in self._leaving

    def offer(
        self,
        snapshot: Snapshot,
        *,
        ready: Callable[[str], Replica | None],
        withheld: frozenset[str],
    ) -> None:
        """Tell the gate at once: a grant may follow from it."""
        offered: list[tuple[Replica, bool]] = []
        # with none wanted, all that are still seen are on their way out
        nobody = self._is_closed or not snapshot.wanted
        out, adopted = self._leaving | withheld, self._adopted or NOBODY
        for each in () if nobody else snapshot.replicas:
            if each.phase is Phase.STARTED and each.id not in out:
                replica = ready(each.id)
                if replica is not None:
                    offered.append((replica, self._paces and each.id not in adopted))
        live = self._live
        self._account.serves(len(offered))
        live.keys.serving(len(offered), now=live.kit.clock())
        live.offer(offered)
        reached = self._reached | live.replicas
        self._reached = {
            name: replica
            for name, replica in reached.items()
            if name in live.replicas or live.gate.load(name)
        }

    def progressed(self, replica_id: str) -> float | None:
        """When a replica, by the id it was offered under, last showed progress; None: nothing is
        known of it."""
        replica = self._reached.get(replica_id)
        return replica.last_byte if replica else None
