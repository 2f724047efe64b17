"""What `tests/contract` cannot see of the in-memory parts: calls, timers and turns of the loop."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory import BATCH, MemoryBoard, MemoryLease, MemoryLedger
from activator.core.dispatch import Ticket, TicketState
from activator.core.endpoint import Endpoint, Replica, StaticBackend

if TYPE_CHECKING:
    from collections.abc import Callable

A = Replica("a", "127.0.0.1", 8000)
B = Replica("b", "127.0.0.1", 8001)


@dataclass(eq=False)
class Timer:
    at: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class HandLoop:
    """An event loop that is turned by hand."""

    now: float = 100.0
    soon: deque[Callable[[], None]] = field(default_factory=deque)
    timers: list[Timer] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_at(self, at: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(at, callback))
        return self.timers[-1]

    def turn(self) -> None:
        """One turn: what is scheduled now, not what that schedules."""
        for _ in range(len(self.soon)):
            self.soon.popleft()()

    @property
    def armed(self) -> list[Timer]:
        return [timer for timer in self.timers if not timer.cancelled]

    def fire(self) -> None:
        """The one armed timer goes off, as late as it wanted, and nothing else."""
        (timer,) = self.armed
        self.timers.clear()
        self.now = max(self.now, timer.at)
        timer.callback()

    def ledger(self, *, concurrency: int = 1) -> MemoryLedger:
        return MemoryLedger(
            Endpoint("model", StaticBackend(()), concurrency=concurrency),
            clock=self.clock,
            call_soon=self.call_soon,
            call_at=self.call_at,
            dice=lambda _: 0,
        )


@dataclass
class Owner:
    """Remembers what it was told, in order."""

    told: list[tuple[Ticket, Replica]] = field(default_factory=list)

    def __call__(self, ticket: Ticket, replica: Replica) -> None:
        self.told.append((ticket, replica))

    @property
    def tickets(self) -> list[Ticket]:
        return [ticket for ticket, _ in self.told]


def acquired(ledger: MemoryLedger, owner: Owner, count: int) -> list[Ticket]:
    tickets = [Ticket() for _ in range(count)]
    for ticket in tickets:
        ledger.acquire(ticket, owner)
    return tickets


def test_a_request_that_is_served_at_once_leaves_no_trace() -> None:
    loop, owner, ticket = HandLoop(), Owner(), Ticket()
    ledger = loop.ledger()
    ledger.offer([(A, False)])

    assert ledger.acquire(ticket, owner) is A
    ledger.answered(ticket)
    ledger.release(ticket)

    assert not loop.soon
    assert not loop.timers
    assert not owner.told
    assert not ledger._owners


def test_many_grants_of_one_turn_are_delivered_by_one_call() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=10)
    tickets = acquired(ledger, owner, 20)

    ledger.offer([(A, False)])
    ledger.offer([(A, False), (B, False)])

    assert len(loop.soon) == 1
    assert not owner.told
    loop.turn()
    assert owner.told == [(ticket, ticket.replica) for ticket in tickets]
    assert not loop.soon


def test_a_flood_of_grants_is_spread_over_turns_of_the_loop() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=0)
    tickets = acquired(ledger, owner, BATCH + 1)
    ledger.offer([(A, False)])

    loop.turn()
    assert owner.tickets == tickets[:BATCH]
    loop.turn()
    assert owner.tickets == tickets
    assert not loop.soon


def test_a_grant_that_fails_at_once_passes_its_slot_on_without_recursion() -> None:
    loop = HandLoop()
    ledger = loop.ledger()
    tried: list[Ticket] = []
    depth = 0

    def fail(ticket: Ticket, _replica: Replica) -> None:
        nonlocal depth
        depth += 1
        assert depth == 1
        tried.append(ticket)
        ledger.release(ticket)
        depth -= 1

    tickets = [Ticket() for _ in range(3000)]
    for ticket in tickets:
        ledger.acquire(ticket, fail)
    ledger.offer([(A, False)])
    while loop.soon:
        assert len(loop.soon) == 1
        loop.turn()

    assert tried == tickets
    assert ledger.load("a") == 0


def test_an_owner_that_raises_does_not_cost_the_others_their_grant() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=2)

    def broken(_ticket: Ticket, _replica: Replica) -> None:
        raise RuntimeError("a bug of the owner's")

    ledger.acquire(Ticket(), broken)
    (second,) = acquired(ledger, owner, 1)
    ledger.offer([(A, False)])

    with pytest.raises(RuntimeError):
        loop.turn()
    loop.turn()

    assert owner.tickets == [second]


@pytest.mark.parametrize("way_out", [MemoryLedger.withdraw, MemoryLedger.release])
def test_leaving_while_the_grant_is_on_its_way_passes_the_slot_on(
    way_out: Callable[[MemoryLedger, Ticket], None],
) -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger()
    leaving, staying = acquired(ledger, owner, 2)
    ledger.offer([(A, False)])
    assert leaving.state is TicketState.GRANTED

    way_out(ledger, leaving)
    loop.turn()
    loop.turn()

    assert owner.tickets == [staying]
    assert ledger.load("a") == 1


@pytest.mark.parametrize("way_out", [MemoryLedger.withdraw, MemoryLedger.release])
def test_what_is_given_back_before_anybody_is_told_leaves_no_trace(
    way_out: Callable[[MemoryLedger, Ticket], None],
) -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger()
    (leaving,) = acquired(ledger, owner, 1)
    ledger.offer([(A, False)])

    way_out(ledger, leaving)
    assert not ledger._owners
    loop.turn()

    assert not owner.told
    assert ledger.load("a") == 0


def test_a_ticket_that_left_and_came_back_hears_only_of_its_new_grant() -> None:
    loop, before, after, owner = HandLoop(), Owner(), Owner(), Owner()
    ledger = loop.ledger()
    ticket = Ticket(urgency=5)
    ledger.acquire(ticket, before)
    ledger.offer([(A, False)])
    (other,) = acquired(ledger, owner, 1)

    ledger.withdraw(ticket)
    ledger.acquire(ticket, after)
    loop.turn()
    assert (before.told, after.told, owner.tickets) == ([], [], [other])

    ledger.release(other)
    loop.turn()
    assert (before.told, after.told) == ([], [(ticket, A)])


def test_a_silent_replica_that_was_just_started_gets_more_each_second() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=4)
    acquired(ledger, owner, 6)

    ledger.offer([(A, True)])
    loop.turn()
    assert (len(owner.told), [timer.at for timer in loop.armed]) == (1, [101.0])
    loop.fire()
    loop.turn()
    assert (len(owner.told), [timer.at for timer in loop.armed]) == (2, [102.0])
    loop.fire()
    loop.turn()
    assert (len(owner.told), loop.armed) == (4, [])


def test_a_timer_that_fires_a_hair_early_still_takes_its_step() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=4)
    acquired(ledger, owner, 6)
    ledger.offer([(A, True)])
    (timer,) = loop.armed

    loop.now = 100.9996
    timer.callback()

    assert ledger.load("a") == 2
    assert [timer.at for timer in loop.armed if timer.at > 101.0] == [102.0]


def test_the_timer_of_the_pacing_goes_when_nobody_waits_for_it() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=4)
    running, waiting = acquired(ledger, owner, 2)
    ledger.offer([(A, True)])
    assert len(loop.armed) == 1

    ledger.withdraw(waiting)
    assert not loop.armed

    acquired(ledger, owner, 1)
    assert len(loop.armed) == 1
    ledger.hold()
    assert not loop.armed
    ledger.resume()
    assert len(loop.armed) == 1
    ledger.answered(running)
    assert not loop.armed


def test_full_knows_of_the_slot_that_time_has_opened() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=4)
    ledger.offer([(A, True)])
    acquired(ledger, owner, 1)
    assert ledger.full

    loop.now += 1.0

    assert not ledger.full


def test_a_closed_ledger_is_silent() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=4)
    told, *_ = acquired(ledger, owner, 6)
    ledger.offer([(A, True)])

    ledger.close()
    ledger.release(told)
    ledger.resume()
    ledger.offer([(A, False), (B, False)])
    late = Ticket()
    assert ledger.acquire(late, owner) is None
    loop.turn()

    assert not owner.told
    assert not loop.armed
    assert not loop.soon
    ledger.withdraw(late)
    assert late.state is TicketState.DONE


def test_an_owner_may_close_the_ledger() -> None:
    loop, owner = HandLoop(), Owner()
    ledger = loop.ledger(concurrency=4)
    ledger.acquire(Ticket(), lambda _ticket, _replica: ledger.close())
    acquired(ledger, owner, 3)
    ledger.offer([(A, False)])

    loop.turn()

    assert not owner.told
    assert not loop.soon


async def test_without_a_member_there_is_no_demand_and_everybody_is_quiet() -> None:
    board = MemoryBoard()

    assert board.demand("model") == 0
    assert board.last_ended("model") == float("-inf")
    assert await board.ask_quiet("model")
    board.revive("model")
    board.leave("model")


def test_a_single_activator_always_leads() -> None:
    assert MemoryLease().leading
