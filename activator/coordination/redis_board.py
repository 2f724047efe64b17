"""What the demand board keeps and calls out in Redis: a hash an endpoint, one channel for all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from activator.coordination.board_talk import decode, encode, read_replicas, replicas_word
from activator.core.draining import Drain, Stage
from activator.redisio.scripts import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.coordination.board_talk import Declared, Said, Shares
    from activator.redisio.link import Link
    from activator.redisio.scripts import Call


class RedisBoardStore:
    """Implements `board.BoardStore`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._script = load("activator.coordination", "drain")
        self._channel = link.keys.shared("board")

    async def say(self, shares: Shares) -> None:
        await self._link.command("PUBLISH", self._channel, encode(shares))

    def listen(self, heard: Callable[[Said], None], missed: Callable[[], None]) -> None:
        def hear(message: bytes) -> None:
            said = decode(message)
            if said is not None:
                heard(said)

        self._link.subscribe(self._channel, hear, confirmed=missed)

    async def join(self, endpoints: Sequence[str], act: str) -> Sequence[Drain]:
        replies = await self._link.pipeline([self._call(each, "join", act) for each in endpoints])
        return [_drain(reply) for reply in replies]

    async def leave(self, endpoints: Sequence[str], act: str) -> None:
        await self._link.pipeline([self._call(each, "leave", act) for each in endpoints])

    async def declare(
        self, endpoint: str, *, by: str, term: int, replicas: tuple[str, ...] | None, fence: str
    ) -> tuple[Drain, bool]:
        reply = await self._run(endpoint, "declare", by, term, replicas_word(replicas), fence)
        return _drain(reply), bool(reply[0])

    async def answer(self, endpoint: str, *, act: str, number: int, quiet: bool) -> None:
        await self._run(endpoint, "answer", act, number, int(quiet))

    async def agree(self, endpoint: str, *, number: int, excused: Sequence[str]) -> bool:
        reply = await self._run(endpoint, "agree", number, *excused)
        return bool(reply[0])

    async def revive(self, endpoint: str, *, act: str) -> Drain:
        return _drain(await self._run(endpoint, "revive", act))

    async def conclude(self, endpoint: str, *, number: int, ordered: bool) -> None:
        await self._run(endpoint, "conclude", number, int(ordered))

    async def remind(self, declared: Declared) -> None:
        await self._link.command("PUBLISH", self._channel, encode(declared))

    async def _run(self, endpoint: str, verb: str, *words: str | int) -> Any:
        call = self._call(endpoint, verb, *words)
        return await self._link.run(call.script, call.keys, call.args)

    def _call(self, endpoint: str, verb: str, *words: str | int) -> Call:
        key = self._link.keys.of(endpoint, "drain")
        return self._script([key], [endpoint, self._channel, verb, *words])


def _drain(reply: Any) -> Drain:
    _, number, stage, by, replicas, *members = reply
    return Drain(
        number=int(number),
        stage=Stage(stage.decode()),
        by=by.decode(),
        replicas=read_replicas(replicas.decode()),
        words=dict.fromkeys((act.decode() for act in members), 0),
    )
