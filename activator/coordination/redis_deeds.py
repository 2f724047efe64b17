"""The deeds in Redis: a hash an endpoint, one channel for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.core.deeds import Deed, Ordered
from activator.errors import StoreUnavailable
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.redisio.link import Link
    from activator.redisio.scripts import Call

_ORDERED = {
    b"taken": Ordered.TAKEN,
    b"outdated": Ordered.OUTDATED,
    b"nobodys": Ordered.NOBODYS,
}


class RedisDeedStore:
    """Implements `deeds.DeedStore`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "deed")
        self._channel = link.keys.shared("deeds")

    async def look(self, endpoints: Sequence[str]) -> Sequence[Deed | Exception]:
        replies = await self._link.each([self._call(each, "", "look") for each in endpoints])
        return [_read(reply) for reply in replies]

    async def claim(
        self,
        endpoint: str,
        act: str,
        *,
        seen: Deed,
        term: int,
        wanted: int | None,
        where: str,
        told: bytes,
    ) -> tuple[Deed, bool]:
        as_seen = (seen.holder, seen.term, seen.number, seen.fence)
        count = -1 if wanted is None else wanted
        done, deed = await self._run(endpoint, act, "claim", *as_seen, term, count, where, told)
        return deed, done == 1

    async def order(
        self,
        endpoint: str,
        act: str,
        *,
        wanted: int,
        victims: tuple[str, ...],
        before: int | None,
        fence: str,
    ) -> tuple[Deed, Ordered]:
        lines = "".join(f"{each}\n" for each in victims)
        became, deed = await self._run(
            endpoint, act, "order", wanted, lines, fence, -1 if before is None else before
        )
        return deed, _ORDERED[became]

    async def revive(self, endpoint: str, act: str) -> Deed:
        _, deed = await self._run(endpoint, act, "revive")
        return deed

    async def tell(
        self,
        endpoint: str,
        act: str,
        *,
        term: int,
        taken: int,
        wanted: int,
        told: bytes,
        is_leaving: bool,
        aloud: bool,
    ) -> tuple[Deed, bool]:
        done, deed = await self._run(
            endpoint, act, "tell", term, taken, wanted, int(is_leaving), told, int(aloud)
        )
        return deed, done == 1

    async def give_back(
        self, endpoint: str, act: str, *, term: int, number: int, told: bytes
    ) -> tuple[Deed, bool]:
        done, deed = await self._run(endpoint, act, "give_back", term, number, told)
        return deed, done == 1

    def listen(self, changed: Callable[[str, str], None], missed: Callable[[], None]) -> None:
        def hear(said: bytes) -> None:
            act, _, endpoint = said.decode().partition(" ")
            changed(act, endpoint)

        self._link.subscribe(self._channel, hear, confirmed=missed)

    async def _run(
        self, endpoint: str, act: str, verb: str, *words: str | int | bytes
    ) -> tuple[Any, Deed]:
        call = self._call(endpoint, act, verb, *words)
        done, *fields = await self._link.run(call.script, call.keys, call.args)
        return done, _deed(fields)

    def _call(self, endpoint: str, act: str, verb: str, *words: str | int | bytes) -> Call:
        key = self._link.keys.of(endpoint, "deed")
        return self._script([key], [endpoint, self._channel, act, verb, *words])


def _read(reply: Any | StoreUnavailable) -> Deed | Exception:
    if isinstance(reply, StoreUnavailable):
        return reply
    try:
        return _deed(reply[1:])
    except Exception as odd:  # nobody of ours has written it
        return odd


def _deed(fields: list[bytes]) -> Deed:
    holder, term, where, leaving, number, taken, fence, wanted, victims, told, age = fields
    return Deed(
        holder=holder.decode(),
        term=int(term),
        where=where.decode(),
        is_leaving=leaving == b"1",
        number=int(number),
        taken=int(taken),
        fence=int(fence),
        wanted=int(wanted),
        victims=tuple(victims.decode().splitlines()),
        told=told,
        age=max(0, int(age)) / 1000,
    )
