"""What an activator lets go of goes back in line, whenever the store is away: no job may be claimed
by an activator that lives and does not run it."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

import pytest

from activator.control import persisting, worker
from activator.errors import StoreUnavailable
from activator.queueing.jobs import Lost
from tests.integration.jobs.support import elsewhere
from tests.integration.jobs.test_jobs import described, echo, post_job, result, until_state
from tests.stage import NAME, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.replica import Talk
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_store")

ORDERED = {"bestUrgency": 0}
URGENT = "u=0"


@pytest.fixture(autouse=True)
def _close(monkeypatch: pytest.MonkeyPatch) -> None:
    """One job at a time waits for a slot; a store that was away is asked again soon."""
    monkeypatch.setattr(worker, "WINDOW", 1)
    monkeypatch.setattr(persisting, "PAUSE", 0.01)


class Away:
    """A step of the store that fails, once begun, for as long as this is `on`."""

    def __init__(self, patch: pytest.MonkeyPatch, s: Stage, step: str) -> None:
        self.on = True
        self.failed = 0
        store: Any = s.app._stores.jobs
        self._step = getattr(store, step)
        patch.setattr(store, step, self._fails)

    async def _fails(self, *args: Any, **named: Any) -> Any:
        await asyncio.sleep(0)
        if self.on:
            self.failed += 1
            raise StoreUnavailable("away")
        return await self._step(*args, **named)


async def test_who_yields_to_one_more_urgent_while_the_store_goes_away_is_run_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo, ready=False, queue=ORDERED) as s:
        usual = await post_job(s)
        await until_state(s, usual, "activating")
        away = Away(monkeypatch, s, "give_back")
        urgent = await post_job(s, Priority=URGENT)
        await eventually(lambda: away.failed)
        away.on = False
        await s.replica.start()

        for job in (usual, urgent):
            await until_state(s, job, "succeeded")
            assert (await described(s, job))["attempt"] == 1


async def test_who_has_its_turn_while_one_more_urgent_is_claimed_is_not_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, rest = asyncio.Event(), asyncio.Event()

    async def held(talk: Talk) -> None:
        is_first = len(s.replica.requests) == 1
        body = await talk.body()
        await (first if is_first else rest).wait()
        await talk.answer(200, body)

    async with stage(held, concurrency=1, queue=ORDERED) as s:
        store: Any = s.app._stores.jobs
        claim = store.claim

        async def slow(*args: Any, before: float | None, **named: Any) -> Any:
            found = await claim(*args, before=before, **named)
            if before is not None and found.claims:
                first.set()
                await eventually(lambda: len(s.replica.requests) == 2)
            return found

        before = await post_job(s, b"before")
        await until_state(s, before, "running")
        usual = await post_job(s, b"usual")
        await s.until_in_line(1)
        monkeypatch.setattr(store, "claim", slow)
        urgent = await post_job(s, b"urgent", Priority=URGENT)
        await until_state(s, before, "succeeded")
        await s.until_in_line(1)
        rest.set()

        for job in (usual, urgent):
            await until_state(s, job, "succeeded")
            assert (await described(s, job))["attempt"] == 1
        assert len(s.replica.requests) == 3


async def test_one_of_which_only_the_store_knows_that_it_has_begun_is_repeated_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo) as s, elsewhere(s, "b") as other:
        store: Any = s.app._stores.jobs
        begin = store.begin

        async def unheard(claim: Any) -> Any:
            await begin(claim)
            await asyncio.Event().wait()

        monkeypatch.setattr(store, "begin", unheard)
        job = await post_job(s)
        await until_state(s, job, "running")
        await s.stop()
        record = await other.get(job["id"])
        assert record is not None
        assert (record.job.state, record.job.holder, record.job.attempt) == ("queued", "", 2)
        assert not s.replica.requests


async def test_an_endpoint_that_goes_while_the_store_is_away_keeps_no_claim(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "LETTING_GO", 0.02)
    async with stage(echo, ready=False) as s, elsewhere(s, "b") as other:
        job = await post_job(s)
        await until_state(s, job, "activating")
        away = Away(monkeypatch, s, "give_back")
        config = copy.deepcopy(s.config)
        config["endpoints"][0]["name"] = "other"
        s.rewrite(config)
        await eventually(lambda: all(each.endpoint.name != NAME for each in s.app.registry))
        await eventually(lambda: away.failed)
        # over the bound of an orderly end: that it is not given up then has no sign of its own
        await asyncio.sleep(5 * worker.LETTING_GO)
        away.on = False

        async with asyncio.timeout(5):
            while (record := await other.get(job["id"])) is None or record.job.holder:
                await asyncio.sleep(0.01)
        assert record.job.state == "queued"


async def test_an_endpoint_that_goes_gives_each_of_its_jobs_back_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "WINDOW", 3)
    given: list[str] = []
    async with stage(echo, ready=False) as s:
        jobs = [await post_job(s) for _ in range(3)]
        for job in jobs:
            await until_state(s, job, "activating")
        store: Any = s.app._stores.jobs
        give_back = store.give_back

        async def counted(claim: Any) -> None:
            given.append(claim.id)
            await give_back(claim)

        monkeypatch.setattr(store, "give_back", counted)
        config = copy.deepcopy(s.config)
        config["endpoints"][0]["name"] = "other"
        s.rewrite(config)
        await eventually(lambda: all(each.endpoint.name != NAME for each in s.app.registry))
        await s.app.workers._tasks.drained()  # the one that goes has gone
    assert sorted(given) == sorted(job["id"] for job in jobs)


async def test_old_news_of_a_loss_that_cannot_be_looked_up_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo, ready=False) as s:
        job = await post_job(s)
        await until_state(s, job, "activating")
        away = Away(monkeypatch, s, "get")
        s.app.workers._workers[NAME]._told(Lost(job["id"]))
        await eventually(lambda: away.failed)
        away.on = False
        await s.replica.start()

        await until_state(s, job, "succeeded")
        assert (await result(s, job)).body == b"out:in"
