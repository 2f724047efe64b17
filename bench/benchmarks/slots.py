"""What a slot costs that several activators share, beside the bare round trip to their Redis.

Two ledgers of one endpoint, as two activators have them, each over a link of its own; both run in
this process, so that one clock times both ends.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

import uvloop

from activator.coordination.base import ASKED
from activator.coordination.memory import MemoryLedger
from activator.coordination.redis_ledgers import RedisLedgers
from activator.core.dispatch import Ticket
from activator.core.endpoint import Endpoint, Replica, StaticBackend
from activator.redisio.link import Link
from bench.failure import BenchError
from bench.processes import LOOPBACK
from bench.redis_server import redis_server
from bench.report import Result, Verdict
from bench.rounds import percentile
from bench.size import Size

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from activator.coordination.redis_ledger import RedisLedger
    from bench.lab import Lab
    from bench.report import Cell

TITLE: Final = "a slot that several activators share, through Redis"
REPLICA: Final = Replica("r", LOOPBACK, 1)
NAME: Final = "m"
RATIO_LIMIT: Final = 2.5
WAKE_LIMIT_MS: Final = 2.0
SETTLED_WITHIN: Final = 5.0


@dataclass(frozen=True, slots=True)
class Plan:
    times: int


PLANS: Final = {Size.FULL: Plan(20_000), Size.QUICK: Plan(3_000), Size.SMOKE: Plan(200)}


@dataclass(frozen=True)
class Neighbour:
    """An activator as its ledgers' roster shows it; here nobody ever falls silent."""

    me: str
    members: frozenset[str] = frozenset({"one", "two"})
    is_acquainted: bool = True

    def on_acquainted(self, told: Callable[[], None]) -> None: ...

    def on_joined(self, told: Callable[[str], None]) -> None: ...

    def on_silent(self, told: Callable[[str], None]) -> None: ...


def run(lab: Lab) -> Result:
    plan = PLANS[lab.size]
    with redis_server(lab, core=lab.cores.contestant) as url:
        seconds = uvloop.run(_measure(url, plan.times))
    rows = [_row(name, each) for name, each in seconds.items()]
    ratio = percentile(seconds["acquire and release"], 0.5) / percentile(seconds["bare GET"], 0.5)
    woken = percentile(seconds["freed here, granted there"], 0.5) * 1e3
    verdicts = [
        Verdict("acquire and release, p50 over a bare GET", ratio, RATIO_LIMIT, "times"),
        Verdict("freed here, granted there, p50", woken, WAKE_LIMIT_MS, "ms"),
    ]
    return Result("slots", TITLE, asdict(plan), rows, verdicts=verdicts, raw={"seconds": seconds})


def _row(name: str, seconds: list[float]) -> dict[str, Cell]:
    p50, p99 = percentile(seconds, 0.5) * 1e6, percentile(seconds, 0.99) * 1e6
    return {"what": name, "times": len(seconds), "p50 µs": p50, "p99 µs": p99}


async def _measure(url: str, times: int) -> dict[str, list[float]]:
    endpoint = Endpoint(NAME, StaticBackend(()), concurrency=1)
    async with AsyncExitStack() as stack:
        here, link = await stack.enter_async_context(_ledger(url, "one", endpoint))
        there, _ = await stack.enter_async_context(_ledger(url, "two", endpoint))
        calls: dict[str, Callable[[], Awaitable[float]]] = {
            "bare GET": partial(_get, link),
            "acquire and release": partial(_acquire_and_release, here),
            "freed here, granted there": partial(_pass_on, here, there),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(times // 100):  # by turns, so that a busy moment meets all of them
            for name, call in calls.items():
                took[name] += [await call() for _ in range(100)]
        return {name: sorted(each) for name, each in took.items()}


@asynccontextmanager
async def _ledger(
    url: str, name: str, endpoint: Endpoint
) -> AsyncIterator[tuple[RedisLedger, Link]]:
    loop = asyncio.get_running_loop()
    link = Link(url, prefix="bench", timeout=1.0)
    await link.open()
    make_local = partial(
        MemoryLedger,
        clock=loop.time,
        call_soon=loop.call_soon,
        call_at=loop.call_at,
        dice=Random(1).randrange,
    )
    ledgers = RedisLedgers(
        link, Neighbour(name), clock=loop.time, call_at=loop.call_at, make_local=make_local
    )
    ledger = ledgers.make(endpoint)
    ledger.offer([(REPLICA, False)])
    try:
        async with asyncio.timeout(SETTLED_WITHIN):
            while not ledger.is_settled:  # noqa: ASYNC110 - before anything is timed
                await asyncio.sleep(0.01)
        yield ledger, link
    finally:
        await ledgers.aclose()
        await link.aclose()


async def _get(link: Link) -> float:
    began = time.perf_counter()
    await link.command("GET", "nothing")
    return time.perf_counter() - began


async def _acquire_and_release(ledger: RedisLedger) -> float:
    """Nobody waits for the release; it goes along with the next acquisition, and costs there."""
    decided = asyncio.get_running_loop().create_future()
    ticket = Ticket()
    began = time.perf_counter()
    if ledger.acquire_now(ticket, lambda _, replica: decided.set_result(replica)) is not ASKED:
        raise BenchError("the ledger does not ask the store")
    replica = await decided
    took = time.perf_counter() - began
    ledger.release(ticket)
    if replica is None:
        raise BenchError("the only slot is taken")
    return took


async def _pass_on(here: RedisLedger, there: RedisLedger) -> float:
    running, waiting = Ticket(), Ticket()
    has_it, has_its_turn = (asyncio.get_running_loop().create_future() for _ in range(2))
    here.acquire(running, lambda *_: has_it.set_result(None))
    await has_it
    there.acquire(waiting, lambda *_: has_its_turn.set_result(time.perf_counter()))
    while not there.is_settled:  # noqa: ASYNC110 - before anything is timed
        await asyncio.sleep(0)
    began = time.perf_counter()
    here.release(running)
    granted = await has_its_turn
    there.release(waiting)
    return float(granted - began)
