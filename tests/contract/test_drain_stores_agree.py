"""The script in Redis and the record in `core.draining` decide alike, whatever is asked of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from activator.coordination.redis_board import RedisBoardStore
from activator.coordination.shared_memory import SharedMemory
from activator.core.draining import Drain, Stage
from tests.redis_server import fresh_prefix, shared_server
from tests.sharing import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.coordination.board import BoardStore
    from activator.redisio.link import Link

ACTS = ("a", "b", "c")
REPLICAS = (None, (), ("m-1",), ('m-"2"', "m-3"))

act = st.sampled_from(ACTS)
which = st.integers(0, 2)
"""The latest drain, the one before, the one before that."""
steps = st.one_of(
    st.tuples(st.just("join"), act),
    st.tuples(st.just("leave"), act),
    st.tuples(st.just("declare"), act, st.integers(1, 3), st.sampled_from(REPLICAS)),
    st.tuples(st.just("answer"), act, which, st.booleans()),
    st.tuples(st.just("answer"), act, st.just(0), st.just(True)),
    st.tuples(st.just("agree"), which, st.sets(act, max_size=1)),
    st.tuples(st.just("agree"), st.just(0), st.just(set())),
    st.tuples(st.just("revive"), act),
    st.tuples(st.just("conclude"), which, st.booleans()),
)


class Side:
    """One store, with its drains' numbers by their order."""

    def __init__(self, store: BoardStore) -> None:
        self.store = store
        self.numbers = [0]
        self.said: list[Any] = []
        store.listen(self.said.append, lambda: None)

    def number(self, back: int) -> int:
        known = self.numbers[1:]
        return known[max(0, len(known) - 1 - back)] if known else -1

    def drain(self, drain: Drain | None) -> Any:
        """Without what the stores number differently."""
        if drain is None:
            return None
        return self.order(drain.number), drain.stage, drain.by, drain.replicas

    def order(self, number: int) -> int:
        return self.numbers.index(number)

    def heard(self) -> list[Any]:
        return [
            (type(each).__name__, self.order(each.number), *said_of(each)) for each in self.said
        ]

    async def do(self, verb: str, *words: Any) -> Any:
        store = self.store
        match verb, words:
            case "join", (who,):
                return [self.drain(each) for each in await store.join(["m"], who)]
            case "leave", (who,):
                return await store.leave(["m"], who)
            case "declare", (who, term, replicas):
                drain, done = await store.declare(
                    "m", by=who, term=term, replicas=replicas, fence="7"
                )
                if done:
                    self.numbers.append(drain.number)
                return self.drain(drain), done, sorted(drain.words) if done else []
            case "answer", (who, back, quiet):
                number = self.number(back)
                return await store.answer("m", act=who, number=number, quiet=quiet)
            case "agree", (back, excused):
                return await store.agree("m", number=self.number(back), excused=sorted(excused))
            case "revive", (who,):
                return self.drain(await store.revive("m", act=who))
            case "conclude", (back, ordered):
                return await store.conclude("m", number=self.number(back), ordered=ordered)
        raise AssertionError(verb)


@settings(max_examples=60, deadline=None)
@given(script=st.lists(steps, max_size=25))
def test_they_answer_alike_keep_alike_and_call_out_alike(script: Sequence[Any]) -> None:
    asyncio.run(both(script))


async def both(script: Sequence[Any]) -> None:
    memory = SharedMemory()
    async with opened(shared_server().url, fresh_prefix()) as link:
        here, there = Side(memory.board), Side(RedisBoardStore(link))
        while not link._hub.hears(link.keys.shared("board")):
            await asyncio.sleep(0.001)
        for step in script:
            assert await here.do(*step) == await there.do(*step), step
            kept = memory.board.drains.get("m")
            assert await record_of(link, there) == kept_of(kept, here), step
        while len(there.said) < len(here.said):
            await asyncio.sleep(0.001)
        assert here.heard() == there.heard()


def said_of(said: Any) -> tuple[str, ...]:
    return getattr(said, "act", ""), getattr(said, "fence", "")


def kept_of(drain: Drain | None, side: Side) -> Any:
    if drain is None or drain == Drain():
        return None
    words = {who: side.order(number) for who, number in drain.words.items()}
    return drain.stage, drain.by, words


async def record_of(link: Link, side: Side) -> Any:
    flat = await link.command("HGETALL", link.keys.of("m", "drain"))
    found = dict(zip(flat[::2], flat[1::2], strict=True))
    if not found:
        return None
    assert found[b"v"] == b"1"
    assert await link.command("PTTL", link.keys.of("m", "drain")) > 0
    words = {
        name[2:].decode(): side.order(int(number))
        for name, number in found.items()
        if name.startswith(b"w:")
    }
    return Stage(found[b"stage"].decode()), found.get(b"by", b"").decode(), words
