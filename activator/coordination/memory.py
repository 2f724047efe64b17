"""What activators share, when there is only one: slots, demand and leadership within a process.

Decides nothing: the ledger tells `core.dispatch` the time and carries its grants to the tickets'
owners, the board passes questions on to the one member, and the lease always leads.
"""

from __future__ import annotations

import os
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from activator.coordination.base import Share
from activator.coordination.ledger_entry import shared_id
from activator.core.dispatch import Dispatcher, Ticket, TicketState
from activator.core.duty import Duty

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from activator.coordination.base import Decided, Granted, Member
    from activator.core.balancing import Dice
    from activator.core.endpoint import Endpoint, Replica

NOTHING: Final = Share()
BATCH: Final = 64
"""Grants delivered in one turn of the loop: each makes its owner connect and write, and thousands
in a row would keep every other connection waiting."""


class Cancellable(Protocol):
    def cancel(self) -> object: ...


class MemoryLedger:
    """`SlotLedger` of one endpoint over a Dispatcher; see `coordination.base` for its promises.

    `clock`, `call_soon` and `call_at` are an event loop's (`time`, `call_soon`, `call_at`).
    Owners that wait cost one dictionary entry; those served at once cost none.
    """

    __slots__ = (
        "_call_at", "_call_soon", "_clock", "_closed", "_delivering", "_dispatcher", "_on_the_way",
        "_owners", "_timer", "_timer_at", "usual",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        clock: Callable[[], float],
        call_soon: Callable[..., object],
        call_at: Callable[[float, Callable[[], None]], Cancellable],
        dice: Dice,
    ) -> None:
        self._dispatcher = Dispatcher(
            concurrency=endpoint.concurrency,
            age=endpoint.queue.age,
            balance=endpoint.balance,
            dice=dice,
        )
        self._clock = clock
        self._call_soon = call_soon
        self._call_at = call_at
        self._owners: dict[Ticket, Granted] = {}
        """Of tickets that wait or whose grant is on its way, but for those of `usual`."""
        self.usual: Granted | None = None
        """An owner of tickets for whom no entry each is needed. It may be told twice of one that it
        gives back before it is told."""
        self._on_the_way: deque[Ticket] = deque()
        self._delivering = False
        """A `_deliver` is due or running."""
        self._timer: Cancellable | None = None
        self._timer_at: float | None = None
        self._closed = False

    # --- tickets

    def acquire(self, ticket: Ticket, granted: Granted) -> Replica | None:
        replica = self._dispatcher.submit(ticket, now=self._clock())
        if replica is not None and self._on_the_way:
            # others were granted before it and have not been told yet: it is told after them
            self._own(ticket, granted)
            self._on_the_way.append(ticket)
            return None
        if replica is None and not self._closed:
            self._own(ticket, granted)
            self._follow_pacing()
        return replica

    def _own(self, ticket: Ticket, owner: Granted) -> None:
        if owner is not self.usual:
            self._owners[ticket] = owner

    def acquire_now(self, ticket: Ticket, decided: Decided) -> Replica | None:
        if self._delivering and self._on_the_way:
            return None
        dispatcher = self._dispatcher
        if not ticket.exclude:
            replica = dispatcher.take(ticket)
            if replica is not None:
                return replica
        if self.full:
            return None
        replica = dispatcher.submit(ticket, now=self._clock())
        if replica is None:  # what is free is not for this ticket
            self._spread(dispatcher.withdraw(ticket, now=self._clock()))
        return replica

    def adopt(self, ticket: Ticket) -> None:
        """It has a slot already, which another ledger gave it."""
        self._dispatcher.adopt(ticket, now=self._clock())

    def withdraw(self, ticket: Ticket) -> None:
        if self._owners:
            self._owners.pop(ticket, None)
        granted = self._dispatcher.withdraw(ticket, now=self._clock())
        if granted or self._timer is not None:
            self._spread(granted)

    def release(self, ticket: Ticket) -> None:
        if self._timer is None and not self._delivering and self._dispatcher.give_back(ticket):
            return  # nobody waits nor is to be told: no ticket has an owner
        # given back before its owner was told: what is on the way must not arrive any more
        self._owners.pop(ticket, None)
        granted = self._dispatcher.release(ticket, now=self._clock())
        if granted or self._timer is not None:
            self._spread(granted)

    def answered(self, ticket: Ticket) -> None:
        if self._dispatcher.paced:
            self._spread(self._dispatcher.answered(ticket, now=self._clock()))

    def place(self, ticket: Ticket) -> int | None:
        return self._dispatcher.place(ticket)

    # --- replicas and limits

    def offer(self, replicas: Sequence[tuple[Replica, bool]]) -> None:
        self._spread(self._dispatcher.offer(replicas, now=self._clock()))

    def configure(self, endpoint: Endpoint) -> None:
        self._spread(
            self._dispatcher.configure(
                concurrency=endpoint.concurrency,
                age=endpoint.queue.age,
                balance=endpoint.balance,
                now=self._clock(),
            )
        )

    def hold(self) -> None:
        self._dispatcher.hold()
        self._follow_pacing()

    def resume(self) -> None:
        if not self._closed:
            self._spread(self._dispatcher.resume(now=self._clock()))

    @property
    def waiting(self) -> int:
        return self._dispatcher.waiting

    @property
    def full(self) -> bool:
        if not self._dispatcher.full:
            return False
        # with nobody in line no timer runs, and time may have opened a slot since
        self._spread(self._dispatcher.tick(now=self._clock()))
        return self._dispatcher.full

    def load(self, replica_id: str) -> int:
        return self._dispatcher.load(replica_id)

    @property
    def loads(self) -> Mapping[str, int]:
        loads: dict[str, int] = {}
        for each, count in self._dispatcher.loads.items():
            name = shared_id(each)  # of one back in rotation: what it had before is counted in
            loads[name] = max(count, loads.get(name, 0))
        return loads

    def close(self) -> None:
        self._closed = True
        self._dispatcher.hold()
        self._follow_pacing()
        self._owners.clear()
        self._on_the_way.clear()
        self.usual = None  # it has us: both are to be freed at once

    # --- inside

    def _spread(self, granted: Sequence[Ticket]) -> None:
        if granted:
            self._on_the_way.extend(granted)
            if not self._delivering:
                self._delivering = True
                self._call_soon(self._deliver)
        if self._timer is not None or self._dispatcher.paced:
            self._follow_pacing()

    def _deliver(self) -> None:
        """Tell the owners. Whatever they do here (fail, release, acquire) only adds to the deque,
        and one that raises does not cost the others their grant."""
        try:
            for _ in range(min(len(self._on_the_way), BATCH)):
                if not self._on_the_way:
                    break  # closed by an owner
                self._tell(self._on_the_way.popleft())
        finally:
            self._delivering = bool(self._on_the_way)
            if self._delivering:
                self._call_soon(self._deliver)

    def _tell(self, ticket: Ticket) -> None:
        # a ticket that was withdrawn and acquired anew may wait again, or have been told already
        if ticket.state is TicketState.GRANTED and ticket.replica is not None:
            owner = self._owners.pop(ticket, None) or self.usual
            if owner is not None:
                owner(ticket, ticket.replica)

    def _follow_pacing(self) -> None:
        """Keep one timer at the dispatcher's next step, and none without one."""
        at = self._dispatcher.next_step
        if at == self._timer_at:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = None if at is None else self._call_at(at, self._tick)

    def _tick(self) -> None:
        at = self._timer_at
        self._timer = self._timer_at = None
        if at is not None:
            # loops may fire a hair early; without the step this would spin
            self._spread(self._dispatcher.tick(now=max(at, self._clock())))


class MemoryBoard:
    """`DemandBoard` of a single activator: what its one member says is what there is."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}

    def join(self, endpoint: str, member: Member) -> None:
        self._members[endpoint] = member

    def leave(self, endpoint: str) -> None:
        self._members.pop(endpoint, None)

    def demand(self, endpoint: str) -> int:
        member = self._members.get(endpoint)
        return 0 if member is None else member.demand

    def last_ended(self, endpoint: str) -> float:
        """Minus infinity while nobody has joined."""
        member = self._members.get(endpoint)
        return -inf if member is None else member.last_ended

    def elsewhere(self, endpoint: str) -> Share:
        return NOTHING

    def unsure_until(self, endpoint: str) -> float:
        return -inf

    async def ask_quiet(
        self, endpoint: str, replicas: Sequence[str] | None = None, *, fence: str = ""
    ) -> bool:
        member = self._members.get(endpoint)
        return member is None or replicas is not None or member.quiesce()

    async def agree(self, endpoint: str) -> bool:
        return True

    def conclude(self, endpoint: str, *, ordered: bool) -> None:
        self.revive(endpoint)

    def revive(self, endpoint: str) -> None:
        member = self._members.get(endpoint)
        if member is not None:
            member.revive()

    def saw(self, endpoint: str, *, fence: str, empty: bool) -> None:
        """Its word is only ever given to itself."""


class MemoryLease:
    """`Lease` where nobody else could lead."""

    term = 1
    duty = Duty.SERVES

    @property
    def leading(self) -> bool:
        return True

    def on_change(self, told: Callable[[], None]) -> Callable[[], None]:
        return _nothing


class MemoryRoster:
    """`Roster` of the only activator there is."""

    def __init__(self, me: str = "") -> None:
        self.me = me or os.urandom(8).hex()
        self.members = frozenset((self.me,))
        self.unknown: frozenset[str] = frozenset()

    def silent_since(self, act: str) -> float | None:
        return None

    def is_gone(self, act: str) -> bool:
        return act != self.me

    def on_joined(self, told: Callable[[str], None]) -> None:
        """Nobody ever does; so with the others."""

    def on_silent(self, told: Callable[[str], None]) -> None: ...

    def on_left(self, told: Callable[[str], None]) -> None: ...

    def on_forgotten(self, told: Callable[[], None]) -> None: ...


def _nothing() -> None:
    return
