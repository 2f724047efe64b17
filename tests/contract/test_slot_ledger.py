"""What every SlotLedger promises, whichever it is. Another implementation joins IMPLEMENTATIONS.

Grants may come later anywhere, so the tests wait for what must happen; for what must not, they
let the implementation settle.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, TypeAlias

import pytest

from activator.coordination.memory import MemoryLedger
from activator.core.dispatch import Ticket, TicketState
from activator.core.endpoint import Endpoint, QueuePolicy, Replica, StaticBackend
from tests.ledgers import activators, settled
from tests.redis_server import fresh_prefix, shared_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from activator.coordination.base import SlotLedger

A = Replica("a", "127.0.0.1", 8000)
B = Replica("b", "127.0.0.1", 8001)


def endpoint(*, concurrency: int = 1, age: float = 30.0) -> Endpoint:
    return Endpoint("model", StaticBackend(()), concurrency=concurrency, queue=QueuePolicy(age=age))


@dataclass(frozen=True)
class Implementation:
    open: Callable[[Endpoint], AbstractAsyncContextManager[SlotLedger]]
    settle: Callable[[SlotLedger], Awaitable[None]]
    """Until whatever was going to happen has happened."""


@asynccontextmanager
async def _memory(model: Endpoint) -> AsyncIterator[SlotLedger]:
    loop = asyncio.get_running_loop()
    ledger = MemoryLedger(
        model,
        clock=loop.time,
        call_soon=loop.call_soon,
        call_at=loop.call_at,
        dice=Random(1).randrange,
    )
    try:
        yield ledger
    finally:
        ledger.close()


async def _some_turns_of_the_loop(ledger: SlotLedger) -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def _redis(model: Endpoint) -> AsyncIterator[SlotLedger]:
    async with activators(shared_server().url, prefix=fresh_prefix()) as (one,):
        yield one.ledgers.make(model)


IMPLEMENTATIONS = [
    pytest.param(Implementation(_memory, _some_turns_of_the_loop), id="memory"),
    pytest.param(Implementation(_redis, settled), id="redis"),
]


@dataclass
class Caller:
    """Someone with requests: remembers every grant, at once or later, in order."""

    ledger: SlotLedger
    settle: Callable[[SlotLedger], Awaitable[None]]
    granted: list[Ticket] = field(default_factory=list)
    replicas: dict[Ticket, Replica] = field(default_factory=dict)
    inside: Ticket | None = None

    def acquire(self, *tickets: Ticket) -> None:
        for ticket in tickets:
            self.inside = ticket
            replica = self.ledger.acquire(ticket, self._told)
            self.inside = None
            if replica is not None:
                self._got(ticket, replica)

    def release(self, ticket: Ticket) -> None:
        self.inside = ticket
        self.ledger.release(ticket)
        self.inside = None

    def withdraw(self, ticket: Ticket) -> None:
        self.inside = ticket
        self.ledger.withdraw(ticket)
        self.inside = None

    def _told(self, ticket: Ticket, replica: Replica) -> None:
        assert ticket is not self.inside, "called back from within its own call"
        self._got(ticket, replica)

    def _got(self, ticket: Ticket, replica: Replica) -> None:
        assert ticket.state is TicketState.GRANTED
        assert ticket.replica == replica
        self.granted.append(ticket)
        self.replicas[ticket] = replica

    async def granted_are(self, *tickets: Ticket) -> None:
        """Exactly these, in this order, and no more."""
        await eventually(lambda: len(self.granted) >= len(tickets))
        await self.settle(self.ledger)
        assert self.granted == list(tickets)


Open: TypeAlias = "Callable[[Endpoint], Awaitable[Caller]]"


@pytest.fixture(params=IMPLEMENTATIONS)
async def open_ledger(request: pytest.FixtureRequest) -> AsyncIterator[Open]:
    implementation: Implementation = request.param
    opened: list[AbstractAsyncContextManager[SlotLedger]] = []

    async def _open(model: Endpoint) -> Caller:
        context = implementation.open(model)
        caller = Caller(await context.__aenter__(), implementation.settle)
        opened.append(context)
        return caller

    yield _open
    for context in reversed(opened):
        await context.__aexit__(None, None, None)


def tickets(count: int) -> list[Ticket]:
    return [Ticket() for _ in range(count)]


async def test_free_slots_are_given_and_no_more_than_there_are(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint(concurrency=2))
    caller.ledger.offer([(A, False), (B, False)])
    mine = tickets(6)

    caller.acquire(*mine)

    await caller.granted_are(*mine[:4])
    assert caller.ledger.load("a") == caller.ledger.load("b") == 2
    assert caller.ledger.waiting == 2
    assert caller.ledger.full


async def test_a_released_slot_goes_to_the_next_in_line(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    caller.ledger.offer([(A, False)])
    first, second, third = tickets(3)
    caller.acquire(first, second, third)
    await caller.granted_are(first)
    assert [caller.ledger.place(ticket) for ticket in (first, second, third)] == [None, 1, 2]

    caller.release(first)

    await caller.granted_are(first, second)
    assert caller.ledger.place(third) == 1


async def test_those_who_wait_are_served_when_a_replica_comes(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint(concurrency=2))
    mine = tickets(3)
    caller.acquire(*mine)
    await caller.granted_are()

    caller.ledger.offer([(A, False)])

    await caller.granted_are(*mine[:2])


async def test_the_urgent_go_first_and_the_rest_as_they_came(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    slow, usual, urgent, also_usual = (Ticket(urgency=u) for u in (5, 3, 1, 3))
    caller.acquire(slow, usual, urgent, also_usual)
    order = [urgent, usual, also_usual, slow]

    caller.ledger.offer([(A, False)])
    for done in range(len(order)):
        await caller.granted_are(*order[: done + 1])
        caller.release(order[done])


async def test_waiting_makes_up_for_urgency(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint(age=10.0))
    patient, urgent = Ticket(urgency=4, arrived=100.0), Ticket(urgency=3, arrived=111.0)
    caller.acquire(urgent, patient)

    caller.ledger.offer([(A, False)])

    await caller.granted_are(patient)


async def test_a_ticket_that_left_the_line_is_never_called_back(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    leaving, staying = tickets(2)
    caller.acquire(leaving, staying)

    caller.withdraw(leaving)
    caller.ledger.offer([(A, False)])

    await caller.granted_are(staying)
    caller.release(staying)
    await caller.granted_are(staying)
    assert caller.ledger.load("a") == 0


async def test_a_grant_that_was_on_its_way_to_one_who_left_passes_on(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    caller.ledger.offer([(A, False)])
    running, leaving, staying = tickets(3)
    caller.acquire(running, leaving, staying)
    await caller.granted_are(running)

    caller.release(running)
    caller.withdraw(leaving)

    await caller.granted_are(running, staying)
    assert caller.ledger.load("a") == 1


async def test_giving_back_twice_gives_back_once(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    caller.ledger.offer([(A, False)])
    first, second, third = tickets(3)
    caller.acquire(first, second, third)
    await caller.granted_are(first)

    caller.release(first)
    caller.release(first)
    caller.withdraw(first)

    await caller.granted_are(first, second)


async def test_a_retry_keeps_its_place_and_avoids_the_replica(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    caller.ledger.offer([(A, False)])
    retried, second, third = tickets(3)
    caller.acquire(retried, second, third)
    await caller.granted_are(retried)
    caller.release(retried)
    await caller.granted_are(retried, second)

    retried.exclude = ("a",)
    caller.acquire(retried)
    assert caller.ledger.place(retried) == 1
    caller.release(second)
    await caller.granted_are(retried, second, third)

    caller.ledger.offer([(A, False), (B, False)])
    await caller.granted_are(retried, second, third, retried)
    assert caller.replicas[retried] == B


async def test_a_replica_that_is_not_offered_gets_nothing_new(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    caller.ledger.offer([(A, False)])
    running, waiting = tickets(2)
    caller.acquire(running, waiting)
    await caller.granted_are(running)

    caller.ledger.offer([])
    assert caller.ledger.load("a") == 1
    caller.release(running)
    await caller.granted_are(running)

    caller.ledger.offer([(B, False)])
    await caller.granted_are(running, waiting)


async def test_while_held_nothing_is_granted(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint(concurrency=2))
    caller.ledger.offer([(A, False)])
    caller.ledger.hold()
    mine = tickets(2)
    caller.acquire(*mine)
    await caller.granted_are()
    assert caller.ledger.full

    caller.ledger.resume()

    await caller.granted_are(*mine)


async def test_a_started_replica_is_paced_by_its_answers(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint(concurrency=8))
    mine = tickets(10)
    caller.acquire(*mine)

    caller.ledger.offer([(A, True)])
    await caller.granted_are(*mine[:1])
    caller.ledger.answered(mine[0])
    await caller.granted_are(*mine[:2])
    caller.ledger.answered(mine[1])
    await caller.granted_are(*mine[:4])
    caller.ledger.answered(mine[2])
    await caller.granted_are(*mine[:8])


async def test_a_started_replica_is_paced_without_a_limit_too_and_then_no_more(
    open_ledger: Open,
) -> None:
    caller = await open_ledger(endpoint(concurrency=0))
    mine = tickets(600)
    caller.acquire(*mine)

    caller.ledger.offer([(A, True)])
    for answered, window in enumerate((1, 2, 4, 8, 16, 32, 64, 128)):
        await caller.granted_are(*mine[:window])
        assert caller.ledger.load("a") == window
        assert caller.ledger.waiting == len(mine) - window
        caller.ledger.answered(mine[answered])
    await caller.granted_are(*mine)
    assert not caller.ledger.full
    for ticket in mine:
        caller.release(ticket)
    assert caller.ledger.load("a") == 0


async def test_a_started_replica_that_is_silent_gets_another_after_a_second(
    open_ledger: Open,
) -> None:
    caller = await open_ledger(endpoint(concurrency=2))
    mine = tickets(3)
    caller.acquire(*mine)
    caller.ledger.offer([(A, True)])
    await caller.granted_are(*mine[:1])

    await eventually(lambda: len(caller.granted) > 1, within=2.0)

    await caller.granted_are(*mine[:2])


async def test_a_changed_limit_applies_at_once_and_breaks_nobody_off(open_ledger: Open) -> None:
    model = endpoint(concurrency=1)
    caller = await open_ledger(model)
    caller.ledger.offer([(A, False)])
    mine = tickets(4)
    caller.acquire(*mine)
    await caller.granted_are(*mine[:1])

    caller.ledger.configure(replace(model, concurrency=3))
    await caller.granted_are(*mine[:3])

    caller.ledger.configure(replace(model, concurrency=1))
    caller.release(mine[0])
    caller.release(mine[1])
    await caller.granted_are(*mine[:3])
    caller.release(mine[2])
    await caller.granted_are(*mine)


async def test_a_burst_is_served_in_order_and_within_the_limit(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint(concurrency=4))
    mine = tickets(200)
    caller.acquire(*mine)
    caller.ledger.offer([(A, True), (B, False)])
    ended = 0

    def end_a_few() -> bool:
        nonlocal ended
        running = caller.granted[ended:]
        assert len(running) <= 8
        for ticket in running[:3]:
            caller.ledger.answered(ticket)
            caller.release(ticket)
            ended += 1
        return ended == len(mine)

    await eventually(end_a_few, every=0)

    await caller.granted_are(*mine)
    assert caller.ledger.waiting == caller.ledger.load("a") == caller.ledger.load("b") == 0


async def test_after_close_nobody_is_called_back(open_ledger: Open) -> None:
    caller = await open_ledger(endpoint())
    caller.ledger.offer([(A, False)])
    running, waiting = tickets(2)
    caller.acquire(running, waiting)
    await caller.granted_are(running)

    caller.release(running)
    caller.ledger.close()
    caller.withdraw(waiting)

    await caller.granted_are(running)
