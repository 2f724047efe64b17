"""Activators end in the middle of uneven traffic: the others go on as if nothing was."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from typing import TYPE_CHECKING

from tests.activator_process import TIMES
from tests.rawclient import Cut
from tests.several import Activator, several
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from tests.rawclient import Reply
    from tests.replica import Talk

LIMIT = 2
APART = 0.02
"""Seconds between two arrivals."""
CLOSE = 4
"""Arrivals within so many times `APART` may change places between activators: each knows the
store's clock only as well as one answer of the store can tell it."""


async def test_a_killed_activators_slots_are_back_in_time() -> None:
    async def works(talk: Talk) -> None:
        if talk.heard.target == b"/long":
            await talk.gone(within=20.0)
        await talk.answer(200, b"done")

    async with several(2, behave=works, concurrency=LIMIT) as s:
        doomed, other = s.activators
        long = [spawn(ends(doomed, "/long")) for _ in range(LIMIT)]
        await eventually(lambda: s.running and len(s.running[0].requests) == LIMIT)
        waiting = spawn(other.get("/next"))
        await s.until_in_line(1)

        doomed.process.kill()
        killed = asyncio.get_running_loop().time()

        assert (await waiting).status == 200
        # in production: 5 s of silence, and the beat before it
        assert asyncio.get_running_loop().time() - killed < TIMES.silence + 2 * TIMES.beat + 0.5
        assert await asyncio.gather(*long) == [None] * LIMIT
        assert s.most_in_flight == LIMIT


async def test_one_is_killed_another_stopped_and_the_line_keeps_its_order_and_limit() -> None:
    go = asyncio.Event()
    order: list[str] = []

    async def works(talk: Talk) -> None:
        order.append(talk.heard.target.decode())
        await go.wait()
        await asyncio.sleep(0.02)
        with contextlib.suppress(ConnectionError):
            await talk.answer(200, b"done")

    # with one slot the order of grants is the order of arrivals at the replica
    async with several(3, behave=works, concurrency=1) as s:
        doomed, leaving, staying = s.activators
        sent: list[tuple[Activator, str, asyncio.Task[Reply | None]]] = []

        async def send(activator: Activator, number: int) -> None:
            target = f"/{number:03}"
            sent.append((activator, target, spawn(ends(activator, target))))
            if number:
                await s.until_in_line(number)
            else:
                await eventually(lambda: order)
            await asyncio.sleep(APART)

        # of seven requests five come to the one that stays
        for number in range(42):
            await send({0: doomed, 3: leaving}.get(number % 7, staying), number)
        assert order == ["/000"]

        doomed.process.kill()
        leaving.tell(signal.SIGTERM)
        go.set()

        replies = {target: await task for _, target, task in sent}
        of = {target: activator for activator, target, _ in sent}
        for target, reply in replies.items():
            if of[target] is staying:
                assert reply is not None
                assert reply.status == 200
            elif of[target] is leaving:
                assert reply is not None
                assert (reply.status, reply.why) in {(200, ""), (503, "shutting_down")}
        assert len(order) == len(set(order))
        for activator in (leaving, staying):
            mine = [target for target in order if of[target] is activator]
            assert mine == sorted(mine)
        came = [int(target[1:]) for target in order]
        assert all(a < b for a, b in zip(came, came[CLOSE:], strict=False)), came
        assert s.most_in_flight == 1
        assert await leaving.ended() == 0
        assert await s.in_line() == 0


async def ends(activator: Activator, target: str) -> Reply | None:
    """None: the activator ended first."""
    try:
        return await activator.get(target, within=30.0)
    except (Cut, ConnectionError):
        return None
