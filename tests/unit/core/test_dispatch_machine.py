"""A Dispatcher against a naive model: whatever happens in whichever order, the promises hold.

The model knows nothing of heaps, lines, scores or caches. It looks at everybody every time, and
follows the Dispatcher in one thing only: which of several suitable replicas a ticket has got.
Moments and ages are multiples of 1/4 so that both compute exactly the same order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from activator.core.dispatch import Dispatcher, Ticket, TicketState
from activator.core.endpoint import Balance, Replica

if TYPE_CHECKING:
    from collections.abc import Sequence

REPLICAS = [Replica(f"r{number}", "127.0.0.1", 8000 + number) for number in range(3)]
IDS = [replica.id for replica in REPLICAS]

ages = st.sampled_from([0.0, 0.5, 1.0, 4.0])
limits = st.sampled_from([0, 1, 2, 3, 8])
offers = st.lists(st.tuples(st.sampled_from(REPLICAS), st.booleans()), max_size=4)
exclusions = st.sets(st.sampled_from(IDS), max_size=2).map(tuple)


@dataclass
class Server:
    """What the model knows of a replica."""

    load: int = 0
    offered: bool = True
    window: int | None = None
    due: float = 0.0


@dataclass
class Model:
    concurrency: int
    age: float
    now: float = 0.0
    held: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    waiting: list[Ticket] = field(default_factory=list)
    running: list[Ticket] = field(default_factory=list)
    ended: list[Ticket] = field(default_factory=list)
    submissions: list[Ticket] = field(default_factory=list)
    """By first submission."""

    def effective_urgency(self, ticket: Ticket) -> tuple[float, float, int]:
        bonus = (self.now - ticket.arrived) / self.age if self.age else 0.0
        # without ageing, among the equally urgent, who arrived first
        moment = 0.0 if self.age else ticket.arrived
        return (ticket.urgency - bonus, moment, self.submissions.index(ticket))

    def room(self, id_: str) -> int:
        server = self.servers[id_]
        if self.held or not server.offered:
            return 0
        limit = self.concurrency or 10**9
        return min(limit, server.window or limit) - server.load

    def suitable(self, ticket: Ticket) -> set[str]:
        return {id_ for id_ in self.servers if self.room(id_) > 0 and id_ not in ticket.exclude}

    def in_order(self) -> list[Ticket]:
        return sorted(self.waiting, key=self.effective_urgency)

    def step(self, server: Server, now: float) -> None:
        if server.window is not None:
            server.window *= 2
            server.due = now + 1.0
        self.settle_windows()

    def settle_windows(self) -> None:
        for server in self.servers.values():
            if server.window is not None and server.window >= (self.concurrency or 256):
                server.window = None

    def let_time_pass(self) -> None:
        for server in self.servers.values():
            while server.window is not None and server.due <= self.now:
                self.step(server, server.due)

    def forget(self) -> None:
        self.servers = {i: s for i, s in self.servers.items() if s.offered or s.load}

    def give(self, ticket: Ticket) -> None:
        """`ticket` has got a slot: was it its turn, and was the slot there?"""
        assert ticket.state is TicketState.GRANTED
        assert ticket.replica is not None
        assert ticket.replica.id in self.suitable(ticket)
        self.waiting.remove(ticket)
        self.servers[ticket.replica.id].load += 1
        self.running.append(ticket)

    def take_back(self, ticket: Ticket) -> None:
        assert ticket.replica is not None
        self.servers[ticket.replica.id].load -= 1
        self.running.remove(ticket)
        self.ended.append(ticket)
        self.forget()


class DispatchMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model = Model(concurrency=2, age=1.0)
        self.dispatcher = Dispatcher(
            concurrency=2, age=1.0, balance=Balance.LEAST_LOADED, dice=Random(1).randrange
        )

    def granted(self, tickets: Sequence[Ticket]) -> None:
        """Each grant went to the first in line who could use any slot there was."""
        for ticket in tickets:
            first = next(t for t in self.model.in_order() if self.model.suitable(t))
            assert ticket is first
            self.model.give(ticket)

    def follow_pacing(self) -> None:
        """What a timer at `next_step` would do."""
        while (at := self.dispatcher.next_step) is not None and at <= self.model.now:
            self.granted(self.dispatcher.tick(now=self.model.now))

    # --- what may happen

    @initialize(concurrency=limits, age=ages, balance=st.sampled_from(Balance), offer=offers)
    def begin(
        self,
        concurrency: int,
        age: float,
        balance: Balance,
        offer: list[tuple[Replica, bool]],
    ) -> None:
        self.configure(concurrency=concurrency, age=age, balance=balance)
        self.offer(offer=offer)

    @rule(
        urgency=st.integers(0, 7),
        affinity=st.sampled_from([None, None, b"one", b"two"]),
        exclude=st.just(()) | exclusions,
        passive=st.booleans(),
        before_the_timer=st.sampled_from([0.0, 0.0, 0.25, 1.5]),
    )
    def submit(
        self,
        urgency: int,
        affinity: bytes | None,
        exclude: tuple[str, ...],
        passive: bool,
        before_the_timer: float,
    ) -> None:
        self.model.now += before_the_timer
        self.model.let_time_pass()
        ticket = Ticket(urgency=urgency, affinity=affinity, exclude=exclude, passive=passive)
        self.model.submissions.append(ticket)
        self._submit(ticket)
        assert ticket.arrived == self.model.now

    @precondition(lambda self: self.model.ended)
    @rule(data=st.data(), exclude=exclusions)
    def submit_again(self, data: st.DataObject, exclude: tuple[str, ...]) -> None:
        ticket = data.draw(st.sampled_from(self.model.ended))
        arrived = ticket.arrived
        self.model.ended.remove(ticket)
        if ticket.seq < 0:  # it has never been in line: behind those of its moment that have
            self.model.submissions.remove(ticket)
            self.model.submissions.append(ticket)
        ticket.exclude = exclude
        self._submit(ticket)
        assert ticket.arrived == arrived

    def _submit(self, ticket: Ticket) -> None:
        replica = self.dispatcher.submit(ticket, now=self.model.now)
        in_line = list(self.model.waiting)
        self.model.waiting.append(ticket)
        if replica is not None:
            assert replica is ticket.replica
            # whoever could have used this very slot was there before
            assert all(replica.id in other.exclude for other in in_line)
            self.model.give(ticket)
        else:
            assert ticket.state is TicketState.WAITING
        self.follow_pacing()

    @rule(urgency=st.integers(0, 7))
    def take(self, urgency: int) -> None:
        """The short way: a slot without a question to the line, or nothing happens."""
        ticket = Ticket(urgency=urgency, arrived=self.model.now)
        replica = self.dispatcher.take(ticket)
        if replica is None:
            assert ticket.state is TicketState.NEW
            return
        assert all(replica.id in other.exclude for other in self.model.waiting)
        self.model.submissions.append(ticket)
        self.model.waiting.append(ticket)
        self.model.give(ticket)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """Its counterpart, for whichever slot."""
        ticket = data.draw(st.sampled_from(self.model.running))
        if self.dispatcher.give_back(ticket):
            assert not self.model.waiting
            self.model.take_back(ticket)
            assert not self.dispatcher.give_back(ticket)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data(), withdraw=st.booleans())
    def release(self, data: st.DataObject, withdraw: bool) -> None:
        ticket = data.draw(st.sampled_from(self.model.running))
        self.model.take_back(ticket)
        end = self.dispatcher.withdraw if withdraw else self.dispatcher.release
        self.granted(end(ticket, now=self.model.now))

    @precondition(lambda self: self.model.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.model.waiting))
        self.model.waiting.remove(ticket)
        self.model.ended.append(ticket)
        assert self.dispatcher.withdraw(ticket, now=self.model.now) == ()

    @precondition(lambda self: self.model.ended)
    @rule(data=st.data(), withdraw=st.booleans())
    def end_again(self, data: st.DataObject, withdraw: bool) -> None:
        ticket = data.draw(st.sampled_from(self.model.ended))
        end = self.dispatcher.withdraw if withdraw else self.dispatcher.release
        assert end(ticket, now=self.model.now) == ()

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        ticket = data.draw(st.sampled_from(self.model.running))
        assert ticket.replica is not None
        if not ticket.passive:
            self.model.step(self.model.servers[ticket.replica.id], self.model.now)
        self.granted(self.dispatcher.answered(ticket, now=self.model.now))

    @rule(offer=offers)
    def offer(self, offer: list[tuple[Replica, bool]]) -> None:
        for server in self.model.servers.values():
            server.offered = False
        for replica, paced in offer:
            server = self.model.servers.setdefault(
                replica.id, Server(window=1 if paced else None, due=self.model.now + 1.0)
            )
            server.offered = True
        self.model.forget()
        self.model.settle_windows()
        self.granted(self.dispatcher.offer(offer, now=self.model.now))

    @rule()
    def hold(self) -> None:
        self.model.held = True
        self.dispatcher.hold()

    @rule()
    def resume(self) -> None:
        self.model.held = False
        self.granted(self.dispatcher.resume(now=self.model.now))

    @rule(concurrency=limits, age=ages, balance=st.sampled_from(Balance))
    def configure(self, concurrency: int, age: float, balance: Balance) -> None:
        self.model.concurrency, self.model.age = concurrency, age
        self.model.settle_windows()
        self.granted(
            self.dispatcher.configure(
                concurrency=concurrency, age=age, balance=balance, now=self.model.now
            )
        )

    @rule(quarters=st.integers(1, 10))
    def let_time_pass(self, quarters: int) -> None:
        for _ in range(quarters):
            self.model.now += 0.25
            self.model.let_time_pass()
            self.follow_pacing()

    # --- what must hold after each of them

    @invariant()
    def nobody_waits_while_a_suitable_slot_is_free(self) -> None:
        assert not [t for t in self.model.waiting if self.model.suitable(t)]

    @invariant()
    def every_ticket_is_counted_once(self) -> None:
        model, dispatcher = self.model, self.dispatcher
        assert dispatcher.waiting == len(model.waiting)
        assert dispatcher.in_flight == len(model.running)
        loads = {id_: dispatcher.load(id_) for id_ in IDS}
        assert loads == {id_: model.servers.get(id_, Server()).load for id_ in IDS}
        for state, tickets in (
            (TicketState.WAITING, model.waiting),
            (TicketState.GRANTED, model.running),
            (TicketState.DONE, model.ended),
        ):
            assert all(ticket.state is state for ticket in tickets)

    @invariant()
    def places_are_the_order_of_the_line(self) -> None:
        line = self.model.in_order()
        assert [self.dispatcher.place(ticket) for ticket in line] == [*range(1, len(line) + 1)]
        assert all(self.dispatcher.place(ticket) is None for ticket in self.model.running)

    @invariant()
    def full_is_what_a_newcomer_would_meet(self) -> None:
        self.granted(self.dispatcher.tick(now=self.model.now))
        assert self.dispatcher.full is not any(
            self.model.room(id_) > 0 for id_ in IDS if id_ in self.model.servers
        )

    def teardown(self) -> None:
        """Every ticket ends: with a fresh replica for everybody, all are served in turn."""
        self.resume()
        self.offer([(Replica("fresh", "127.0.0.1", 1), True)])
        for _ in range(len(self.model.submissions) + 1):
            if not self.model.running:
                break
            self.release_first()
        assert not self.model.waiting
        assert self.dispatcher.in_flight == self.dispatcher.waiting == 0
        assert {ticket.state for ticket in self.model.submissions} <= {TicketState.DONE}
        assert not any(self.dispatcher.load(id_) for id_ in IDS)

    def release_first(self) -> None:
        ticket = self.model.running[0]
        self.model.take_back(ticket)
        self.granted(self.dispatcher.release(ticket, now=self.model.now))


DispatchMachine.TestCase.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None
)
TestDispatcher = DispatchMachine.TestCase
