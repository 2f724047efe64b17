"""Bodies are read in turns: each gets on, none holds the others or the loop up."""

from __future__ import annotations

import asyncio
import json
import weakref

from activator.proxy.openai.pieces import SLICE
from activator.proxy.openai.reading import AT_ONCE, Reading, Turns
from tests.unit.proxy.support import asked

WANTED = {"model": 100}


def turns() -> Turns:
    loop = asyncio.get_running_loop()
    return Turns(loop, loop.time)


class Body:
    def __init__(self, turns: Turns, *fields: str) -> None:
        self.told = 0
        self.reading = Reading(turns, asked("POST / HTTP/1.1", *fields), WANTED, self._tell)

    def _tell(self) -> None:
        self.told += 1

    @property
    def model(self) -> object:
        value = self.reading.found.get("model")
        return None if value is None else json.loads(value.raw)


async def test_a_short_body_is_read_as_it_comes() -> None:
    body = Body(turns())

    body.reading.feed(b'{"model":')
    assert (body.model, body.told) == (None, 0)
    body.reading.feed(b'"m",')

    assert (body.model, body.told) == ("m", 1)
    assert not body.reading.over


async def test_whoever_has_had_enough_is_not_held_by_it() -> None:
    body = Body(turns())
    owner, reading = weakref.ref(body), body.reading

    reading.feed(b'{"model":"m",')
    reading.stop()
    del body

    assert owner() is None
    assert "model" in reading.found


async def test_of_a_long_one_only_as_much_as_does_no_harm() -> None:
    body = Body(turns())

    body.reading.feed(b'{"x":"' + b"A" * (AT_ONCE + 2) * SLICE + b'","model":"m"}')

    assert body.reading.behind
    assert body.model is None
    while body.reading.behind:
        await asyncio.sleep(0)
    assert body.model == "m"


async def test_one_that_has_caught_up_says_so_even_if_it_has_found_nothing() -> None:
    body = Body(turns())
    body.reading.feed(b'{"x":"' + b"A" * (AT_ONCE + 2) * SLICE)

    while body.reading.behind:
        await asyncio.sleep(0)

    assert body.told == 1


async def test_while_others_wait_nobody_goes_first() -> None:
    shared = turns()
    long, short = Body(shared), Body(shared)
    long.reading.feed(b'{"x":"' + b"A" * 100 * SLICE)

    short.reading.feed(b'{"model":"m"}')

    assert short.model is None
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert short.model == "m"


async def test_the_end_is_told_once_everything_is_read() -> None:
    body = Body(turns())
    body.reading.feed(b'{"x":"' + b"A" * (AT_ONCE + 2) * SLICE)
    body.reading.end()
    assert body.told == 0

    while not body.reading.over:
        await asyncio.sleep(0)

    assert body.told >= 1


async def test_one_that_stopped_reads_on_for_another_owner() -> None:
    body = Body(turns())
    body.reading.stop()
    body.reading.feed(b'{"model":"m"}')
    assert body.told == 0
    found: list[int] = []

    body.reading.resume(lambda: found.append(1))

    assert body.model == "m"
    assert found
    assert body.told == 0


async def test_a_body_that_is_compressed_tells_nothing() -> None:
    body = Body(turns(), "Content-Encoding: gzip")

    body.reading.feed(b'{"model":"m"}')
    body.reading.end()

    assert body.reading.over
    assert body.model is None
    assert body.told == 1
