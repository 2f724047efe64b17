"""Quotas of the only activator there is: they end with the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import date


class MemoryQuotas:
    """Implements `coordination.base.Quotas`."""

    def __init__(self) -> None:
        self._taken: dict[str, tuple[date, int]] = {}
        """The latest day of each endpoint, and how many were taken of it."""

    async def take(self, endpoint: str, day: date, *, most: int) -> int | None:
        latest, taken = self._taken.get(endpoint, (day, 0))
        if latest != day:
            taken = 0
        if taken >= most:
            return None
        self._taken[endpoint] = (day, taken + 1)
        return taken + 1
