"""The end of an activator that has jobs: who waits is told so, what waits goes back in line."""

from __future__ import annotations

import pytest

from activator.aiokit.tasks import Tasks
from tests import stage as stages
from tests.integration.jobs.test_waiting import keyed
from tests.stage import request, stage

WAIT = request("/", method="POST", headers={"Prefer": "wait=60"}, body=b"in")


@pytest.mark.usefixtures("each_store")
async def test_who_waits_with_a_key_is_told_that_the_activator_ends() -> None:
    async with stage(ready=False) as s:
        client = await s.send(keyed())
        await s.until_in_line(1)
        stopping = Tasks("test").spawn(s.stop(grace=0.1), name="stop")
        reply = await client.reply()
        assert (reply.status, reply.why) == (503, "shutting_down")
        await stopping


@pytest.mark.usefixtures("each_store")
async def test_who_prefers_to_wait_takes_the_address_if_the_job_outlives_the_activator() -> None:
    async with stage(ready=False) as s:
        client = await s.send(WAIT)
        await s.until_in_line(1)
        stopping = Tasks("test").spawn(s.stop(grace=0.1), name="stop")
        reply = await client.reply()
        await stopping
        if stages.store.get() is None:
            assert (reply.status, reply.why) == (503, "shutting_down")
        else:
            assert (reply.status, reply.get("preference-applied")) == (202, b"wait=60")
