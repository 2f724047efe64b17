"""The line: who is served first, how many at once, and when waiting is hopeless."""

from __future__ import annotations

import asyncio
import time

import pytest

from activator.core.effects import FailedStart
from tests.replica import Talk, hello
from tests.stage import NAME, Stage, request, stage
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("each_store")


async def order_of(s: Stage, asked: list[tuple[str, str]]) -> list[str]:
    """Hold these (name, priority) one after the other, then have them served one at a time."""
    clients = []
    for number, (name, priority) in enumerate(asked):
        headers = {"Priority": priority} if priority else {}
        clients.append(await s.send(request(f"/{name}", headers=headers)))
        await s.until_in_line(number + 1)
    await s.replica.start()
    for client in clients:
        assert (await client.reply()).status == 200
    return [heard.target.decode()[1:] for heard in s.replica.requests]


async def test_the_line_is_served_in_order_of_arrival() -> None:
    names = [f"r{number}" for number in range(30)]
    async with stage(ready=False, concurrency=1) as s:
        assert await order_of(s, [(name, "") for name in names]) == names


async def test_the_more_urgent_are_served_first() -> None:
    asked = [("late", "u=7"), ("a", ""), ("b", "u=3, i"), ("soon", "i, u=1"), ("now", "u=0")]
    async with stage(ready=False, concurrency=1, queue={"bestUrgency": 0}) as s:
        assert await order_of(s, asked) == ["now", "soon", "a", "b", "late"]


async def test_nobody_is_more_urgent_than_the_endpoint_allows() -> None:
    asked = [("a", ""), ("pushy", "u=0"), ("b", "u=3")]
    async with stage(ready=False, concurrency=1) as s:
        assert await order_of(s, asked) == ["a", "pushy", "b"]


async def test_a_priority_that_makes_no_sense_is_no_priority() -> None:
    asked = [("late", "u=4"), ("a", "u=9"), ("b", "u=-1"), ("c", "u"), ("d", "x=0"), ("e", "u=03")]
    async with stage(ready=False, concurrency=1, queue={"bestUrgency": 0}) as s:
        assert await order_of(s, asked) == ["a", "b", "c", "d", "e", "late"]


async def test_waiting_makes_up_for_urgency() -> None:
    queue = {"age": "50ms", "bestUrgency": 0}
    async with stage(ready=False, concurrency=1, queue=queue) as s:
        early = await s.send(request("/early", headers={"Priority": "u=5"}))
        await s.until_in_line(1)
        await asyncio.sleep(0.3)  # more than five levels

        assert await order_of_two(s, early) == ["early", "urgent"]


async def order_of_two(s: Stage, early: object) -> list[str]:
    urgent = await s.send(request("/urgent", headers={"Priority": "u=0"}))
    await s.until_in_line(2)
    await s.replica.start()
    await urgent.reply()
    return [heard.target.decode()[1:] for heard in s.replica.requests]


async def test_one_activation_however_many_wait() -> None:
    async with stage(from_zero=True) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.1
        clients = [await s.send(request()) for _ in range(50)]
        for client in clients:
            assert (await client.reply()).status == 200

        assert [call.replicas for call in s.driver.calls] == [1]


async def test_a_replica_that_has_just_started_is_not_given_everything_at_once() -> None:
    answering = asyncio.Semaphore(0)

    async def behave(talk: Talk) -> None:
        await answering.acquire()
        await hello(talk)

    async with stage(behave, from_zero=True, concurrency=8) as s:
        clients = [await s.send(request(f"/{number}")) for number in range(8)]
        widths = []
        for _ in range(3):
            await eventually(lambda: s.replicas and s.replica.in_flight)
            await asyncio.sleep(0.1)  # more would have come by now
            widths.append(s.replica.in_flight)
            answering.release()
        for _ in clients:
            answering.release()

        assert widths == [1, 2, 4]  # the one that was answered has left
        for client in clients:
            assert (await client.reply()).status == 200


async def test_a_deadline_that_passes_in_line_is_told_at_once() -> None:
    async with stage(ready=False) as s:
        before = time.monotonic()
        reply = await s.get(headers={"X-Activator-Deadline": "200ms"})

        assert (reply.status, reply.why) == (503, "deadline")
        assert 0.19 < time.monotonic() - before < 0.5


async def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    async with stage(ready=False) as s:
        s.live.eta = lambda: 90.0
        before = time.monotonic()
        reply = await s.get(headers={"X-Activator-Deadline": "30s"})

        assert (reply.status, reply.why) == (503, "deadline")
        assert reply.get("retry-after") == b"60"
        assert time.monotonic() - before < 0.2


async def test_a_deadline_that_can_be_met_is_waited_for() -> None:
    async with stage(ready=False) as s:
        s.live.eta = lambda: 1.0
        client = await s.send(request(headers={"X-Activator-Deadline": "30s"}))
        await s.until_in_line(1)
        await s.replica.start()

        assert (await client.reply()).status == 200


@pytest.mark.parametrize("value", ["soon", "-1s", "", "1 s 2"])
async def test_a_deadline_that_makes_no_sense_is_a_bad_request(value: str) -> None:
    async with stage(ready=False) as s:
        reply = await s.get(headers={"X-Activator-Deadline": value})

        assert (reply.status, reply.why) == (400, "bad_request")
        assert "X-Activator-Deadline" in reply.json()["detail"]


async def test_a_start_that_is_known_to_fail_is_not_waited_for() -> None:
    async with stage(ready=False) as s:
        s.live.refusal = lambda: (FailedStart("the process exits with 1"), 3.4)
        reply = await s.get()

        assert (reply.status, reply.why) == (503, "start_failed")
        assert reply.get("retry-after") == b"4"
        assert "exits with 1" in reply.json()["detail"]


async def test_a_paused_endpoint_holds_and_is_resumed() -> None:
    async with stage() as s:
        await s.app.operations.pause(NAME)
        client = await s.send(request())
        await s.until_in_line(1)
        assert s.replica.requests == []

        await s.app.operations.resume(NAME)

        assert (await client.reply()).status == 200


async def test_a_paused_endpoint_says_so_at_its_bounds() -> None:
    async with stage(queue={"maxRequests": 1, "timeout": "300ms"}) as s:
        await s.app.operations.pause(NAME)
        client = await s.send(request())
        await s.until_in_line(1)
        full = await s.get()
        late = await client.reply()

        assert (full.status, full.why) == (503, "paused")
        assert (late.status, late.why) == (503, "paused")


async def test_a_newcomer_does_not_overtake_the_line() -> None:
    async def behave(talk: Talk) -> None:
        await asyncio.sleep(0.005)
        await hello(talk)

    async with stage(behave, concurrency=2) as s:
        clients = []
        for number in range(40):
            clients.append(await s.send(request(f"/{number:02}")))
            await eventually(lambda: s.live.gate.demand or s.replica.requests)
            await asyncio.sleep(0.001)
        for client in clients:
            await client.reply()

        # two that are on their way together may be read in either order
        targets = [heard.target for heard in s.replica.requests]
        places = [sorted(targets).index(target) for target in targets]
        assert all(abs(place - at) <= 1 for at, place in enumerate(places)), targets
