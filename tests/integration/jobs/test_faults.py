"""A fault of ours, a bug, in the middle of a job's run: the job ends or goes back in line, and is
not claimed for ever by an activator that lives and does not run it."""

from __future__ import annotations

import asyncio
import copy
import logging
from typing import TYPE_CHECKING, Any

import pytest

from activator.control.run import JobRun
from activator.control.visit import Visit
from activator.control.worker import Worker
from tests.faults import Faulty, failed_at
from tests.integration.jobs.support import elsewhere
from tests.integration.jobs.test_jobs import (
    ASYNC,
    described,
    echo,
    leaves_first,
    post_job,
    result,
    until_state,
)
from tests.integration.jobs.test_waiting import keyed
from tests.stage import WITHIN, request, stage
from tests.support import PATIENCE, eventually

if TYPE_CHECKING:
    from activator.core.jobs import Job
    from activator.queueing.jobs import JobStore
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_store")

FAULT = "activator_failed"


def store_of(s: Stage) -> Any:
    return s.app._stores.jobs


async def recorded(store: JobStore, described: dict[str, Any]) -> Job:
    """What another activator reads of it."""
    record = await store.get(described["id"])
    assert record is not None
    return record.job


async def until_claimed(
    store: JobStore, described: dict[str, Any], *, by_somebody: bool = True
) -> None:
    async with asyncio.timeout(PATIENCE):
        while bool((await recorded(store, described)).holder) is not by_somebody:
            await asyncio.sleep(0.01)


async def test_one_whose_run_fails_before_a_replica_is_asked_is_run_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.jobs")
    Faulty(monkeypatch, JobRun, "_try", times=1)
    async with stage(echo) as s:
        job = await post_job(s)
        await until_state(s, job, "succeeded")
        assert (await described(s, job))["attempt"] == 2
        assert (await result(s, job)).body == b"out:in"
        assert len(s.replica.requests) == 1
    failed = next(line for line in caplog.records if line.__dict__["action"] == "job_run_failed")
    assert failed.exc_info is not None
    assert isinstance(failed.exc_info[1], RuntimeError)
    assert failed.__dict__["job"] == job["id"]
    runs = [line.__dict__ for line in caplog.records if line.__dict__["action"] == "job_run"]
    assert [run["outcome"] for run in runs] == ["repeated", "succeeded"]


async def test_one_whose_runs_fail_whenever_it_is_tried_is_given_up_with_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty = Faulty(monkeypatch, JobRun, "_try", times=99)
    async with stage(echo, config={"jobs": {"attempts": 2}}) as s, elsewhere(s, "b") as other:
        job = await post_job(s)
        await until_state(s, job, "failed")
        assert faulty.failed == 2
        told = await described(s, job)
        assert (told["reason"], told["attempt"]) == (FAULT, 2)
        assert "RuntimeError" in told["detail"]
        assert "secret" not in told["detail"]
        answer = await result(s, job)
        assert (answer.status, answer.json()["detail"]) == (502, told["detail"])
        assert not (await recorded(other, job)).holder
        assert not s.replica.requests


async def test_one_in_line_whose_run_fails_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    Faulty(monkeypatch, JobRun, "_line_up", times=1)
    async with stage(echo, from_zero=True) as s:
        job = await post_job(s)
        await until_state(s, job, "succeeded")
        assert (await described(s, job))["attempt"] == 2


@pytest.mark.parametrize(
    ("method", "state", "asked"), [("GET", "succeeded", 2), ("POST", "failed", 1)]
)
async def test_a_model_that_may_have_worked_on_it_is_asked_again_only_if_that_is_harmless(
    monkeypatch: pytest.MonkeyPatch, method: str, state: str, asked: int
) -> None:
    Faulty(monkeypatch, Visit, "_take", times=1)
    async with stage(echo) as s:
        job = (await s.get("/", method=method, headers=ASYNC)).json()
        await until_state(s, job, state)
        assert (await described(s, job))["attempt"] == asked
        assert len(s.replica.requests) == asked


async def test_who_waits_for_one_whose_run_fails_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    faulty = Faulty(monkeypatch, JobRun, "_try", times=1)
    async with stage(echo) as s:
        reply = await (await s.send(keyed())).reply()
        assert (reply.status, reply.why) == (502, "upstream_unreachable")
        assert faulty.failed == 1
        again = await (await s.send(keyed())).reply()  # its key is free
        assert (again.status, again.body) == (201, b"out:in")


async def test_one_whose_body_cannot_be_read_does_not_keep_its_replica_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo, concurrency=1) as s:
        Faulty(monkeypatch, store_of(s), "body", times=1)
        job = await post_job(s)
        await until_state(s, job, "failed")
        assert (await described(s, job))["reason"] == FAULT
        other = await post_job(s)  # its slot is free
        await until_state(s, other, "succeeded")


@pytest.mark.parametrize("after", [False, True])
async def test_one_whose_ending_fails_is_neither_kept_nor_ended_twice(
    monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    async with stage(leaves_first(1)) as s:
        Faulty(monkeypatch, store_of(s), "requeue", times=1, after=after)
        job = (await s.get("/", headers=ASYNC)).json()
        await until_state(s, job, "succeeded")
        assert (await described(s, job))["attempt"] == 2
        assert len(s.replica.requests) == 2


@pytest.mark.parametrize("after", [False, True])
async def test_one_whose_last_word_fails_too_is_ended_all_the_same(
    monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """It was at a replica, and no other attempt may be made: told of once more until it is said."""
    async with stage(leaves_first(1), concurrency=1) as s, elsewhere(s, "b") as other:
        faulty = Faulty(monkeypatch, store_of(s), "finish", times=3, after=after)
        job = await post_job(s)
        await until_state(s, job, "failed")
        ended = await recorded(other, job)
        assert (ended.attempt, ended.holder) == (1, "")
        assert len(s.replica.requests) == 1
        assert faulty.failed == 3
        assert (await s.get()).body == b"at last"


async def test_one_that_is_given_back_in_vain_is_given_back_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo, from_zero=True) as s, elsewhere(s, "b") as other:
        assert s.driver
        s.driver.start_delay = WITHIN  # or it may be run before claiming stops
        faulty = Faulty(monkeypatch, store_of(s), "give_back", times=2)
        job = await post_job(s)
        await until_claimed(other, job)
        await s.app.workers.stop_claiming()
        await eventually(lambda: faulty.failed == 2)

        await until_claimed(other, job, by_somebody=False)


async def test_one_that_is_being_claimed_when_claiming_stops_goes_back_in_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo, from_zero=True) as s, elsewhere(s, "b") as other:
        store, may_go_on = store_of(s), asyncio.Event()
        claim, claimed = store.claim, asyncio.Event()

        async def slow(*args: Any, **named: Any) -> Any:
            found = await claim(*args, **named)
            if found.claims:
                claimed.set()
                await may_go_on.wait()
            return found

        monkeypatch.setattr(store, "claim", slow)
        job = await post_job(s)
        await claimed.wait()
        await s.app.workers.stop_claiming()
        assert (await recorded(other, job)).holder
        may_go_on.set()

        await until_claimed(other, job, by_somebody=False)


async def test_one_whose_run_fails_when_its_answer_is_stored_has_succeeded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with stage(echo) as s, elsewhere(s, "b") as other:
        faulty = Faulty(monkeypatch, store_of(s), "finish", times=1, after=True)
        job = await post_job(s)
        await until_state(s, job, "succeeded")
        assert faulty.failed == 1
        assert (await result(s, job)).body == b"out:in"
        assert (await recorded(other, job)).attempt == 1


async def test_an_endpoint_whose_claims_fail_for_ever_is_tried_ever_more_rarely_beside_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    claim_some = Worker._claim_some

    async def claims(worker: Worker) -> None:
        if worker._name == "m":
            raise RuntimeError("a secret")
        await claim_some(worker)

    monkeypatch.setattr(Worker, "_claim_some", claims)
    other = {"name": "other", "match": {"hosts": ["other.example"]}}
    async with stage(echo) as s:
        config = copy.deepcopy(s.config)
        config["endpoints"].insert(0, {**config["endpoints"][0], **other})
        s.rewrite(config)
        await eventually(lambda: s.app.registry.get("other"))
        stuck = await post_job(s)
        raw = request("/", method="POST", headers=ASYNC, body=b"in", host="other.example")
        await until_state(s, (await s.ask(raw)).json(), "succeeded")
        assert (await s.get()).status == 201
        await eventually(lambda: len(failed_at(caplog, "worker/m/claim")) >= 4)

        first, second, third, fourth = failed_at(caplog, "worker/m/claim")[:4]
        assert second - first > 0.09  # clocks are not the loop's to the millisecond
        assert third - second > 0.29
        assert fourth - third > 0.89
        assert (await described(s, stuck))["state"] == "queued"
        monkeypatch.setattr(Worker, "_claim_some", claim_some)
        await until_state(s, stuck, "succeeded")
