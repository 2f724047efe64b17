"""A request of one endpoint at a replica of another: counted there, while it is there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from activator.coordination.base import ASKED
from activator.core.dispatch import Ticket
from activator.upstream.guest import Guest
from tests.unit.upstream.support import ONE, live_endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.endpoint import Replica
    from activator.upstream.registry import LiveEndpoint


def host(**changed: Any) -> LiveEndpoint:
    live = live_endpoint(**changed)
    live.offer([(ONE, False)])
    return live


async def test_it_counts_like_a_request_of_the_hosts_own() -> None:
    live = host(concurrency=1)
    first, answered = list[str](), list[str]()
    live.answered = answered.append
    live.unreachable = lambda replica, why: first.append(f"{replica}: {why}")
    guest = Guest(live, Ticket())

    assert await guest.enter() is live.replicas["m-1"]
    assert (live.gate.demand, live.gate.load("m-1")) == (1, 1)
    assert await Guest(live, Ticket()).enter() is None
    guest.answered()
    guest.answered()
    guest.unreachable("reset")
    assert (answered, first) == (["m-1"], ["m-1: reset"])

    guest.leave()
    guest.leave()
    assert live.gate.load("m-1") == 0
    assert live.gate.last_ended > 0


async def test_one_that_finds_no_slot_leaves_nothing_and_is_no_activity() -> None:
    live = host(concurrency=1)
    await Guest(live, Ticket()).enter()
    before, late = live.gate.last_ended, Guest(live, Ticket())
    assert await late.enter() is None
    late.leave()
    assert (live.gate.demand, live.gate.last_ended) == (1, before)


async def test_nobody_is_woken_nor_bothered() -> None:
    asleep = live_endpoint()
    assert await Guest(asleep, Ticket()).enter() is None
    assert asleep.gate.demand == 0
    paused = host()
    paused.gate.pause()
    assert await Guest(paused, Ticket()).enter() is None
    assert paused.gate.demand == 0


async def test_it_waits_for_whoever_keeps_the_slots_and_may_leave_meanwhile() -> None:
    live = host()
    asked: list[Callable[[Ticket, Replica | None], None]] = []

    def ask(ticket: Ticket, decided: Callable[[Ticket, Replica | None], None]) -> Any:
        asked.append(decided)
        return ASKED

    live.gate.acquire_now = ask
    guest = Guest(live, Ticket())
    entering = asyncio.gather(guest.enter())
    await asyncio.sleep(0)
    asked[0](Ticket(), ONE)
    assert (await entering)[0] is live.replicas["m-1"]

    late = Guest(live, Ticket())
    entering = asyncio.gather(late.enter())
    await asyncio.sleep(0)
    late.leave()
    entering.cancel()
    asked[1](Ticket(), ONE)  # changes nothing any more
    guest.leave()
    assert live.gate.demand == 0


async def test_what_it_takes_there_is_its_keys() -> None:
    live = host(concurrency=1)
    guest, late = Guest(live, Ticket(), key="team"), Guest(live, Ticket(), key="team")
    await guest.enter()
    await late.enter()
    clock: Any = live.kit.clock
    clock.advance(2.0)
    late.leave()
    guest.leave()
    guest.leave()
    use = live.keys.read(now=clock())["team"]
    assert (use.requests, use.slot_seconds) == (1, 2.0)
