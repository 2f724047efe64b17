"""Quotas in Redis: a number an endpoint and day, which ends by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from activator.redisio.scripts import load

if TYPE_CHECKING:
    from datetime import date

    from activator.redisio.link import Link

KEPT: Final = 2 * 86400
"""Seconds after the last that was taken: activators' clocks differ, but not by a day."""


class RedisQuotas:
    """Implements `coordination.base.Quotas`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "quota")

    async def take(self, endpoint: str, day: date, *, most: int) -> int | None:
        key = self._link.keys.of(endpoint, "quota", day.isoformat())
        taken = int(await self._link.run(self._script, [key], [most, KEPT]))
        return None if taken < 0 else taken
