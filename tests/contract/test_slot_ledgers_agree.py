"""The ledger in memory and the one in Redis decide alike, whatever is done to them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from activator.coordination.memory import MemoryLedger
from activator.core.dispatch import Ticket, TicketState
from activator.core.endpoint import Balance, Endpoint, QueuePolicy, Replica, StaticBackend
from tests.ledgers import activators, settled
from tests.redis_server import executable, fresh_prefix, shared_server

if TYPE_CHECKING:
    from activator.coordination.base import SlotLedger

REPLICAS = [Replica(name, "127.0.0.1", port) for port, name in enumerate("abc", start=8000)]
Step: TypeAlias = "tuple[str, int, int]"

models = st.builds(
    lambda concurrency, age, balance: Endpoint(
        "m",
        StaticBackend(()),
        concurrency=concurrency,
        queue=QueuePolicy(age=age),
        balance=balance,
    ),
    concurrency=st.integers(1, 3),
    age=st.sampled_from([0.0, 10.0]),
    balance=st.sampled_from(list(Balance)),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("acquire"), st.integers(0, 7), st.integers(0, 3)),
        st.tuples(st.just("leave"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("again"), st.integers(0, 30), st.just(0)),
        st.tuples(st.just("offer"), st.integers(0, 7), st.just(0)),
        st.tuples(st.just("limit"), st.integers(1, 4), st.just(0)),
        st.tuples(st.sampled_from(["hold", "resume"]), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@dataclass
class Side:
    """One ledger and its tickets, each known by its number on both sides."""

    ledger: SlotLedger
    model: Endpoint
    tickets: list[Ticket] = field(default_factory=list)
    told: list[tuple[int, str]] = field(default_factory=list)

    def take(self, step: Step, *, now: float) -> None:
        match step:
            case ("acquire", urgency, liking):
                affinity = None if not liking else b"%d" % liking
                ticket = Ticket(urgency=urgency, affinity=affinity, arrived=now)
                self.tickets.append(ticket)
                self._acquire(ticket)
            case ("leave", which, _) if self.tickets:
                self.ledger.release(self.tickets[which % len(self.tickets)])
            case ("again", which, _) if self.tickets:
                ticket = self.tickets[which % len(self.tickets)]
                if ticket.state is TicketState.GRANTED and ticket.replica is not None:
                    self.ledger.release(ticket)
                    ticket.exclude = (*ticket.exclude, ticket.replica.id)
                    self._acquire(ticket)
            case ("offer", chosen, _):
                some = [each for at, each in enumerate(REPLICAS) if chosen >> at & 1]
                self.ledger.offer([(each, False) for each in some])
            case ("limit", limit, _):
                self.model = replace(self.model, concurrency=limit)
                self.ledger.configure(self.model)
            case ("hold", _, _):
                self.ledger.hold()
            case ("resume", _, _):
                self.ledger.resume()

    def _acquire(self, ticket: Ticket) -> None:
        here = self.ledger.acquire(ticket, self._granted)
        if here is not None:  # after those who were granted theirs before, and hear of it later
            asyncio.get_running_loop().call_soon(self._granted, ticket, here)

    def _granted(self, ticket: Ticket, replica: Replica) -> None:
        number = next(at for at, each in enumerate(self.tickets) if each is ticket)
        self.told.append((number, replica.id))

    @property
    def state(self) -> list[str]:
        return [
            f"{ticket.state.name} {ticket.replica.id if ticket.replica else ''}"
            if ticket.state is TicketState.GRANTED
            else ticket.state.name
            for ticket in self.tickets
        ]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
@given(model=models, course=steps)
@example(
    model=Endpoint("m", StaticBackend(()), concurrency=1),
    course=[("acquire", 0, 1), ("offer", 0b101, 0)],
)
@example(  # a replica that is gone is another when it comes back
    model=Endpoint("m", StaticBackend(()), concurrency=1, balance=Balance.LEAST_LOADED),
    course=[
        *(("acquire", 0, 0), ("offer", 0b001, 0), ("offer", 0, 0), ("leave", 0, 0)),
        *(("acquire", 0, 0), ("offer", 0b011, 0)),
    ],
)
@example(  # the mean that bounds what one replica gets is over all that are offered
    model=Endpoint("m", StaticBackend(()), concurrency=2, balance=Balance.PREFIX_HASH),
    course=[("offer", 0b111, 0), ("acquire", 1, 1), ("acquire", 3, 0), ("again", 0, 0)],
)
def test_both_grant_the_same_tickets_the_same_replicas(model: Endpoint, course: list[Step]) -> None:
    executable()
    asyncio.run(play(model, course))


async def play(model: Endpoint, course: list[Step]) -> None:
    loop = asyncio.get_running_loop()
    async with activators(shared_server().url, prefix=fresh_prefix()) as (one,):
        memory = MemoryLedger(
            model,
            clock=loop.time,
            call_soon=loop.call_soon,
            call_at=loop.call_at,
            dice=Random(1).randrange,
        )
        here, there = Side(memory, model), Side(one.ledgers.make(model), model)
        await settled(there.ledger)
        begin = loop.time()
        for number, step in enumerate(course):
            for side in (here, there):
                side.told.clear()
                side.take(step, now=begin + number * 0.001)
            await settled(there.ledger)
            for _ in range(3):
                await asyncio.sleep(0)
            assert here.state == there.state, f"after {course[: number + 1]}"
            assert here.told == there.told, f"after {course[: number + 1]}"
        memory.close()
