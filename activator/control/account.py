"""What one controller's endpoint has used and saved since it took the endpoint over.

Counting is `core.costs`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.core.costs import Ledger
from activator.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.control.coldstart import ColdStarts
    from activator.core.endpoint import Endpoint


class Account:
    """Of one controller."""

    __slots__ = ("_clock", "_cold_starts", "costs", "serving")

    def __init__(
        self, endpoint: Endpoint, *, cold_starts: ColdStarts, clock: Callable[[], float]
    ) -> None:
        self.costs = Ledger(
            now=clock(),
            always_on=max(endpoint.scale.min, 1),
            price_per_hour=endpoint.cost_per_replica_hour,
        )
        self.serving = Ledger(now=clock())
        """Replica time during which requests could be sent; the rest of `costs` is starting,
        stopping or out of rotation."""
        self._cold_starts = cold_starts
        self._clock = clock

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
