"""What one activator says of an endpoint on the demand board, and how it keeps its word.

Decides nothing: whether there is anything is the gate's to say, who is in rotation the controller's
to carry out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from activator.control.rotation import NOBODY
from activator.coordination.base import Share
from activator.drivers.base import DriverError, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.drivers.base import Driver, Snapshot
    from activator.upstream.registry import LiveEndpoint


_log = logging.getLogger("activator.control")


class EndpointMember:
    """Implements `coordination.base.Member`."""

    def __init__(
        self,
        live: LiveEndpoint,
        driver: Driver,
        *,
        offer: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        """`offer`: put in rotation who is neither gone nor withheld."""
        self._live = live
        self._driver = driver
        self._offer = offer
        self._wake = wake
        self.withheld = NOBODY
        """Ids that get nothing new because this activator has given its word."""

    def follow(self, stirred: Callable[[], None]) -> None:
        self._live.gate.stirred = stirred

    @property
    def is_at_rest(self) -> bool:
        return self._live.gate.is_at_rest

    @property
    def share(self) -> Share:
        gate = self._live.gate
        return Share(gate.demand, gate.held, gate.held_bytes, gate.loads)

    @property
    def demand(self) -> int:
        return self._live.gate.demand

    @property
    def last_ended(self) -> float:
        return self._live.gate.last_ended

    @property
    def patience(self) -> float:
        return self._live.endpoint.timeouts.total

    def quiesce(self, replicas: Sequence[str] | None = None) -> bool:
        if replicas is None:
            return self._live.gate.quiesce()
        here = self._live.gate.loads
        if any(here.get(each) for each in replicas):
            return False  # what the others have there is theirs to say
        # an order that an earlier word was given for may still be on its way
        self.withheld |= frozenset(replicas)
        self._offer()
        return True

    def saw(self, before: Snapshot, now: Snapshot) -> None:
        """Who has gone need not be withheld any more. One that has not been seen yet may come."""
        if not self.withheld:
            return
        there = {each.id for each in now.replicas if each.phase is not Phase.STOPPING}
        known = {each.id for each in (*before.replicas, *now.replicas)}
        self.withheld = self.withheld - (known - there) or NOBODY

    def revive(self) -> None:
        if self.withheld:
            self.withheld = NOBODY
            self._offer()
        self._live.gate.revive()

    async def mark_revived(self) -> bool:
        try:
            await self._driver.bump_fence()
        except DriverError as error:
            _log.warning(
                "cannot be marked as revived",
                extra={
                    "action": "not_marked",
                    "endpoint": self._live.endpoint.name,
                    "reason": str(error),
                },
            )
            return False
        return True

    def changed(self) -> None:
        self._wake()

    def close(self) -> None:
        """Nobody is put in rotation any more."""
        self._offer = _nobody


def _nobody() -> None:
    """It is over."""
