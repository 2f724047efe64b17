"""The line of tickets and the free slots of one endpoint; to assign is to reserve.

Decides which request may go now, in order (`core.line`), never beyond a replica's limit and its
window after a start (`core.slots`), at the replica that the policy picks (`core.balancing`).
Leaves to others who may stand in line at all, how long, and how the news reaches a ticket's owner.

After every call nobody waits who could have a slot: so a newcomer that finds a suitable free slot
overtakes nobody. Only what time opens (`next_step`) waits for `tick`.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Final

from activator.core.balancing import choose
from activator.core.line import Line, Ticket, TicketState
from activator.core.slots import ReplicaSlots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from activator.core.balancing import Dice
    from activator.core.endpoint import Balance, Replica

__all__ = ["Dispatcher", "Ticket", "TicketState"]

_WAITING: Final = TicketState.WAITING
_GRANTED: Final = TicketState.GRANTED
_DONE: Final = TicketState.DONE
_NEW: Final = TicketState.NEW
_NOBODY: Final[tuple[Ticket, ...]] = ()
_ANYWHERE: Final[tuple[str, ...]] = ()
"""The line of those that exclude no replica."""

# process-wide: a ticket may move on to another endpoint's line, and no two may ever tie
_submissions: Final = count()


class Dispatcher:
    """One endpoint's line and slots. Not thread-safe; every method is synchronous.

    Methods that can open a slot return the tickets granted by it, in order, each with `replica`
    set and the slot already reserved; the caller owns delivering the news.

    Costs, with n waiting and r replicas: a grant is O(r + log n), leaving O(1) amortised. Tickets
    are lined up by what they exclude, so one that fits no free replica costs nothing to those
    behind it; each distinct `exclude` among the waiting adds O(r) to a grant, and there are as many
    as replicas have failed lately.
    """

    __slots__ = (
        "_age", "_balance", "_concurrency", "_dice", "_held", "_known", "_lines", "_offered",
        "_turn", "only", "paced", "waiting",
    )  # fmt: skip

    def __init__(self, *, concurrency: int, age: float, balance: Balance, dice: Dice) -> None:
        """`concurrency`: requests in flight at one replica, 0 = no limit. `age`: seconds of
        waiting that are worth one level of urgency, 0 = none are."""
        self._concurrency = concurrency
        self._age = age
        self._balance = balance
        self._dice = dice
        self._held = False
        self._lines: dict[tuple[str, ...], Line] = {}
        """By (sorted) exclude; none is empty."""
        self._known: dict[str, ReplicaSlots] = {}
        """Offered, or still busy with what they got before."""
        self._offered: tuple[ReplicaSlots, ...] = ()
        self.only: ReplicaSlots | None = None
        """The one replica there is to choose from, unless the line is held."""
        self.paced: tuple[ReplicaSlots, ...] = ()
        """Those that have just been started: first bytes open slots at them."""
        self._turn = 0
        self.waiting = 0
        """Tickets in line."""

    # --- tickets

    def submit(self, ticket: Ticket, *, now: float) -> Replica | None:
        """A replica at once, its slot reserved, or None: the ticket waits.

        Raises ValueError if the ticket waits or has a slot already.
        """
        state = ticket.state
        if state is _WAITING or state is _GRANTED:
            raise ValueError(f"a ticket that is {state.name} cannot be submitted")
        if ticket.seq < 0:
            ticket.seq = next(_submissions)
            if ticket.arrived < 0:
                ticket.arrived = now
        slots = self.only
        if slots is None or ticket.exclude or slots.in_flight >= slots.limit:
            if self.paced and not self.waiting:
                # with somebody in line it is tick's turn: this call could not tell of its grants
                self._catch_up(now)
            slots = None if self._held else self._slots_for(ticket)
            if slots is None:
                self._line_up(ticket)
                return None
        # as `_reserve` does, without the price of a call for each request
        ticket.state = _GRANTED
        replica = ticket.replica = slots.replica
        slots.in_flight += 1
        self._turn = slots.turn = self._turn + 1
        return replica

    def take(self, ticket: Ticket) -> Replica | None:
        """`submit` of a ticket that excludes nobody, where there is one replica and it has room;
        None: it takes more to say. Raises as that does. Whose turn it is means nothing there; its
        `seq` is left to the first `submit`."""
        slots = self.only
        if slots is None or slots.in_flight >= slots.limit:
            return None
        state = ticket.state
        if state is not _DONE and state is not _NEW:
            raise ValueError(f"a ticket that is {state.name} cannot be submitted")
        ticket.state = _GRANTED
        replica = ticket.replica = slots.replica
        slots.in_flight += 1
        return replica

    def give_back(self, ticket: Ticket) -> bool:
        """`release` of a slot for which nobody waits; False: it takes more to do."""
        if self.waiting or ticket.state is not _GRANTED:
            return False
        replica, slots = ticket.replica, self.only
        assert replica is not None
        if slots is None or slots.replica is not replica:
            slots = self._known[replica.id]
            if not slots.offered:
                return False
        if slots.heir is not None:
            return False
        ticket.state = _DONE
        slots.in_flight -= 1
        return True

    def adopt(self, ticket: Ticket, *, now: float) -> None:
        """It has been given a slot at `ticket.replica` by somebody else, which counts here from
        now on, be it beyond the limit. Raises ValueError if it has none."""
        if ticket.state is not _GRANTED or ticket.replica is None:
            raise ValueError("a ticket without a slot cannot be adopted")
        slots = self._known.get(ticket.replica.id)
        if slots is None:
            slots = ReplicaSlots(
                ticket.replica, concurrency=self._concurrency, paced=False, now=now
            )
            slots.offered = False
            self._known[slots.id] = slots
        self._reserve(ticket, slots)

    def withdraw(self, ticket: Ticket, *, now: float) -> Sequence[Ticket]:
        """Leave the line or, with a slot, give it back. Otherwise nothing happens."""
        if ticket.state is not _WAITING:
            return self.release(ticket, now=now) if ticket.state is _GRANTED else _NOBODY
        ticket.state = _DONE
        self._leave_line(ticket)
        return _NOBODY

    def release(self, ticket: Ticket, *, now: float) -> Sequence[Ticket]:
        """Give the slot back; the next in line gets it. A ticket that still waits leaves."""
        if ticket.state is not _GRANTED:
            return self.withdraw(ticket, now=now) if ticket.state is _WAITING else _NOBODY
        assert ticket.replica is not None
        ticket.state = _DONE
        slots: ReplicaSlots | None = self._known[ticket.replica.id]
        while slots is not None:
            slots.in_flight -= 1
            if not slots.offered and not slots.in_flight:
                self._forget(slots)
            slots = slots.heir
        return self._settle(now) if self.waiting else _NOBODY

    def answered(self, ticket: Ticket, *, now: float) -> Sequence[Ticket]:
        """The first byte of its response has come; to be called once a grant.

        A passive ticket is no step of the pacing: a replica that answers a health check has not
        shown that its model does.
        """
        if not self.paced or ticket.state is not _GRANTED or ticket.passive:
            return _NOBODY
        assert ticket.replica is not None
        slots = self._known[ticket.replica.id]
        if slots.window:
            slots.catch_up(concurrency=self._concurrency, now=now)
        if slots.window:
            slots.widen(concurrency=self._concurrency, now=now)
        return self._settle(now)

    def place(self, ticket: Ticket) -> int | None:
        """1 = next; None if it does not wait. O(n)."""
        entry = ticket.entry
        if ticket.state is not _WAITING or entry is None:
            return None
        return 1 + sum(line.ahead_of(entry) for line in self._lines.values())

    # --- replicas

    def offer(self, replicas: Iterable[tuple[Replica, bool]], *, now: float) -> Sequence[Ticket]:
        """The replicas that may get something new, whole, in order of preference.

        True: it has just been started. That counts when its id is not known; offering it again
        neither restarts nor ends its pacing. A replica that is missing gets nothing new; it is
        forgotten once nothing of it is in flight.
        """
        for slots in self._offered:
            slots.offered = False
        offered: dict[str, ReplicaSlots] = {}
        for replica, paced in replicas:
            known = offered.get(replica.id) or self._known.get(replica.id)
            if known is None:
                known = ReplicaSlots(replica, concurrency=self._concurrency, paced=paced, now=now)
                if replica.before in self._known:
                    self._succeed(self._known[replica.before], known, now=now)
            known.offered = True
            offered[replica.id] = known
        busy = {slots.id: slots for slots in self._known.values() if slots.in_flight}
        self._known = busy | offered
        self._offered = tuple(offered.values())
        self.paced = tuple(slots for slots in self._known.values() if slots.window)
        self._find_only()
        return self._settle(now)

    def load(self, replica_id: str) -> int:
        """Requests in flight at a replica."""
        slots = self._known.get(replica_id)
        return 0 if slots is None else slots.in_flight

    @property
    def loads(self) -> dict[str, int]:
        """Requests in flight at all replicas that have any, those `before` included."""
        return {slots.id: slots.in_flight for slots in self._known.values() if slots.in_flight}

    @property
    def in_flight(self) -> int:
        """Tickets with a slot, passive ones too."""
        return sum(slots.in_flight for slots in self._known.values() if slots.heir is None)

    @property
    def full(self) -> bool:
        """A ticket submitted now would wait (as of the latest call that was told the time)."""
        return self._held or not any(slots.is_free for slots in self._offered)

    # --- the whole endpoint

    def hold(self) -> None:
        """Grant nothing until `resume`; what is in flight goes on."""
        self._held = True
        self.only = None

    def resume(self, *, now: float) -> Sequence[Ticket]:
        self._held = False
        self._find_only()
        return self._settle(now)

    def tick(self, *, now: float) -> Sequence[Ticket]:
        """Take the steps of the pacing that time has brought."""
        return self._settle(now) if self.paced else _NOBODY

    @property
    def next_step(self) -> float | None:
        """When `tick` is wanted: somebody waits, and a paced replica has reached its window."""
        if not self.paced or not self.waiting or self._held:
            return None
        due = (s.next_step for s in self.paced if s.offered and not s.is_free)
        return min(due, default=None)

    def configure(
        self, *, concurrency: int, age: float, balance: Balance, now: float
    ) -> Sequence[Ticket]:
        """Other limits. What is in flight beyond a lowered one is not broken off; there is
        nothing new until it is below. A replica that is no longer paced stays so."""
        self._balance = balance
        if self.paced:
            self._catch_up(now)
        self._concurrency = concurrency
        for slots in self._known.values():
            slots.resize(concurrency)
        if age != self._age:
            self._age = age
            for line in self._lines.values():
                line.resort(age=age)
        return self._settle(now)

    # --- inside

    def _settle(self, now: float) -> Sequence[Ticket]:
        """Grant until nobody waits who could have a slot."""
        if self.paced:
            self._catch_up(now)
        if not self.waiting or self._held:
            return _NOBODY
        only = self.only
        if only is not None:
            if only.in_flight >= only.limit:
                return _NOBODY  # the line need not be asked
            if len(self._lines) == 1 and _ANYWHERE in self._lines:
                return self._grant_at(only, self._lines[_ANYWHERE])
        granted: list[Ticket] = []
        while self.waiting and not (only is not None and only.in_flight >= only.limit):
            ticket = self._grant_next()
            if ticket is None:
                break
            granted.append(ticket)
        return granted or _NOBODY

    def _grant_at(self, only: ReplicaSlots, line: Line) -> Sequence[Ticket]:
        """`_grant_next` until nothing is free, where there is one line, for one replica: what is
        held mostly waits so."""
        granted: list[Ticket] = []
        while self.waiting and only.in_flight < only.limit:
            ticket = line.take()
            self.waiting -= 1
            self._reserve(ticket, only)
            granted.append(ticket)
        if not line:
            del self._lines[_ANYWHERE]
        return granted

    def _grant_next(self) -> Ticket | None:
        """The first ticket for which there is a slot; several lines compete by their heads. If
        there is only one replica, it has a slot."""
        lines: Iterable[Line] = self._lines.values()
        if len(self._lines) > 1:
            lines = sorted(lines, key=lambda line: line.head)
        for line in lines:
            ticket = line.head[3]
            slots = self.only
            if slots is None or ticket.exclude:
                slots = self._slots_for(ticket)
            if slots is not None:
                self._leave_line(ticket)
                self._reserve(ticket, slots)
                return ticket
        return None

    def _slots_for(self, ticket: Ticket) -> ReplicaSlots | None:
        return choose(
            self._offered,
            balance=self._balance,
            dice=self._dice,
            affinity=ticket.affinity,
            exclude=ticket.exclude,
        )

    def _reserve(self, ticket: Ticket, slots: ReplicaSlots) -> None:
        ticket.state = _GRANTED
        ticket.replica = slots.replica
        slots.in_flight += 1
        self._turn = slots.turn = self._turn + 1

    def _line_up(self, ticket: Ticket) -> None:
        ticket.state = _WAITING
        ticket.replica = None
        excluded = _line_of(ticket)
        line = self._lines.get(excluded)
        if line is None:
            line = self._lines[excluded] = Line()
        line.enter(ticket, age=self._age)
        self.waiting += 1

    def _leave_line(self, ticket: Ticket) -> None:
        excluded = _line_of(ticket)
        line = self._lines[excluded]
        line.leave(ticket)
        if not line:
            del self._lines[excluded]
        self.waiting -= 1

    def _catch_up(self, now: float) -> None:
        for slots in self.paced:
            slots.catch_up(concurrency=self._concurrency, now=now)
        if not all(slots.window for slots in self.paced):
            self.paced = tuple(slots for slots in self.paced if slots.window)

    def _succeed(self, slots: ReplicaSlots, heir: ReplicaSlots, *, now: float) -> None:
        """It is back: what it still has counts, and its pacing goes on from there."""
        if slots.in_flight:
            slots.heir = heir
            heir.in_flight = slots.in_flight
            while heir.window and not heir.is_free:
                heir.widen(concurrency=self._concurrency, now=now)

    def _forget(self, slots: ReplicaSlots) -> None:
        del self._known[slots.id]
        if slots.window:
            self.paced = tuple(other for other in self.paced if other is not slots)

    def _find_only(self) -> None:
        self.only = self._offered[0] if len(self._offered) == 1 and not self._held else None


def _line_of(ticket: Ticket) -> tuple[str, ...]:
    exclude = ticket.exclude
    return exclude if len(exclude) < 2 else tuple(sorted(exclude))
