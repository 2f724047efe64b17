"""Gives an endpoint's scale orders: up at once, down only when no activator sends anything there.

Decides nothing about counts. An order for more goes by the count that was seen: it is void once
somebody else has given another, so that it never becomes one for fewer. An order for fewer is
prepared (`prepare`: the fence is read), agreed upon by all activators, and given with that fence,
so that what anybody revives in between, even while this process stood still, is not stopped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.drivers.base import DriverError

if TYPE_CHECKING:
    from activator.coordination.base import DemandBoard
    from activator.core.effects import SetReplicas
    from activator.drivers.base import Driver

FORCED = "operator"
"""The reason of an order that cuts what is in flight, unless it was agreed upon."""


class Scaler:
    """Of one endpoint."""

    def __init__(self, name: str, *, driver: Driver, board: DemandBoard) -> None:
        self._name = name
        self._driver = driver
        self._board = board
        self._fence = ""

    def prepare(self, fence: str) -> None:
        """The outside world's fence now: before anybody is asked to be quiet."""
        self._fence = fence

    async def ask_quiet(self) -> bool:
        """Whether all agree to what was prepared. See `DemandBoard.ask_quiet`."""
        return await self._board.ask_quiet(self._name, fence=self._fence)

    async def carry_out(self, order: SetReplicas, *, agreed: bool, before: int, fence: str) -> None:
        """Raises DriverError: it was not taken. `agreed`: all have said since `prepare` that they
        have nothing; `before`, `fence`: what was seen when it was decided."""
        fewer = order.count == 0 or bool(order.victims)
        if agreed:
            await self._scale_down(order, fence=self._fence)
        elif fewer and order.reason != FORCED:
            if not await self._board.ask_quiet(self._name, order.victims, fence=fence):
                raise DriverError("not every activator has nothing there")
            await self._scale_down(order, fence=fence)
        elif fewer:
            await self._driver.scale(order.count, victims=order.victims)
        else:
            await self._driver.scale(order.count, before=before)

    async def _scale_down(self, order: SetReplicas, *, fence: str) -> None:
        is_agreed = False
        try:
            is_agreed = await self._board.agree(self._name)
        finally:
            if not is_agreed:
                self._board.conclude(self._name, ordered=False)
        if not is_agreed:
            raise DriverError("draining was called off by an activator")
        try:
            await self._driver.scale(order.count, victims=order.victims, fence=fence)
        finally:
            # a refusal may be one that came too late: whoever gave their word keep it until asked
            self._board.conclude(self._name, ordered=True)
