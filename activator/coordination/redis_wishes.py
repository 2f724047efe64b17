"""What operators want, kept in one Redis hash and called out over one channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.aiokit.slices import Slices
from activator.coordination.wish_talk import decode, encode
from activator.core.standing import Standing
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from activator.coordination.wish_talk import Activated, Answered, Asked, Said
    from activator.redisio.link import Link


class RedisWishStore:
    """Implements `wishes.WishStore`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "wishes")
        self._key = self._channel = link.keys.shared("wishes")

    async def order(self, endpoint: str, *, paused: bool, known: int) -> Standing:
        kept = await self._run("order", endpoint, int(paused), known)
        return kept[endpoint]

    async def meet(self, known: Mapping[str, Standing]) -> Mapping[str, Standing]:
        flat = [(name, each.number, int(each.paused)) for name, each in known.items()]
        return await self._run("meet", *(word for each in flat for word in each))

    async def say(self, said: Activated | Asked | Answered) -> None:
        await self._link.command("PUBLISH", self._channel, encode(said))

    def listen(self, heard: Callable[[Said], None], missed: Callable[[], None]) -> None:
        def hear(message: bytes) -> None:
            said = decode(message)
            if said is not None:
                heard(said)

        self._link.subscribe(self._channel, hear, confirmed=missed)

    async def _run(self, *words: str | int) -> dict[str, Standing]:
        reply: Any = await self._link.run(self._script, [self._key], [self._channel, *words])
        slices = Slices()
        kept: dict[str, Standing] = {}
        for name, number, paused in zip(reply[::3], reply[1::3], reply[2::3], strict=True):
            kept[name.decode()] = Standing(int(number), paused == b"1")
            await slices.turn()
        return kept
