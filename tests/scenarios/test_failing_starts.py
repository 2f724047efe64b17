"""Replicas that do not come up, end, refuse or hang: what clients are told, and what is tried."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING

from activator.core.effects import FailedStart
from activator.core.lifecycle import State
from tests.replica import hello
from tests.support import eventually
from tests.town import endpoint, spawn, town

if TYPE_CHECKING:
    from tests.replica import Talk


async def test_a_model_that_exits_is_told_within_ten_seconds_with_its_code_and_last_lines() -> None:
    dies = "import sys, time; time.sleep(0.05); print('no such device: cuda:7'); sys.exit(3)"
    backend = {"type": "process", "command": [sys.executable, "-S", "-c", dies, "{port}"]}
    async with town(endpoints=[endpoint("a", backend=backend)], scripted=False) as t:
        began = time.monotonic()
        replies = await asyncio.gather(*(t.get(within=11.0) for _ in range(3)))
        took = time.monotonic() - began

        assert took < 10.0
        for reply in replies:
            assert (reply.status, reply.why) == (503, "start_failed")
            assert b"3" in reply.body
            assert b"no such device: cuda:7" in reply.body
            assert 1 <= int(reply.get("retry-after") or 0) <= 60

        began = time.monotonic()
        refused = await t.get()
        assert refused.why == "start_failed"
        assert time.monotonic() - began < 0.2
        assert t.status_of("a").state == State.FAILED


async def test_after_the_breakers_rest_one_start_is_let_through() -> None:
    async with town("a") as t:
        t.driver_of("a").fail_next(FailedStart("exited with 1", exit_code=1), times=3)
        assert (await t.get()).why == "start_failed"
        assert (await t.get()).why == "start_failed"
        assert t.orders("a") == [1, 1, 1]
        rest = t.status_of("a").retry_in
        assert rest is not None
        t.control_of("a").verbs.activate()  # an operator need not wait

        await t.until_state("active")
        assert (await t.get()).status == 200
        assert t.status_of("a").failure is None


async def test_a_start_let_through_that_fails_opens_the_breaker_again_and_longer() -> None:
    async with town("a") as t:
        t.driver_of("a").fail_next("exited with 1", times=4)
        assert (await t.get()).why == "start_failed"
        first = t.status_of("a").retry_in
        t.control_of("a").verbs.activate()
        await eventually(lambda: len(t.orders("a")) == 4)
        await t.until_state("failed")
        second = t.status_of("a").retry_in

        assert first is not None
        assert second is not None
        assert second > first


async def test_a_crash_with_demand_is_replaced_and_who_waits_is_served() -> None:
    stuck = asyncio.Event()

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/stuck":
            await stuck.wait()
        await talk.answer(200, talk.heard.target)

    async with town("a", behave=behave, concurrency=1) as t:
        running = spawn(t.get("/stuck"))
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        waiting = [spawn(t.get(f"/{number}")) for number in range(3)]
        await eventually(lambda: t.status_of("a").held == 3)
        stuck.set()
        t.driver_of("a").crash("a-1", FailedStart("killed by SIGKILL", exit_code=-9))

        assert {reply.status for reply in await asyncio.gather(*waiting)} == {200}
        assert (await running).status in (200, 502)
        assert len(t.replicas_of("a")) == 2


async def test_a_get_in_flight_at_a_replica_that_crashes_is_served_by_the_next() -> None:
    async def behave(talk: Talk) -> None:
        if talk.replica is t.replicas_of("a")[0]:
            await talk.gone()
        else:
            await talk.answer(200, b"second")

    async with town("a", behave=behave) as t:
        running = spawn(t.get())
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        t.driver_of("a").crash("a-1")

        assert (await running).body == b"second"


async def test_a_crash_without_demand_is_not_replaced() -> None:
    async with town("a") as t:
        await t.get()
        await t.until_state("active")
        t.driver_of("a").crash("a-1")
        await t.until_zero("a")
        await asyncio.sleep(0.2)

        assert t.orders("a") == [1]
        assert (await t.get()).status == 200
        assert t.orders("a") == [1, 1]


async def test_a_replica_that_refuses_is_out_and_back_as_another() -> None:
    async with town("a") as t:
        await t.get()
        replica = t.replicas_of("a")[0]
        await replica.refuse()
        replica.drop_connections()
        held = spawn(t.get("/held"))
        await eventually(lambda: not t.live_of("a").replicas)
        assert t.status_of("a").replicas[0].phase == "ejected"
        assert not held.done()

        await replica.start()
        assert (await held).status == 200
        assert list(t.live_of("a").replicas) == ["a-1~2"]
        assert t.orders("a") == [1]


async def test_an_ejected_replica_that_is_back_is_given_no_more_than_its_limit() -> None:
    go_on = asyncio.Event()

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/reset":
            talk.reset()
            return
        await go_on.wait()
        await talk.answer(200, b"ok")

    async with town("a", behave=behave, concurrency=3) as t:
        await t.get("/reset", method="POST")
        running = [spawn(t.get("/long")) for _ in range(2)]
        replica = t.replicas_of("a")[0]
        await eventually(lambda: replica.in_flight == 2)
        reset = await t.get("/reset", method="POST")  # takes the replica out of rotation
        assert reset.status == 502
        running += [spawn(t.get("/long")) for _ in range(6)]
        await eventually(lambda: replica.in_flight == 3)
        await asyncio.sleep(0.1)
        assert replica.in_flight == 3
        go_on.set()

        assert {reply.status for reply in await asyncio.gather(*running)} == {200}
        assert replica.most_in_flight == 3


async def test_a_replica_that_stalls_is_out_of_rotation_until_it_moves() -> None:
    go_on = asyncio.Event()

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/stuck":
            talk.begin_chunks()
            await go_on.wait()
            talk.chunk(b"at last")
            talk.chunk(b"")
        else:
            await hello(talk)

    async with town("a", behave=behave, stall="300ms") as t:
        stuck = spawn(t.get("/stuck"))
        await eventually(lambda: t.live_of("a").replicas)
        await eventually(lambda: not t.live_of("a").replicas, within=2.0)
        held = spawn(t.get("/held"))
        await asyncio.sleep(0.3)
        assert not held.done()

        go_on.set()
        assert (await stuck).body == b"at last"
        assert (await held).status == 200


async def test_a_start_that_takes_too_long_is_told() -> None:
    async with town("a", scale={"startTimeout": "300ms"}) as t:
        t.driver_of("a").start_delay = 30.0
        began = time.monotonic()
        reply = await t.get()

        assert (reply.status, reply.why) == (503, "start_failed")
        assert 0.3 <= time.monotonic() - began < 1.0
        await eventually(lambda: t.orders("a") == [1, 0])


async def test_an_order_that_is_refused_is_tried_again() -> None:
    async with town("a") as t:
        t.driver_of("a").refuse_next("the API is away")

        assert (await t.get()).status == 200
        assert t.orders("a") == [1, 1]
