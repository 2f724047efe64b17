"""How long starts took, in Redis: a list an endpoint, the latest start last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from activator.core.eta import REMEMBERED_STARTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from activator.redisio.link import Link

KEPT: Final = 90 * 86400
"""Seconds after the last start: an endpoint that rests for a season is known when it comes back."""
AT_ONCE: Final = 100
"""Commands sent together: few enough for one operation's time."""


class RedisStartLog:
    """Implements `coordination.base.StartLog`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def note(self, endpoint: str, phases: Mapping[str, float]) -> None:
        key = self._key(endpoint)
        start = json.dumps({name: round(spent, 3) for name, spent in phases.items()})
        await self._link.pipeline(
            [
                ("RPUSH", key, start),
                ("LTRIM", key, -REMEMBERED_STARTS, -1),
                ("EXPIRE", key, KEPT),
            ]
        )

    async def last(self, endpoints: Collection[str]) -> Mapping[str, Sequence[Mapping[str, float]]]:
        names, found = list(endpoints), {}
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            replies = await self._link.pipeline([("LRANGE", self._key(n), 0, -1) for n in some])
            for name, starts in zip(some, replies, strict=True):
                found[name] = [phases for raw in starts if (phases := _read(raw))]
        return found

    def _key(self, endpoint: str) -> str:
        return self._link.keys.of(endpoint, "starts")


def _read(raw: bytes) -> dict[str, float]:
    """Empty for what a newer version may have written."""
    try:
        start = json.loads(raw)
    except ValueError:
        return {}
    if not isinstance(start, dict):
        return {}
    known = {name: spent for name, spent in start.items() if isinstance(spent, int | float)}
    return known if len(known) == len(start) else {}
