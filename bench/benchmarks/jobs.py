"""What a recorded request costs: the steps of a job in Redis beside a bare round trip to it, and
how many jobs a second one activator runs at replicas that answer at once."""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Final

import uvloop

from activator.core.jobs import JobsPolicy
from activator.queueing.jobs import Created, Envelope, NewJob, Output, ResultHead
from activator.queueing.redis_budget import RedisBudget
from activator.queueing.redis_jobs import RedisJobs
from activator.redisio.link import Link
from bench import contestants
from bench.failure import BenchError
from bench.redis_server import redis_server
from bench.report import Result, Verdict
from bench.rounds import percentile
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "a recorded request, through Redis"
BODY: Final = bytes(4096)
NAME: Final = "m"
AGE: Final = 30.0
WITHIN: Final = 120.0
"""Seconds that all jobs may take."""
HEAD: Final = ResultHead(status=200, reason=b"OK", lines=(), length=len(BODY))
ENVELOPE: Final = Envelope(method=b"POST", target=b"/v1", host=b"m", length=len(BODY))
POLICY: Final = JobsPolicy(
    max_body=1 << 20, max_result=1 << 20, ttl=3600, retention=60, attempts=3, join_grace=60
)


@dataclass(frozen=True, slots=True)
class Plan:
    times: int
    drained: int


PLANS: Final = {
    Size.FULL: Plan(5_000, 5_000),
    Size.QUICK: Plan(1_000, 1_000),
    Size.SMOKE: Plan(100, 60),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    with redis_server(lab) as url:
        seconds = uvloop.run(_measure(url, plan.times))
    with redis_server(lab) as url:
        lost, per_second = _drain(lab, url, plan.drained)
    rows: list[dict[str, Cell]] = [
        {
            "what": name,
            "times": len(each),
            "p50 µs": percentile(each, 0.5) * 1e6,
            "p99 µs": percentile(each, 0.99) * 1e6,
            "GETs": percentile(each, 0.5) / percentile(seconds["bare GET"], 0.5),
        }
        for name, each in seconds.items()
    ]
    return Result(
        "jobs",
        TITLE,
        asdict(plan),
        rows,
        verdicts=[Verdict(f"jobs without a result, of {plan.drained}", lost, 0, "")],
        notes=[f"one activator ran {per_second:,.0f} jobs a second, recorded ones, 4 KiB each"],
        raw={"seconds": seconds, "jobs per second": per_second},
    )


# --- the store alone


async def _measure(url: str, times: int) -> dict[str, list[float]]:
    link = Link(url, prefix="bench", timeout=1.0)
    await link.open()
    budget = RedisBudget(link, max_bytes=1 << 30, clock=time.monotonic)
    store = RedisJobs(link, budget, me="one", policy=POLICY, dice=random.random)
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "bare GET": lambda: link.command("GET", "nothing"),
        "create": lambda: _create(store),
        "claim, begin, body, finish": lambda: _work(store),
    }
    took: dict[str, list[float]] = {name: [] for name in steps}
    try:
        for _ in range(times):
            for name, step in steps.items():
                began = time.perf_counter()
                await step()
                took[name].append(time.perf_counter() - began)
    finally:
        await store.aclose()
        await budget.aclose()
        await link.aclose()
    took["the whole job"] = [
        sum(parts) for parts in zip(*(took[name] for name in list(steps)[1:]), strict=True)
    ]
    return {name: sorted(each) for name, each in took.items()}


async def _create(store: RedisJobs) -> None:
    upload = store.upload(NAME)
    await upload.write(BODY)
    if not isinstance(await store.create(NewJob(ENVELOPE), upload), Created):
        raise BenchError("a job was not created")


async def _work(store: RedisJobs) -> None:
    (claim,) = (await store.claim(NAME, 1, age=AGE)).claims
    await store.begin(claim)
    async for _ in store.body(claim):
        pass
    await store.finish(claim, output=Output(0, HEAD, (BODY,)))


# --- an activator that runs them


def _drain(lab: Lab, url: str, count: int) -> tuple[int, float]:
    """(jobs that have no result, jobs a second from the moment that they may run)"""
    with lab.upstream() as upstream:
        endpoint = contestants.static(NAME, upstream, queue={"maxRequests": count})
        with contestants.activator(lab, [endpoint], store={"url": url}) as activator:
            activator.wait_for(NAME, within=10.0, state="active")
            activator.order(NAME, "pause")
            asyncio.run(_accept(activator, count))
            began = time.monotonic()
            activator.order(NAME, "resume")
            while (done := activator.jobs(NAME).get("succeeded", 0)) < count:
                if time.monotonic() - began > WITHIN:
                    break
                time.sleep(0.02)
            return count - done, done / (time.monotonic() - began)


async def _accept(activator: Activator, count: int) -> None:
    """All of them, over a few connections."""

    def some(number: int) -> None:
        connection = HTTPConnection(*activator.address)
        for _ in range(number):
            headers = {"Host": NAME, "Prefer": "respond-async"}
            connection.request("POST", "/", BODY, headers)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 202:
                raise BenchError(f"a job was not accepted: {answer.status} {json.loads(told)}")
        connection.close()

    share, over = divmod(count, 4)
    await asyncio.gather(*(asyncio.to_thread(some, share + (each < over)) for each in range(4)))
