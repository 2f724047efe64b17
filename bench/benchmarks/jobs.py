"""What a recorded request costs: the steps of a job in Redis beside a bare round trip to it, how
many jobs a second one activator runs at replicas that answer at once, and what of its processor
time goes to accepting one and to running it."""

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

    from activator.queueing.jobs import Claim
    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "a recorded request, through Redis"
BODY: Final = bytes(4096)
NAME: Final = "m"
CREATE: Final = "create"
FINISH: Final = "finish"
AGE: Final = 30.0
STEPS_LIMIT_US: Final = 250
LOOK_EVERY: Final = 0.1
"""Seconds between two questions for how many have run: answering takes processor time, too."""
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
        seconds, cpu = uvloop.run(_measure(url, plan.times))
    with redis_server(lab) as url:
        drained = _drain(lab, url, plan.drained)
    rows: list[dict[str, Cell]] = [
        {
            "what": name,
            "times": len(each),
            "p50 µs": percentile(each, 0.5) * 1e6,
            "p99 µs": percentile(each, 0.99) * 1e6,
            "GETs": percentile(each, 0.5) / percentile(seconds["bare GET"], 0.5),
            "CPU p50 µs": percentile(cpu[name], 0.5) * 1e6,
        }
        for name, each in seconds.items()
    ]
    steps = sum(percentile(cpu[name], 0.5) for name in (CREATE, FINISH)) * 1e6
    return Result(
        "jobs",
        TITLE,
        asdict(plan),
        rows,
        verdicts=[
            Verdict(f"jobs without a result, of {plan.drained}", drained.lost, 0, ""),
            Verdict("CPU of the steps that create and finish a job", steps, STEPS_LIMIT_US, "µs"),
        ],
        notes=[
            f"one activator ran {drained.per_second:,.0f} jobs a second, recorded ones, 4 KiB each",
            f"its CPU a job: {drained.accepting * 1e6:,.0f} µs to accept it, with request and 202,"
            f" and {drained.running * 1e6:,.0f} µs to run it, with the replica's answer",
        ],
        raw={
            "seconds": seconds,
            "cpu": cpu,
            "jobs per second": drained.per_second,
            "cpu to accept": drained.accepting,
            "cpu to run": drained.running,
        },
    )


# --- the store alone


async def _measure(url: str, times: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds that each step took, and how many of them this process computed."""
    link = Link(url, prefix="bench", timeout=1.0)
    await link.open()
    budget = RedisBudget(link, max_bytes=1 << 30, clock=time.monotonic)
    store = RedisJobs(link, budget, me="one", policy=POLICY, dice=random.random)
    claimed: list[Claim] = []
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "bare GET": lambda: link.command("GET", "nothing"),
        CREATE: lambda: _create(store),
        "claim, begin, body": lambda: _begin(store, claimed),
        FINISH: lambda: store.finish(claimed.pop(), output=Output(0, HEAD, (BODY,))),
    }
    took: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    try:
        for _ in range(times):
            for name, step in steps.items():
                used, began = time.process_time(), time.perf_counter()
                await step()
                took[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - used)
    finally:
        await store.aclose()
        await budget.aclose()
        await link.aclose()
    for figures in (took, cpu):
        parts = [figures[name] for name in list(steps)[1:]]
        figures["the whole job"] = [sum(each) for each in zip(*parts, strict=True)]
    return _sorted(took), _sorted(cpu)


def _sorted(figures: dict[str, list[float]]) -> dict[str, list[float]]:
    return {name: sorted(each) for name, each in figures.items()}


async def _create(store: RedisJobs) -> None:
    upload = store.upload(NAME)
    await upload.write(BODY)
    if not isinstance(await store.create(NewJob(ENVELOPE), upload), Created):
        raise BenchError("a job was not created")


async def _begin(store: RedisJobs, claimed: list[Claim]) -> None:
    (claim,) = (await store.claim(NAME, 1, age=AGE)).claims
    await store.begin(claim)
    async for _ in store.body(claim):
        pass
    claimed.append(claim)


# --- an activator that runs them


@dataclass(frozen=True, slots=True)
class Drained:
    lost: int
    """Jobs that have no result."""
    per_second: float
    """From the moment that they may run."""
    accepting: float
    """Seconds of the activator's processor time, by the kernel's account, a job."""
    running: float


def _drain(lab: Lab, url: str, count: int) -> Drained:
    with lab.upstream() as upstream:
        endpoint = contestants.static(NAME, upstream, queue={"maxRequests": count})
        with contestants.activator(lab, [endpoint], store={"url": url}) as activator:
            activator.wait_for(NAME, within=10.0, state="active")
            activator.order(NAME, "pause")
            used = activator.running.cpu_seconds()
            asyncio.run(_accept(activator, count))
            accepted, began = activator.running.cpu_seconds(), time.monotonic()
            activator.order(NAME, "resume")
            while (done := activator.jobs(NAME).get("succeeded", 0)) < count:
                if time.monotonic() - began > WITHIN:
                    break
                time.sleep(LOOK_EVERY)
            took, ran = time.monotonic() - began, activator.running.cpu_seconds()
            return Drained(
                lost=count - done,
                per_second=done / took,
                accepting=(accepted - used) / count,
                running=(ran - accepted) / max(done, 1),
            )


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
