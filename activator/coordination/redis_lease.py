"""The lease's record in a Redis hash; its giving back is called out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.core.election import LeaseRecord
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.redisio.link import Link


class RedisLeaseStore:
    """Implements `lease.LeaseStore`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "lease")
        self._key = self._channel = link.keys.shared("lease")

    async def look(self) -> LeaseRecord:
        record, _ = await self._run("look")
        return record

    async def acquire(self, act: str, *, seen: LeaseRecord, term: int) -> tuple[LeaseRecord, bool]:
        return await self._run("acquire", act, term, seen.holder, seen.term, seen.beat)

    async def renew(self, act: str, *, term: int) -> tuple[LeaseRecord, bool]:
        return await self._run("renew", act, term)

    async def give_back(self, act: str, *, term: int) -> None:
        await self._run("give_back", act, term, self._channel)

    def listen(self, given_back: Callable[[], None]) -> None:
        self._link.subscribe(self._channel, lambda _: given_back())

    async def _run(self, *words: str | int) -> tuple[LeaseRecord, bool]:
        reply: Any = await self._link.run(self._script, [self._key], words)
        done, holder, term, beat = reply
        return LeaseRecord(holder.decode(), int(term), int(beat)), bool(done)
