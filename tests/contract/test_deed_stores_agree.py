"""The script in Redis and the record in `core.deeds` decide alike, whatever is asked of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from activator.coordination.redis_deeds import RedisDeedStore
from activator.coordination.shared_memory import SharedMemory
from activator.core.deeds import Deed
from tests.redis_server import fresh_prefix, shared_server
from tests.sharing import opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.coordination.deeds import DeedStore

act = st.sampled_from(("a", "b"))
told = st.sampled_from((b"", b'{"v":1}', bytes(range(256))))
which = st.integers(0, 2)
"""The deed as it is, or as it was one or two answers ago."""
count = st.integers(0, 3)
steps = st.one_of(
    st.tuples(st.just("claim"), act, which, st.integers(0, 2), st.none() | count, told),
    st.tuples(st.just("claim"), act, st.just(0), st.just(1), st.none() | count, told),
    st.tuples(
        st.just("order"), act, count, st.sampled_from(((), ("m-1",), ("m-2", "m-3"))),
        st.sampled_from((None, 0, 1)), st.one_of(st.none(), which),
    ),
    st.tuples(st.just("revive"), act),
    st.tuples(st.just("tell"), act, which, which, count, st.booleans(), told),
    st.tuples(st.just("give_back"), act, which, which, told),
    st.tuples(st.just("look")),
)  # fmt: skip


class Side:
    """One store, and the deeds that it has answered."""

    def __init__(self, store: DeedStore) -> None:
        self.store = store
        self.seen = [Deed()]
        self.heard: list[tuple[str, str]] = []
        store.listen(lambda act, endpoint: self.heard.append((act, endpoint)), lambda: None)

    def was(self, back: int) -> Deed:
        return self.seen[max(0, len(self.seen) - 1 - back)]

    async def do(self, verb: str, *words: Any) -> Any:
        deed, done = await self.ask(verb, *words)
        assert 0 <= deed.age < 60
        self.seen.append(deed)
        return deed, done

    async def ask(self, verb: str, *words: Any) -> tuple[Deed, Any]:
        store = self.store
        match verb, words:
            case "claim", (who, back, higher, wanted, told):
                seen = replace(self.was(back), number=back)
                return await store.claim(
                    *("m", who), seen=seen, term=self.was(0).term + higher, wanted=wanted,
                    where="{}", told=told,
                )  # fmt: skip
            case "order", (who, wanted, victims, before, back):
                fence = "" if back is None else self.was(back).fence_word
                return await store.order(
                    "m", who, wanted=wanted, victims=victims, before=before, fence=fence
                )
            case "revive", (who,):
                return await store.revive("m", who), None
            case "tell", (who, back, behind, wanted, is_leaving, told):
                return await store.tell(
                    *("m", who), term=self.was(back).term, taken=self.was(0).number - behind,
                    wanted=wanted, told=told, is_leaving=is_leaving, aloud=True,
                )  # fmt: skip
            case "give_back", (who, back, behind, told):
                term, number = self.was(back).term, self.was(0).number - behind
                return await store.give_back("m", who, term=term, number=number, told=told)
            case "look", ():
                (found,) = await store.look(["m"])
                assert isinstance(found, Deed)
                return found, None
        raise AssertionError(verb)


@settings(max_examples=60, deadline=None)
@given(script=st.lists(steps, max_size=25))
def test_they_answer_alike_and_call_out_alike(script: Sequence[Any]) -> None:
    asyncio.run(both(script))


async def both(script: Sequence[Any]) -> None:
    async with opened(shared_server().url, fresh_prefix()) as link:
        here, there = Side(SharedMemory().deeds), Side(RedisDeedStore(link))
        while not link._hub.hears(link.keys.shared("deeds")):
            await asyncio.sleep(0.001)
        for step in script:
            assert await here.do(*step) == await there.do(*step), step
        while len(there.heard) < len(here.heard):
            await asyncio.sleep(0.001)
        assert here.heard == there.heard
        if here.heard:
            assert await link.command("PTTL", link.keys.of("m", "deed")) > 0
