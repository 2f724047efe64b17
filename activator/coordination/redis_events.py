"""Events of all activators in Redis: a capped stream, and a channel that says that it has grown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from activator.coordination.shared_events import KEPT, PAGE, Entry
from activator.telemetry.events import id_of, moment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.redisio.link import Link

LASTING: Final = 30 * 86400
"""Seconds after the last one that events are kept."""


class RedisEventStore:
    """Implements `shared_events.EventStore`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._key = self._channel = link.keys.shared("events")

    async def append(self, said: Sequence[tuple[int, str]], *, author: str, again: bool) -> None:
        if again:
            there = {each.number for each in await self._latest() if each.author == author}
            said = [each for each in said if each[0] not in there]
        add = ("XADD", self._key, "MAXLEN", KEPT, "*", "by", author)
        await self._link.pipeline(
            [
                *((*add, "number", number, "said", text) for number, text in said),
                ("EXPIRE", self._key, LASTING),
                ("PUBLISH", self._channel, ""),
            ]
        )

    async def since(self, after: int) -> list[Entry]:
        at, number = moment_of(after)
        reply = await self._link.command(
            "XRANGE", self._key, f"{at}-{number + 1}", "+", "COUNT", PAGE
        )
        return _entries(reply)

    def listen(self, news: Callable[[], None]) -> Callable[[], None]:
        return self._link.subscribe(self._channel, lambda _: news(), confirmed=news).close

    async def _latest(self) -> list[Entry]:
        return _entries(await self._link.command("XREVRANGE", self._key, "+", "-", "COUNT", KEPT))


def _entries(reply: Any) -> list[Entry]:
    found: list[Entry] = []
    for raw_id, flat in reply:
        at, _, number = raw_id.decode().partition("-")
        texts = [word.decode() for word in flat]
        fields = dict(zip(texts[::2], texts[1::2], strict=True))
        found.append(
            Entry(
                id_of(int(at), int(number)),
                fields.get("by", ""),
                int(fields.get("number", 0)),
                fields.get("said", ""),
            )
        )
    return found
