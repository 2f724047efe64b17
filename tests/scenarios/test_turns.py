"""Whoever holds a Lease serves: what clients and operators see of the others, and of a handover.

Two activators in this process, in front of a scripted cluster. Those that are killed or stopped in
the middle are in `integration/several`.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from activator.admin.ports import Unavailable
from activator.app.stores import Times
from activator.core.election import Pace
from activator.telemetry.exposition import Format
from tests.rawclient import RawClient
from tests.scenarios.test_kubernetes import at_kubernetes, cluster, count
from tests.stage import request
from tests.support import eventually
from tests.town import spawn, town

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.kube_server import KubeServer, Object
    from tests.replica import Talk
    from tests.town import Town

PACE = Pace(lapse=2.5, hold=2.0, renew=0.2, look=0.1, late=0.4)
ROOT = {"store": {"url": "memory+lease://models/activator"}}
GRACE = {"shutdownGrace": "3s"}


def one_of_several(*, concurrency: int = 0, **scale: Any) -> AbstractAsyncContextManager[Town]:
    return town(
        endpoints=[{**each, "concurrency": concurrency} for each in at_kubernetes(**scale)],
        scripted=False,
        checked=False,
        server=GRACE,
        root=ROOT,
        times=Times(pace=PACE),
    )


def why_not(t: Town) -> str:
    return t.app.operations.ready() or ""


async def until_serving(t: Town, *, within: float = 5.0) -> None:
    await eventually(lambda: not why_not(t), within=within)


def happened(t: Town) -> list[str]:
    return [event.action for event in t.app.events.since(0)]


def holder(server: KubeServer) -> str:
    told = server.get("leases", "activator")["spec"]["holderIdentity"]
    assert isinstance(told, str)
    return told


def takes_over(server: KubeServer, name: str = "another") -> None:
    """Somebody who can reach the cluster."""

    def change(lease: Object) -> None:
        term = lease["spec"]["leaseTransitions"] + 1
        lease["spec"].update(holderIdentity=name, leaseTransitions=term)

    server.change("leases", "activator", change)


def orders(server: KubeServer) -> list[int]:
    return [each.body[-1]["value"] for each in server.patches("deployments/scale")]


async def test_one_serves_and_the_other_says_that_it_stands_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _), one_of_several() as first:
        await until_serving(first)
        async with one_of_several() as other:
            stands_by = f"stands by: {holder(server)} holds lease models/activator"
            await eventually(lambda: why_not(other) == stands_by)
            client = await RawClient.connect("127.0.0.1", other.app.data_port)
            client.send(request("/", host="a.example"))
            reply = await client.reply()
            await client.close()

            assert (reply.status, reply.why) == (503, "store_unavailable")
            assert stands_by.encode() in reply.body
            assert reply.get("retry-after") == b"1"
            assert reply.get("connection") == b"close"
            with pytest.raises(Unavailable, match="stands by"):
                await other.app.operations.activate("a")
            served = await first.get()
            assert served.status == 200
            assert served.get("connection") is None
            await other.until_state("active")  # it sees what runs, for when it takes over
            assert orders(server) == [1]
            told = [f"activator_leader {each}.0\n" for each in (1, 0)]
            for each, leads in zip((first, other), told, strict=True):
                assert leads in "".join(each.app.metrics.render(Format.PLAIN))


async def test_one_that_stands_by_does_not_even_keep_a_minimum(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.put(
            "leases",
            {
                "metadata": {"name": "activator"},
                "spec": {"holderIdentity": "another", "leaseTransitions": 7},
            },
        )
        async with one_of_several(min=1) as t:
            began = asyncio.get_running_loop().time()
            await eventually(lambda: "another holds" in why_not(t))
            await until_serving(t)

            # nobody renewed it: that is seen on one's own clock
            assert asyncio.get_running_loop().time() - began >= PACE.lapse - PACE.look
            await t.until_state("active")
            assert orders(server) == [1]
            assert server.get("leases", "activator")["spec"]["leaseTransitions"] == 8
            actions = happened(t)
            assert actions.index("serving") < actions.index("activating")


async def test_one_that_ends_hands_over_at_once_and_tells_those_who_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, controllers),
        one_of_several() as first,
    ):
        await until_serving(first)
        async with one_of_several() as other:
            controllers.start_delay = 1.0
            held = spawn(first.get(within=5.0))
            await eventually(lambda: orders(server))

            stopping = spawn(first.stop(grace=3.0, drain_delay=0.3))
            told = asyncio.get_running_loop().time()
            reply = await held
            await until_serving(other)

            assert (reply.status, reply.why) == (503, "shutting_down")
            assert asyncio.get_running_loop().time() - told < PACE.hold
            assert (await other.get()).status == 200
            assert orders(server) == [1]
            await stopping


async def test_who_takes_over_counts_idleness_from_then_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    idle = 0.6
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        one_of_several(idleTimeout=idle) as first,
    ):
        await until_serving(first)
        async with one_of_several(idleTimeout=idle) as other:
            loop = asyncio.get_running_loop()
            assert (await first.get()).status == 200
            await other.until_state("active")
            busy_until = loop.time() + 1.5 * idle  # none of which the other one knows of
            while loop.time() < busy_until:
                assert (await first.get()).status == 200
            await first.stop()

            await other.until_zero("a")
            first_at = {each.action: each.at for each in reversed(other.app.events.since(0))}
            assert first_at["draining"] - first_at["serving"] > 0.9 * idle
            assert orders(server) == [1, 0]


async def test_while_it_leaves_it_still_answers_what_reaches_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (_, _), one_of_several() as first:
        await until_serving(first)
        assert (await first.get()).status == 200

        stopping = spawn(first.stop(drain_delay=0.5))
        await eventually(lambda: "lease_given_back" in happened(first))
        reply = await first.get()

        assert reply.status == 200
        assert reply.get("connection") == b"close"
        await stopping


async def test_while_the_cluster_answers_nobody_what_runs_is_served_and_starts_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        one_of_several(idleTimeout="400ms") as first,
    ):
        await until_serving(first)
        async with one_of_several() as other:
            assert (await first.get()).status == 200
            server.is_away = True
            server.cut_watches()
            await eventually(lambda: "cut_off" in happened(first))

            assert "could not renew" in why_not(first)
            assert (await first.get()).status == 200
            assert (await other.get()).why == "store_unavailable"
            await asyncio.sleep(0.6)  # idle for longer than it may be
            assert count(server) == 1
            server.is_away = False
            await until_serving(first)  # which nobody can have overtaken
            await first.until_zero("a")

            server.is_away = True
            await eventually(lambda: happened(first).count("cut_off") == 2)
            held = spawn(first.get(within=15.0))
            await eventually(lambda: first.live_of("a").gate.held)
            await asyncio.sleep(0.3)
            assert orders(server) == [1, 0]
            server.is_away = False
            assert (await held).status == 200
            assert orders(server) == [1, 0, 1]


async def test_one_that_was_overtaken_finishes_what_it_has_and_sends_the_others_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    finish = asyncio.Event()

    async def works(talk: Talk) -> None:
        await finish.wait()
        await talk.answer(200, b"done")

    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        one_of_several(concurrency=1, idleTimeout="200ms") as t,
        contextlib.AsyncExitStack() as endings,
    ):
        monkeypatch.setattr("tests.scenarios.test_kubernetes.hello", works)
        await until_serving(t)
        going = spawn(t.get(within=10.0))
        await eventually(lambda: t.live_of("a").gate.in_flight)
        held = spawn(t.get(within=10.0))
        await eventually(lambda: t.live_of("a").gate.held)
        endings.callback(finish.set)

        takes_over(server)

        reply = await held
        assert (reply.status, reply.why) == (503, "store_unavailable")
        assert b"another holds lease" in reply.body
        assert (await t.get()).why == "store_unavailable"
        finish.set()
        assert (await going).status == 200
        await asyncio.sleep(0.4)  # idle for longer than it may be
        assert orders(server) == [1]
        assert t.app.registry["a"].gate.is_at_rest
