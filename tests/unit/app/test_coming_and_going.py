"""Endpoints that come and go all day leave nothing that only the collector frees: it looks seldom
where there are thousands, and never at what was there for long."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

import pytest

from activator.core.jobs import Superseded
from activator.errors import StoreUnavailable
from tests.replica import hello
from tests.support import eventually
from tests.town import endpoint, spawn, town

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.queueing.jobs import Claim
    from tests.replica import Talk
    from tests.town import Town


@pytest.fixture
def _nothing_is_collected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def parts_of(t: Town, name: str) -> dict[str, ref[Any]]:
    control, worker = t.control_of(name), t.app.workers._workers[name]
    of_it = control, control.prober, control.verbs, control.live.gate, worker
    return {type(each).__name__: ref(each) for each in of_it}


@pytest.mark.usefixtures("_nothing_is_collected")
@pytest.mark.parametrize("is_used", [False, True])
async def test_an_endpoint_that_is_gone_is_freed_at_once(is_used: bool) -> None:
    async with town("a") as t:
        t.build_driver("b")
        await t.reloaded(t.config | {"endpoints": [endpoint("a"), endpoint("b")]})
        await eventually(lambda: t.app.registry.get("b"))
        if is_used:
            assert (await t.get(at="b")).status == 200
        parts = parts_of(t, "b")
        await t.reloaded(t.config | {"endpoints": [endpoint("a")]})
        await eventually(lambda: not t.app.supervisor._finishing and not t.app.registry.get("b"))
        t.drivers.clear()
        await t.app._accounts.book.tick()
        await t.app._accounts.experience._keeper.tick()

        await eventually(lambda: [name for name, it in parts.items() if it() is not None] == [])


async def test_one_that_is_gone_is_in_the_book_while_its_replicas_finish() -> None:
    may_end = asyncio.Event()

    async def long(talk: Talk) -> None:
        await may_end.wait()
        await hello(talk)

    async with town("a", "b", behave=long) as t:
        running = spawn(t.get(at="b"))
        await eventually(lambda: any(each.in_flight for each in t.replicas_of("b")))
        await t.reloaded(t.config | {"endpoints": [endpoint("a")]})
        await eventually(lambda: t.app.supervisor.get("b") is None)
        await t.app._accounts.book.tick()

        assert t.app._accounts.book.today("b").ready_seconds
        may_end.set()
        assert (await running).status == 200


@pytest.mark.parametrize("last", [None, Superseded("another's")])
async def test_a_claim_that_comes_when_nobody_runs_jobs_any_more_goes_back(
    last: Exception | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town("a") as t:
        live, worker = t.live_of("a"), t.app.workers._workers["a"]
        answers, given_back = [StoreUnavailable("away"), last], list[Any]()

        async def give_back(claim: Claim) -> None:
            given_back.append(claim)
            if (failure := answers.pop(0)) is not None:
                raise failure

        monkeypatch.setattr(worker._store, "give_back", give_back)
        await worker.aclose()
        claim = cast("Claim", SimpleNamespace(id="a.1"))
        live.take_claim(claim)

        await eventually(lambda: given_back == [claim] * 2 and not worker._leaving)
