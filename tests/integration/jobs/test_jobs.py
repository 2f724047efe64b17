"""Detached jobs over real sockets: recorded, run, read back, cancelled, repeated."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from activator.app.stores import Times
from activator.control.worker import Worker
from activator.queueing.jobs import Created, Envelope, NewJob
from tests.faults import Faulty
from tests.integration.jobs.support import elsewhere
from tests.replica import Talk, says
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Behaviour
    from tests.stage import Stage

pytestmark = pytest.mark.usefixtures("each_store")

ASYNC = {"Prefer": "respond-async"}


async def post_job(s: Stage, body: bytes = b"in", **headers: str) -> dict[str, Any]:
    reply = await s.post(body, headers={**ASYNC, **headers})
    assert reply.status == 202, reply.body
    return reply.json()


async def described(s: Stage, job: dict[str, Any]) -> dict[str, Any]:
    return (await s.get(job["links"]["self"])).json()


async def result(s: Stage, job: dict[str, Any]) -> Reply:
    return await s.get(job["links"]["result"])


async def until_state(s: Stage, job: dict[str, Any], state: str, *, within: float = 8.0) -> None:
    async with asyncio.timeout(within):
        while (await described(s, job))["state"] != state:
            await asyncio.sleep(0.01)


async def echo(talk: Talk) -> None:
    body = await talk.body()
    await talk.answer(201, b"out:" + body, fields=b"X-Model: yes\r\n", reason=b"Made")


async def test_a_job_is_accepted_run_and_its_answer_is_as_the_model_gave_it() -> None:
    async with stage(echo) as s:
        reply = await s.post(b"in", "/v1?x=1", headers=ASYNC)
        assert reply.status == 202
        assert reply.get("preference-applied") == b"respond-async"
        job = reply.json()
        assert reply.get("location") == job["links"]["self"].encode()
        await until_state(s, job, "succeeded")
        answer = await result(s, job)
        assert (answer.status, answer.reason, answer.body) == (201, b"Made", b"out:in")
        assert answer.get("x-model") == b"yes"
        heard = s.replica.requests[0]
        assert (heard.method, heard.target) == (b"POST", b"/v1?x=1")
        assert heard.get("prefer") is None


async def test_a_job_wakes_an_endpoint_at_zero() -> None:
    async with stage(echo, from_zero=True) as s:
        job = await post_job(s)
        await until_state(s, job, "succeeded")
        assert (await result(s, job)).body == b"out:in"


async def test_a_result_is_told_to_be_running_until_a_head_is_there_and_then_streams() -> None:
    begin, end = asyncio.Event(), asyncio.Event()

    async def slow(talk: Talk) -> None:
        await talk.body()
        await begin.wait()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await end.wait()
        talk.send(b"4\r\nlast\r\n0\r\nX-Sum: 9\r\n\r\n")

    async with stage(slow) as s:
        job = await post_job(s)
        await until_state(s, job, "running")
        running = await result(s, job)
        assert (running.status, running.why) == (409, "job_running")
        begin.set()
        async with asyncio.timeout(5):
            while (await described(s, job))["status"] is None:
                await asyncio.sleep(0.01)
        reader = await s.send(request(job["links"]["result"]))
        await reader.head()
        assert await reader.chunk() == b"first"
        end.set()
        assert await reader.chunk() == b"last"
        assert await reader.chunk() == b""
        assert await reader.until(b"\r\n") == b"X-Sum: 9\r\n"


async def test_jobs_never_go_beyond_a_replicas_limit_and_live_traffic_goes_first() -> None:
    hold = asyncio.Event()

    async def held(talk: Talk) -> None:
        await talk.body()
        await hold.wait()
        await talk.answer(200, b"ok")

    async with stage(held, concurrency=1) as s:
        jobs = [await post_job(s, b"%d" % number) for number in range(12)]
        await s.replica.heard(1)
        live = await s.send(request("/live"))
        await s.until_held(1)
        hold.set()
        assert (await live.reply()).status == 200
        for job in jobs:
            await until_state(s, job, "succeeded")
        assert s.replica.most_in_flight == 1
        assert [heard.target for heard in s.replica.requests][1] == b"/live"
        assert [bytes(heard.body) for heard in s.replica.requests if heard.body] == [
            b"%d" % number for number in range(12)
        ]


async def test_a_queued_job_that_is_cancelled_never_reaches_a_model() -> None:
    async with stage(echo, from_zero=True) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        job = await post_job(s)
        cancelled = await s.get(job["links"]["self"], method="DELETE")
        assert cancelled.json()["state"] == "cancelled"
        other = await post_job(s, b"other")
        await until_state(s, other, "succeeded")
        assert [bytes(heard.body) for heard in s.replica.requests] == [b"other"]
        assert (await result(s, job)).status == 410


async def test_a_running_job_that_is_cancelled_is_broken_off_at_the_model() -> None:
    gone = asyncio.Event()

    async def endless(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await talk.reader.read()
        gone.set()

    async with stage(endless) as s:
        job = await post_job(s)
        await s.replica.heard(1)
        await until_state(s, job, "running")
        await s.get(job["links"]["self"], method="DELETE")
        async with asyncio.timeout(1):
            await gone.wait()
        assert (await described(s, job))["state"] == "cancelled"


def leaves_first(times: int) -> Behaviour:
    """Takes the request and closes the connection without an answer, so many times; answers
    afterwards."""

    async def behave(talk: Talk) -> None:
        await talk.body()
        if len(talk.replica.requests) <= times:
            talk.writer.close()
        else:
            await talk.answer(200, b"at last")

    return behave


async def test_an_idempotent_job_that_gets_no_answer_is_tried_again_as_another_attempt() -> None:
    async with stage(leaves_first(1)) as s:
        job = (await s.get("/", headers=ASYNC)).json()
        await until_state(s, job, "succeeded")
        assert (await described(s, job))["attempt"] == 2
        assert (await result(s, job)).body == b"at last"


async def test_with_its_attempts_used_up_a_job_is_given_up_with_the_cause() -> None:
    async with stage(leaves_first(9), config={"jobs": {"attempts": 1}}) as s:
        job = (await s.get("/", headers=ASYNC)).json()
        await until_state(s, job, "failed")
        told = await described(s, job)
        assert (told["reason"], told["attempt"]) == ("upstream_unreachable", 1)
        answer = await result(s, job)
        assert (answer.status, answer.why) == (502, "upstream_unreachable")


async def test_a_job_that_is_no_idempotent_request_is_not_given_to_a_model_twice() -> None:
    async with stage(leaves_first(9)) as s:
        job = await post_job(s)
        await until_state(s, job, "failed")
        assert len(s.replica.requests) == 1


async def test_a_start_that_fails_is_tried_again_by_the_jobs_it_was_for() -> None:
    async with stage(echo, from_zero=True) as s:
        assert s.driver is not None
        s.driver.fail_next("no such image")
        job = await post_job(s)
        await until_state(s, job, "succeeded", within=15)
        assert s.driver.calls


async def test_an_answer_that_is_cut_fails_the_job_and_is_not_kept() -> None:
    async def cut(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
        await talk.drain()
        talk.writer.close()

    async with stage(cut) as s:
        job = await post_job(s)
        await until_state(s, job, "failed")
        assert (await described(s, job))["reason"] == "broken_off"
        assert (await result(s, job)).status == 502


async def test_events_tell_the_life_of_a_job_and_can_be_resumed() -> None:
    async with stage(echo) as s:
        job = await post_job(s)
        reply = await s.get(job["links"]["events"])
        assert reply.get("content-type") == b"text/event-stream"
        states = [line for line in reply.body.split(b"\n") if line.startswith(b"event: ")]
        assert states == [
            b"event: queued", b"event: running", b"event: answering", b"event: succeeded"
        ]  # fmt: skip
        later = await s.get(job["links"]["events"], headers={"Last-Event-ID": "1-2"})
        assert later.body.startswith(b"id: 1-3\nevent: answering\n")
        assert (await s.get(job["links"]["events"], headers={"Last-Event-ID": "1-4"})).status == 204


async def test_what_never_was_a_job_is_not_found_and_what_is_no_longer_kept_is_gone() -> None:
    async with stage(echo, config={"jobs": {"retention": "200ms"}}) as s:
        for never in ("nonsense", "m." + "A" * 28):
            assert (await s.get("/.activator/jobs/" + never)).status == 404
        job = await post_job(s)
        async with asyncio.timeout(8):
            while (gone := await s.get(job["links"]["self"])).status == 200:
                await asyncio.sleep(0.02)
        assert (gone.status, gone.why) == (410, "job_gone")
        assert (await result(s, job)).why == "job_gone"
        posted = await s.post(b"", job["links"]["self"])
        assert posted.status == 405


async def test_an_answer_without_a_length_and_one_to_head_are_given_back_whole() -> None:
    async def until_close(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end")
        await talk.drain()
        talk.writer.close()

    async with stage(until_close) as s:
        job = await post_job(s)
        await until_state(s, job, "succeeded")
        assert (await result(s, job)).body == b"until the end"
    async with stage(says(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")) as s:
        where = (await s.get("/", method="HEAD", headers=ASYNC)).get("location")
        assert where is not None
        async with asyncio.timeout(5):
            while (reply := await s.get(where.decode() + "/result")).status == 409:
                await asyncio.sleep(0.01)
        assert (reply.status, reply.body) == (200, b"")


async def test_a_body_beyond_jobs_max_body_is_refused() -> None:
    async with stage(echo, config={"jobs": {"maxBody": "1KiB"}}) as s:
        reply = await s.post(b"x" * 2000, headers=ASYNC)
        assert (reply.status, reply.why) == (413, "body_too_large")


async def test_an_answer_beyond_jobs_max_result_fails_the_job() -> None:
    async with stage(echo, config={"jobs": {"maxResult": "1KiB"}}) as s:
        job = await post_job(s, b"x" * 2000)
        await until_state(s, job, "failed")
        assert (await described(s, job))["reason"] == "result_too_large"


async def test_what_an_activator_had_claimed_that_is_gone_is_run_by_another() -> None:
    times = Times(beat=0.1, silence=0.5)
    async with stage(echo, ready=False, times=times) as s, elsewhere(s, "dead") as dead:
        upload = dead.upload("m")
        created = await dead.create(
            NewJob(Envelope(b"GET", b"/", b"m.example"), claim=True), upload
        )
        assert isinstance(created, Created)
        assert created.claim is not None
        await dead.begin(created.claim)
        await s.replica.start()
        job = {"links": {"self": f"/.activator/jobs/{upload.job_id}"}}
        await until_state(s, job, "succeeded")
        assert (await described(s, job))["attempt"] == 2


async def test_an_endpoint_whose_line_is_empty_is_not_asked_for_jobs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claims = Faulty(monkeypatch, Worker, "_claim", times=0)
    async with stage(echo) as s:
        await until_state(s, await post_job(s), "succeeded")
        worker = s.app.workers._workers["m"]
        await eventually(lambda: not worker._store.queued("m"))
        claimed = claims.called
        assert claimed
        worker._wake.set()
        await eventually(lambda: not worker._wake.is_set())

        assert claims.called == claimed
        await until_state(s, await post_job(s), "succeeded")
        assert claims.called > claimed
