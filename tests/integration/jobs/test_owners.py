"""Whose a job is: with API keys it answers only the key that made it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.integration.jobs.test_jobs import ASYNC, echo
from tests.integration.jobs.test_waiting import keyed
from tests.integration.proxy.test_door import bearer, keys, line
from tests.stage import stage

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("each_store")

ALICE, BOB = bearer("alice's"), bearer("bob's")


async def test_a_job_answers_only_the_key_that_made_it_also_when_it_is_gone(
    tmp_path: Path,
) -> None:
    config = keys(tmp_path, line("alice", "alice's"), line("bob", "bob's"))
    async with stage(echo, config={**config, "jobs": {"retention": "1s"}}) as s:
        job = (await s.post(b"in", headers={**ASYNC, **ALICE})).json()
        pages = list(job["links"].values())
        for page in pages:
            for method in ("GET", "DELETE") if page == job["links"]["self"] else ("GET",):
                reply = await s.get(page, headers=BOB, method=method)
                assert (reply.status, reply.why) == (404, "no_route")
            assert (await s.get(page)).status == 401
        events = await s.get(job["links"]["events"], headers=ALICE)
        assert b"event: succeeded" in events.body
        assert (await s.get(job["links"]["result"], headers=ALICE)).body == b"out:in"
        heard = s.replica.requests[0]
        assert heard.get("authorization") is None

        async with asyncio.timeout(8):
            while (gone := await s.get(job["links"]["self"], headers=ALICE)).status == 200:
                await asyncio.sleep(0.05)
        assert gone.why == "job_gone"
        assert (await s.get(job["links"]["self"], headers=BOB)).status == 404


async def test_the_same_idempotency_key_of_another_api_key_is_another_request(
    tmp_path: Path,
) -> None:
    config = keys(tmp_path, line("alice", "alice's"), line("bob", "bob's"))
    async with stage(echo, config=config) as s:
        for caller, body in ((ALICE, b"hers"), (BOB, b"his"), (ALICE, b"hers")):
            reply = await s.ask(keyed(body, **caller))
            assert (reply.status, reply.body) == (201, b"out:" + body)
        assert len(s.replica.requests) == 2
