from __future__ import annotations

import asyncio

from activator.queueing.telling import Bells


async def test_everybody_who_listens_to_a_topic_hears_a_turn_later() -> None:
    bells: Bells[str, int] = Bells()
    heard: list[tuple[str, int]] = []
    bells.listen("a", lambda what: heard.append(("first", what)))
    bells.listen("a", lambda what: heard.append(("second", what)))
    bells.listen("b", lambda what: heard.append(("other", what)))

    bells.ring("a", 1)
    bells.ring("nobody", 2)

    assert heard == []
    await asyncio.sleep(0)
    assert heard == [("first", 1), ("second", 1)]


async def test_who_has_closed_hears_nothing_any_more() -> None:
    bells: Bells[str, int] = Bells()
    heard: list[int] = []
    bell = bells.listen("a", heard.append)
    bells.ring("a", 1)
    bell.close()
    bell.close()
    bells.ring("a", 2)

    await asyncio.sleep(0)
    assert heard == []
    assert bells.topics == []


async def test_the_first_listener_and_the_end_of_the_last_are_told() -> None:
    told: list[str] = []
    bells: Bells[str, int] = Bells(
        first=lambda topic: told.append(f"first {topic}"),
        last=lambda topic: told.append(f"last {topic}"),
    )
    one, other = bells.listen("a", lambda _: None), bells.listen("a", lambda _: None)
    assert told == ["first a"]
    one.close()
    assert told == ["first a"]
    other.close()
    assert told == ["first a", "last a"]
    bells.listen("a", lambda _: None)
    assert told == ["first a", "last a", "first a"]
