"""What one controller's endpoint has used and saved since it took the endpoint over.

Counting is `core.costs`'. Decides who counts what while controllers of one endpoint take turns: the
replicas of the one before finish what they have, for hours perhaps, and until they have, the next
one has not begun. They are of one line, and each counts all that the line has used: whoever reads
one of them after another finds every moment once, whichever of them it missed.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from activator.core.costs import Ledger
from activator.core.usage import NOTHING, Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.control.coldstart import ColdStarts
    from activator.core.endpoint import Endpoint


class Account:
    """Of one controller."""

    __slots__ = (
        "_before",
        "_clock",
        "_cold_starts",
        "_inherited",
        "_line",
        "_told",
        "costs",
        "serving",
    )

    def __init__(
        self, endpoint: Endpoint, *, cold_starts: ColdStarts, clock: Callable[[], float]
    ) -> None:
        self.costs = Ledger(
            now=inf,
            always_on=max(endpoint.scale.min, 1),
            price_per_hour=endpoint.cost_per_replica_hour,
        )
        self.serving = Ledger(now=inf)
        """Replica time during which requests could be sent; the rest of `costs` is starting,
        stopping or out of rotation."""
        self._cold_starts = cold_starts
        self._clock = clock
        self._line = object()
        self._before: Account | None = None
        """Whose replicas finish; this one has not begun."""
        self._inherited = NOTHING
        """What the line had used when this one began."""
        self._told: Usage | None = None
        """For good: it is over."""

    def follow(self, before: Account) -> None:
        """From now on this is the endpoint's."""
        # one that has not begun counts nothing by itself
        self._before = before._before or before
        self._line = before._line

    def goes_on_from(self, other: Account) -> bool:
        """Or that from this: what either has counted, so has, or will have, the other."""
        return self._line is other._line

    @property
    def is_waiting(self) -> bool:
        """For the replicas of the one before."""
        return self._before is not None

    def begin(self) -> None:
        self._inherited, self._before = self._of_those_before(), None
        now = self._clock()
        self.costs.begin(now=now)
        self.serving.begin(now=now)

    def end(self) -> None:
        self._told = self.usage()

    def runs(self, replicas: int) -> None:
        """So many are there from now on."""
        self.costs.observe(replicas, now=self._clock())

    def serves(self, replicas: int) -> None:
        """To so many of them requests can be sent."""
        self.serving.observe(replicas, now=self._clock())

    def started(self, seconds: float) -> None:
        """A start from zero has ended, well or not, after so long."""
        self.costs.started(seconds)

    def reprice(self, endpoint: Endpoint) -> None:
        if self._before is not None:
            self._before.reprice(endpoint)
        self.costs.reprice(
            always_on=max(endpoint.scale.min, 1),
            price_per_hour=endpoint.cost_per_replica_hour,
            now=self._clock(),
        )

    def read(self) -> None:
        """Both ledgers, up to now."""
        now = self._clock()
        self.costs.book(now=now)
        self.serving.book(now=now)

    def usage(self) -> Usage:
        """Of the line, up to now or until this one was over."""
        if self._told is not None:
            return self._told
        return self._of_those_before() + self._counted()

    def _of_those_before(self) -> Usage:
        return self._inherited if self._before is None else self._before.usage()

    def _counted(self) -> Usage:
        """All that its own replicas have used, and what was saved meanwhile."""
        self.read()
        costs, serving = self.costs, self.serving
        return Usage(
            ready_seconds=serving.used,
            other_seconds=max(0.0, costs.used - serving.used),
            saved_seconds=costs.saved,
            cost=costs.cost,
            saved=costs.cost_saved,
            cold_starts=self._cold_starts.count,
            cold_start_cost=costs.start_cost,
        )
