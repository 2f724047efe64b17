"""What was asked of the driver, held against what the outside world says it wants.

Decides whether a new order may be given, whether an order was taken or refused, and whether
somebody else changed the count. What to order is `lifecycle`'s business. What is seen once an order
has been carried out is no older than the order (`Observation.scaling`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from activator.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.observation import Observation

REFUSED = Backoff(first=0.5, factor=2.0, cap=5.0)
"""Between orders that the driver refuses. The cap is short: requests wait behind an activation, and
one call every five seconds harms no API that is away. Once it can be seen again none is left."""

ENDED_WITHIN = 10.0
"""Seconds after a replica's unasked end in which a count that falls is no change by somebody
else."""


SPARED_AFTER = 3.0
"""Seconds for which no more replicas are seen than are wanted until those that were ordered away,
and are still there, count as spared: others went instead of them, or somebody wants them after all.
Whoever stops replicas may have chosen before that, which shows by then."""


class Surprise(StrEnum):
    REFUSED = "refused"
    """The driver did not take the order."""
    FOREIGN = "foreign"
    """Somebody else changed the count."""


@dataclass(frozen=True, slots=True)
class Change:
    """The outside world is not where it was ordered to be."""

    why: Surprise
    expected: int
    wanted: int


class Orders:
    """One endpoint's orders, one at a time. The first look takes the world as it is."""

    def __init__(self) -> None:
        self._count: int | None = None
        self._before = 0
        self._open = False
        self._busy = False
        self._refusals = 0
        self._retry_at = float("-inf")
        self._out_of_touch = False
        self._lost_at = float("-inf")
        self._doomed: set[str] = set()
        self._dooming: frozenset[str] = frozenset()
        self._spared_at = float("inf")

    @property
    def doomed(self) -> frozenset[str]:
        """Replicas that were ordered away and may still be seen for a while."""
        return frozenset(self._doomed)

    @property
    def is_settled(self) -> bool:
        """Nothing is under way: what is wanted is what was ordered."""
        return not self._open and not self._busy

    def may_place(self, *, now: float) -> bool:
        """An order would neither overtake another nor come too soon after a refusal."""
        return self.is_settled and now >= self._retry_at

    def place(self, count: int, *, wanted: int, victims: Iterable[str] = ()) -> None:
        """The order has been given, while the world wanted `wanted`."""
        self._before = wanted
        self._count = count
        self._open = True
        self._dooming = frozenset(victims)
        self._doomed |= self._dooming

    def doom(self, replicas: Iterable[str]) -> None:
        """Somebody else ordered these away."""
        self._doomed.update(replicas)

    def look(self, seen: Observation, *, ended: bool, now: float) -> Change | None:
        """Compare with what is seen; `ended`: replicas ended unasked since the last look.

        A count that falls just after that is no change by somebody else.
        """
        if ended:
            self._lost_at = now
        self._busy = seen.scaling
        if self._count is None:
            self._count = seen.wanted
        is_back = self._out_of_touch and not seen.out_of_touch
        self._out_of_touch = seen.out_of_touch
        if is_back:
            self._refusals, self._retry_at = 0, now
        if self._busy:
            return None
        change = self._follow_up(seen, now) if self._open else None
        self._spare(seen, now)
        return change or self._compare(seen, now)

    def wakes_at(self) -> float:
        """When time alone may change something here; infinity if never."""
        return min(self._spared_at, self._retry_at if self._refusals else float("inf"))

    def _follow_up(self, seen: Observation, now: float) -> Change | None:
        asked = self._count or 0
        self._open = False
        has_shown = seen.wanted == asked != self._before
        if seen.scale_error is None or has_shown:
            self._refusals = 0
            return None
        self._refusals += 1
        self._retry_at = now + REFUSED.delay(self._refusals)
        self._count = seen.wanted
        self._doomed -= self._dooming
        return Change(Surprise.REFUSED, expected=asked, wanted=seen.wanted)

    def _spare(self, seen: Observation, now: float) -> None:
        self._doomed &= {replica.id for replica in seen.replicas}
        if self._doomed and len(seen.replicas) <= seen.wanted:
            self._spared_at = min(self._spared_at, now + SPARED_AFTER)
            if now < self._spared_at:
                return
            self._doomed.clear()
        self._spared_at = float("inf")

    def _compare(self, seen: Observation, now: float) -> Change | None:
        expected = self._count or 0
        if seen.wanted == expected:
            return None
        self._count = seen.wanted
        if seen.wanted < expected and now <= self._lost_at + ENDED_WITHIN:
            return None
        return Change(Surprise.FOREIGN, expected=expected, wanted=seen.wanted)
