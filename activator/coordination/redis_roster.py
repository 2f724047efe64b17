"""The roster's records in a Redis hash, a field an activator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.redisio.link import Link


class RedisRosterStore:
    """Implements `roster.RosterStore`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "roster")
        self._key = link.keys.shared("roster")

    async def beat(self, act: str, record: bytes) -> tuple[bool, Mapping[str, bytes]]:
        is_new, flat = await self._link.run(self._script, [self._key], ["beat", act, record])
        pairs = zip(flat[::2], flat[1::2], strict=True)
        return bool(is_new), {name.decode(): value for name, value in pairs}

    async def drop(self, act: str, record: bytes | None = None) -> None:
        await self._link.run(self._script, [self._key], ["drop", act, record or b""])
