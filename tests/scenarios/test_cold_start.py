"""From zero: one activation however many wait, the drain in order and at the replica's pace."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from tests.support import eventually
from tests.town import spawn, town

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Talk
    from tests.town import Town


class Counter:
    """A behaviour that answers when it is told to."""

    def __init__(self) -> None:
        self.now = 0
        self.most = 0
        self.begun: list[str] = []
        self._permits = asyncio.Semaphore(0)

    def answer(self, count: int = 1) -> None:
        for _ in range(count):
            self._permits.release()

    async def until(self, count: int) -> None:
        await eventually(lambda: self.now == count)

    async def __call__(self, talk: Talk) -> None:
        self.begun.append(talk.heard.target.decode())
        self.now += 1
        self.most = max(self.most, self.now)
        await self._permits.acquire()
        self.now -= 1
        await talk.answer(200, b"ok")


async def held(t: Town, count: int) -> None:
    await eventually(lambda: t.status_of("a").held == count)


async def becomes_ready(t: Town) -> None:
    """The replica that has been started, which answered its probe with 503 so far."""
    await eventually(lambda: t.replicas_of("a"))
    t.replicas_of("a")[0].ready = True


async def in_order(t: Town, count: int) -> list[asyncio.Task[Reply]]:
    """Requests of which each is in line before the next is sent, on connections of their own."""
    asked: list[asyncio.Task[Reply]] = []
    for number in range(count):
        asked.append(spawn(t.get(f"/{number}")))
        await held(t, number + 1)
    return asked


async def test_however_many_come_at_once_there_is_one_activation_and_all_are_served() -> None:
    async with town("a", concurrency=4) as t:
        t.starts_ready = False
        asked = [spawn(t.get(f"/{number}", within=20.0)) for number in range(200)]
        await held(t, 200)
        await becomes_ready(t)
        replies = await asyncio.gather(*asked)

        assert {reply.status for reply in replies} == {200}
        assert {reply.get("x-activator-cold-start") for reply in replies} == {b"true"}
        assert t.orders("a") == [1]
        assert t.actions("a").count("activating") == 1
        assert len({heard.target for heard in t.replicas_of("a")[0].requests}) == 200


async def test_the_first_request_orders_a_replica_at_once() -> None:
    async with town("a") as t:
        asked_at = asyncio.get_running_loop().time()
        assert (await t.get()).status == 200

        assert t.driver_of("a").calls[0].at - asked_at < 0.1


async def test_the_line_is_drained_in_order() -> None:
    async with town("a", concurrency=1) as t:
        t.starts_ready = False
        asked = await in_order(t, 30)
        await becomes_ready(t)
        await asyncio.gather(*asked)

        heard = [request.target for request in t.replicas_of("a")[0].requests]
        assert heard == [b"/%d" % number for number in range(30)]


async def test_the_drain_never_exceeds_the_limit() -> None:
    async def slow(talk: Talk) -> None:
        await asyncio.sleep(0.01)
        await talk.answer(200, b"ok")

    async with town("a", behave=slow, concurrency=3) as t:
        await asyncio.gather(*(t.get() for _ in range(60)))

        assert t.replicas_of("a")[0].most_in_flight == 3


async def test_the_drain_is_paced_after_a_start() -> None:
    counter = Counter()
    async with town("a", behave=counter, concurrency=8) as t:
        asked = [spawn(t.get()) for _ in range(16)]
        for window in (1, 2, 4):
            await counter.until(window)
            await asyncio.sleep(0.02)  # no more come: each step waits for a first byte
            assert counter.now == window
            counter.answer()  # one first byte: one step wider
        await counter.until(8)
        counter.answer(16)
        await asyncio.gather(*asked)

        assert counter.most == 8


async def test_without_first_bytes_the_window_opens_by_the_second() -> None:
    counter = Counter()
    async with town("a", behave=counter, concurrency=4) as t:
        asked = [spawn(t.get()) for _ in range(4)]
        await counter.until(1)
        began = time.monotonic()
        await counter.until(2)

        assert 0.9 < time.monotonic() - began < 1.3
        counter.answer(4)
        await asyncio.gather(*asked)


async def test_the_first_request_is_at_the_replica_as_soon_as_it_answers_its_probe() -> None:
    async with town("a") as t:
        t.starts_ready = False
        asked = spawn(t.get())
        await eventually(lambda: t.by_id)
        replica = t.replicas_of("a")[0]
        await asyncio.sleep(0.1)
        assert not replica.requests
        replica.ready = True
        began = time.monotonic()
        await eventually(lambda: replica.requests, every=0.001)

        assert time.monotonic() - began < 0.15  # of which 10 ms are the probe's interval
        await asked


async def test_a_client_that_leaves_in_line_never_reaches_a_replica_and_the_start_goes_on() -> None:
    async with town("a") as t:
        t.driver_of("a").start_delay = 0.2
        client = await t.send(b"GET /gone HTTP/1.1\r\nHost: a.example\r\n\r\n")
        await held(t, 1)
        await client.close()
        await held(t, 0)
        await t.until_state("active")

        assert t.replicas_of("a")[0].requests == []


async def test_a_second_cold_start_knows_what_to_expect() -> None:
    async with town("a", scale={"idleTimeout": "50ms"}) as t:
        t.driver_of("a").start_delay = 0.2
        await t.get()
        await t.until_zero("a")
        typical = t.status_of("a").typical_start
        assert typical is not None
        assert 0.2 <= typical < 0.5

        t.driver_of("a").start_delay = 0.0
        late = await t.get(headers={"X-Activator-Deadline": "100ms"})
        assert (late.status, late.why) == (503, "deadline")
