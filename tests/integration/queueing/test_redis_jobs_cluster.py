"""Jobs in a Redis Cluster: an endpoint's keys are together, endpoints are apart."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.queueing.following import ResultReader
from activator.queueing.jobs import Joined, Lost, Output
from tests.contract.jobs.stage import (
    HEAD,
    POLICY,
    RedisStage,
    admitted,
    answered,
    begun,
    body_of,
    claimed,
    job_id,
    started,
)
from tests.redis_server import cluster_of_three, opened_link
from tests.support import eventually

if TYPE_CHECKING:
    from activator.queueing.jobs import JobStore, Told

ENDPOINTS = [f"model-{number}" for number in range(8)]
BODY = b"x" * 300_000


async def test_jobs_of_many_endpoints_live_in_a_cluster() -> None:
    with cluster_of_three() as cluster:
        async with opened_link(cluster.url) as link:
            stage = RedisStage(link)
            a, b = stage.open("a"), stage.open("b")
            for endpoint in ENDPOINTS:
                await live(a, b, endpoint)
            stage.offset += POLICY.retention + 1
            for endpoint in ENDPOINTS:
                assert (await a.sweep(endpoint)).deleted == 3
            await stage.aclose()

            left = [key for master in cluster.masters for key in master.keys(link.keys.prefix)]
            assert left == [link.keys.shared("bytes", "endpoints")]


async def live(a: JobStore, b: JobStore, endpoint: str) -> None:
    """A job that is read while it runs, one that is cancelled while it waits, and another."""
    told: list[Told] = []
    watching = b.watch(endpoint, told.append)
    id_ = await job_id(a, BODY, endpoint=endpoint, key="k")
    assert isinstance(await admitted(b, BODY, endpoint=endpoint, key="k"), Joined)
    await eventually(lambda: b.queued(endpoint) == 1)
    claim = await begun(b, endpoint=endpoint)
    assert await body_of(b, claim) == BODY
    reader = ResultReader(a, id_)
    head = started(reader.head())
    await b.append(claim, Output(0, HEAD, (b"one",)))
    assert await asyncio.wait_for(head, 5) == HEAD
    await b.finish(claim)
    reader.close()
    waiting = await job_id(a, endpoint=endpoint)
    await claimed(b, endpoint=endpoint)
    await a.cancel(waiting, reason="cancelled", detail="")
    await eventually(lambda: Lost(waiting) in told)
    await job_id(a, endpoint=endpoint)
    await answered(a, await begun(a, endpoint=endpoint), b"two")
    watching.close()
