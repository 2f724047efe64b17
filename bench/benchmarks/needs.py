"""What one activator and its Redis need: for a request, for one that is limited, for one that is
held, for a job that waits, for an endpoint at zero. `bench.sizing` reckons with it."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from http.client import HTTPConnection
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

import redis

from activator.app.serve import SETTLED
from bench import contestants, wrk
from bench.failure import BenchError
from bench.holding import Waiting
from bench.processes import LOOPBACK, free_port
from bench.redis_server import installed, redis_server
from bench.report import Result
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.contestants import Activator
    from bench.lab import Lab
    from bench.report import Cell
    from bench.wrk import Burst

TITLE: Final = "what an activator and its Redis need"
BODY: Final = 4096
CONNECTIONS: Final = 16
LIMIT: Final = CONNECTIONS
"""Slots of the limited endpoint: nobody waits for one, and too few are free for any to be kept,
which would cost Redis nothing: a place is reckoned with what it must bear."""
ROOM: Final = {"queue": {"maxRequests": 100_000, "maxBytes": "2GiB"}}
FEW: Final = 10
"""Endpoints beside which many are measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    bursts: int
    """Of each kind; the best counts, for what others do meanwhile only makes one dearer."""
    seconds: float
    """Of a burst."""
    idle: float
    """Seconds; what comes round once in a minute is seen in a minute."""
    held: int
    jobs: int
    endpoints: int


PLANS: Final = {
    Size.FULL: Plan(5, 5.0, 60.0, 10_000, 2_000, 10_000),
    Size.QUICK: Plan(3, 2.0, 15.0, 2_000, 500, 2_000),
    Size.SMOKE: Plan(1, 1.0, 1.0, 200, 50, 100),
}


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    if not wrk.installed() or not installed():
        return Result(
            "needs", TITLE, asdict(plan), (), notes=("left out: no wrk or no redis-server here",)
        )
    figures = {**_requests(lab, plan), **_endpoints(lab, plan)}
    rows: list[dict[str, Cell]] = [
        {"figure": name, "value": value, "unit": name.rpartition("_")[2]}
        for name, value in figures.items()
    ]
    return Result("needs", TITLE, asdict(plan), rows, raw={"figures": figures})


def _requests(lab: Lab, plan: Plan) -> dict[str, float]:
    nobody = (LOOPBACK, free_port())
    with ExitStack() as stack:
        url = stack.enter_context(redis_server(lab))
        upstream = stack.enter_context(lab.upstream())
        endpoints = [
            contestants.static("plain", upstream),
            contestants.static("limited", upstream, concurrency=LIMIT),
            contestants.static("cold", nobody, **ROOM),
            contestants.static("later", nobody, **ROOM),
        ]
        activator = stack.enter_context(
            contestants.activator(lab, endpoints, store={"url": url, "maxBytes": "4GiB"})
        )
        store = stack.enter_context(Store(url))
        figures = _warm(activator, store, plan)
        # jobs first: what held requests leave in Redis goes some time after them
        return figures | _jobs(activator, store, plan) | _held(activator, store, plan)


def _warm(activator: Activator, store: Store, plan: Plan) -> dict[str, float]:
    """Requests that find a replica ready: in the best bursts, but Redis's part over all of them."""
    plain, limited, kernel = inf, inf, inf
    of_redis, requests = Used(0.0, 0.0, 0.0), 0
    for _ in range(plan.bursts):
        spent = kernel_seconds(activator)
        burst = _burst(activator, "plain", plan)
        plain = min(plain, burst.cpu_us)
        kernel = min(kernel, (kernel_seconds(activator) - spent) / burst.requests * 1e6)
        before = store.used()
        burst = _burst(activator, "limited", plan)
        limited = min(limited, burst.cpu_us)
        of_redis, requests = of_redis.plus(before, store.used()), requests + burst.requests
    return {
        "request_cpu_us": plain,
        "request_kernel_us": kernel,
        "limited_request_cpu_us": limited,
        "limited_request_redis_us": of_redis.cpu_us / requests,
        "limited_request_redis_scripts": of_redis.scripts / requests,
    }


def _burst(activator: Activator, name: str, plan: Plan) -> Burst:
    to = activator.contestant(name, host=name)
    burst = wrk.burst(to, path="/small", connections=CONNECTIONS, seconds=plan.seconds)
    if burst.errors:
        raise BenchError(f"{burst.errors} of {burst.requests} requests to {name} went wrong")
    return burst


def _held(activator: Activator, store: Store, plan: Plan) -> dict[str, float]:
    waiting = Waiting(activator.address, host="cold", body=BODY)
    memory, before = activator.running.memory().pss, store.used()
    try:
        waiting.send(plan.held, held=lambda: int(activator.endpoint("cold")["held"]))
        activator.running.rest()
        took = before.until(store.used(), per=plan.held)
        grown = (activator.running.memory().pss - memory) / plan.held
    finally:
        waiting.close()
    return {
        "held_kib": grown / 1024,
        "held_redis_kib": took.memory / 1024,
        "held_redis_us": took.cpu_us,
    }


def _jobs(activator: Activator, store: Store, plan: Plan) -> dict[str, float]:
    connection = HTTPConnection(*activator.address, timeout=30.0)
    fields = {"Host": "later", "Prefer": "respond-async"}
    before = store.used()
    for _ in range(plan.jobs):
        connection.request("POST", "/", bytes(BODY), fields)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 202:
            raise BenchError(f"a job was not accepted: {answer.status} {said!r}")
    took = before.until(store.used(), per=plan.jobs)
    connection.close()
    return {"job_redis_kib": took.memory / 1024, "job_accepted_redis_us": took.cpu_us}


def _endpoints(lab: Lab, plan: Plan) -> dict[str, float]:
    """At zero, which nobody asks for."""
    few, many = (_idle(lab, count, plan.idle) for count in (FEW, plan.endpoints + FEW))
    return {
        "process_mib": few[0] / 2**20,
        "endpoint_kib": (many[0] - few[0]) / plan.endpoints / 1024,
        "endpoint_idle_cpu_us": max(0.0, many[1] - few[1]) / plan.endpoints * 1e6,
    }


def _idle(lab: Lab, count: int, seconds: float) -> tuple[float, float]:
    """Bytes of memory, and the share of a core."""
    command = {"type": "process", "command": ["true", "{port}"]}
    endpoints = [
        {"name": f"e{number}", "match": {"hosts": [f"e{number}"]}, "backend": command}
        for number in range(count)
    ]
    with contestants.activator(lab, endpoints) as activator:
        time.sleep(SETTLED)
        activator.running.rest()
        used, began = activator.running.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        share = (activator.running.cpu_seconds() - used) / (time.monotonic() - began)
        return activator.running.memory().pss, share


def kernel_seconds(activator: Activator) -> float:
    """CPU time in system calls so far, to the hundredth."""
    stat = Path(f"/proc/{activator.running.pids[0]}/stat").read_text(encoding="ascii")
    return int(stat.rpartition(")")[2].split()[12]) / os.sysconf("SC_CLK_TCK")


# --- Redis's own accounts -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Used:
    """So far, or for one of something. CPU time of its main thread."""

    cpu_us: float
    scripts: float
    memory: float
    """Bytes."""

    def plus(self, before: Used, after: Used) -> Used:
        return Used(
            cpu_us=self.cpu_us + after.cpu_us - before.cpu_us,
            scripts=self.scripts + after.scripts - before.scripts,
            memory=self.memory + after.memory - before.memory,
        )

    def until(self, later: Used, *, per: int) -> Used:
        grown = Used(0.0, 0.0, 0.0).plus(self, later)
        return Used(grown.cpu_us / per, grown.scripts / per, grown.memory / per)


class Store:
    def __init__(self, url: str) -> None:
        self._client = redis.Redis.from_url(url)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def used(self) -> Used:
        told: Mapping[str, float] = self._client.info("cpu")
        commands: Mapping[str, Mapping[str, float]] = self._client.info("commandstats")
        memory: Mapping[str, int] = self._client.info("memory")
        return Used(
            cpu_us=1e6 * (told["used_cpu_user_main_thread"] + told["used_cpu_sys_main_thread"]),
            scripts=sum(
                each["calls"]
                for name, each in commands.items()
                if name.startswith(("cmdstat_eval", "cmdstat_fcall"))
            ),
            memory=memory["used_memory"],
        )
