"""A changed file is taken up without a connection dropped; an invalid one changes nothing."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tests.replica import hello
from tests.stage import request
from tests.support import eventually
from tests.town import endpoint, spawn, town

if TYPE_CHECKING:
    from tests.replica import Talk
    from tests.town import Town


class Stream:
    """Answers `/stream` in two chunks, the second when `go_on` is set; everything else at once."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    async def __call__(self, talk: Talk) -> None:
        if talk.heard.target != b"/stream":
            await hello(talk)
            return
        talk.begin_chunks()
        talk.chunk(b"first")
        await self.go_on.wait()
        talk.chunk(b"second")
        talk.chunk(b"")


def changed(t: Town, *endpoints: dict[str, Any]) -> dict[str, Any]:
    return {**t.config, "endpoints": list(endpoints)}


async def test_an_endpoint_that_is_added_is_served_and_the_others_do_not_notice() -> None:
    behave = Stream()
    async with town("a", behave=behave) as t:
        kept = await t.send(request(host="a.example"))
        assert (await kept.reply()).status == 200
        streaming = spawn(t.get("/stream"))
        await eventually(lambda: t.replicas_of("a")[0].in_flight)
        t.build_driver("b")
        assert (await t.get(at="b")).why == "no_route"
        await t.reloaded(changed(t, endpoint("a"), endpoint("b")))

        assert (await t.get(at="b")).status == 200
        kept.send(request(host="a.example"))
        assert (await kept.reply()).status == 200
        behave.go_on.set()
        assert (await streaming).body == b"firstsecond"
        assert t.orders("a") == [1]


async def test_an_endpoint_that_is_removed_finishes_what_runs_and_tells_who_waits() -> None:
    behave = Stream()
    async with town("a", "b", behave=behave, concurrency=1) as t:
        streaming = spawn(t.get("/stream"))
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        waiting = spawn(t.get("/waiting"))
        await eventually(lambda: t.status_of("a").held == 1)
        driver = t.driver_of("a")
        await t.reloaded(changed(t, endpoint("b")))

        told = await waiting
        assert (told.status, told.why) == (404, "no_route")
        assert (await t.get()).why == "no_route"
        assert driver.running == ("a-1",)
        behave.go_on.set()
        assert (await streaming).body == b"firstsecond"
        await eventually(lambda: not driver.running)


async def test_a_higher_limit_holds_at_once_for_who_waits() -> None:
    behave = Stream()
    async with town("a", behave=behave, concurrency=1) as t:
        running = [spawn(t.get("/stream")) for _ in range(4)]
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight == 1)
        await eventually(lambda: t.status_of("a").held == 3)
        await t.reloaded(changed(t, endpoint("a", concurrency=3)))
        await eventually(lambda: t.replicas_of("a")[0].in_flight == 3, within=2.0)
        assert t.status_of("a").held == 1
        behave.go_on.set()

        assert {reply.status for reply in await asyncio.gather(*running)} == {200}
        assert t.orders("a") == [1]


async def test_another_backend_takes_over_when_what_runs_has_finished_and_nobody_is_lost() -> None:
    behave = Stream()
    async with town("a", behave=behave, concurrency=1) as t:
        streaming = spawn(t.get("/stream"))
        await eventually(lambda: t.by_id and t.replicas_of("a")[0].in_flight)
        waiting = [spawn(t.get(f"/{number}")) for number in range(5)]
        await eventually(lambda: t.status_of("a").held == 5)
        old = t.driver_of("a")
        new = t.build_driver("a")
        t.behave = hello
        backend = {"type": "process", "command": ["another", "{port}"]}
        await t.reloaded(changed(t, endpoint("a", backend=backend, concurrency=1)))
        late = spawn(t.get("/late"))
        await asyncio.sleep(0.1)
        assert not any(request.done() for request in waiting)
        assert new.calls == []
        behave.go_on.set()

        assert (await streaming).body == b"firstsecond"
        replies = await asyncio.gather(*waiting, late)
        assert {reply.status for reply in replies} == {200}
        assert old.running == ()
        assert [call.replicas for call in old.calls] == [1]
        assert [call.replicas for call in new.calls] == [1]


async def test_an_invalid_file_is_refused_said_so_and_the_old_one_stays() -> None:
    async with town("a") as t:
        valid = t.config
        await t.reloaded(changed(t, endpoint("a", concurency=3)))
        refused = t.app.operations.config_status()

        assert not refused.ok
        assert "concurrency" in refused.problems[0]  # the nearest key
        assert (await t.get()).status == 200
        assert "configuration_refused" in t.actions("")
        await t.reloaded(valid)
        assert t.app.operations.config_status().ok


async def test_a_shorter_idle_timeout_holds_for_what_is_idle_already() -> None:
    async with town("a", scale={"idleTimeout": "1h"}) as t:
        await t.get()
        await t.until_state("active")
        await asyncio.sleep(0.1)
        await t.reloaded(changed(t, endpoint("a", scale={"idleTimeout": "50ms"})))

        await t.until_zero("a")


async def test_reloading_under_traffic_drops_nothing() -> None:
    async with town("a", "b", concurrency=2) as t:
        stop = asyncio.Event()
        seen: list[int] = []

        async def client(name: str) -> None:
            connection = await t.connect()
            while not stop.is_set():
                connection.send(request(host=f"{name}.example"))
                reply = await connection.reply()
                seen.append(reply.status)
                assert reply.get("connection") != b"close"

        def answered(count: int) -> bool:
            return len(seen) >= count or any(each.done() for each in clients)

        clients = [spawn(client(name)) for name in ("a", "b") * 3]
        for number in range(8):
            limit = 1 + number % 3
            names = [endpoint(name, concurrency=limit) for name in ("a", "b")]
            await t.reloaded(changed(t, *names))
            await eventually(partial(answered, len(seen) + 15))
        stop.set()
        await asyncio.gather(*clients)

        assert set(seen) == {200}
        assert t.orders("a") == t.orders("b") == [1]
