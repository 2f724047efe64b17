"""Who is next: the ticket of a request, and lines of tickets in the order they are to be served.

Decides the order and nothing else. Who may stand in which line, and which replica a ticket gets,
is `core.dispatch`'s business.

The order is by a score that is fixed when a ticket enters: `arrived + urgency * age`. Waiting `age`
seconds thus improves a request by exactly one level of urgency against whoever comes later,
continuously, and yet nothing in line ever has to be sorted again: a queue and a heap hold it here,
a store's sorted set can hold it elsewhere. With `age` 0 waiting improves nothing: strictly urgency,
then arrival. Ties go to the ticket that was submitted first.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from heapq import heapify, heappop, heappush
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from activator.core.endpoint import Replica

Entry: TypeAlias = "tuple[int, float, int, Ticket]"
"""(level, score, seq, ticket): level is the urgency where it is strict, otherwise 0."""

SPARE: Final = 32
"""Entries of tickets that have left may outnumber the live ones by so many before they are swept
out: small enough to cost nothing, large enough that a short line is not swept at every leave."""


class TicketState(IntEnum):
    NEW = 0
    WAITING = 1
    GRANTED = 2
    DONE = 3


@dataclass(slots=True, eq=False)
class Ticket:
    """One request's claim to a slot. Compared and hashed by identity.

    The first five are the caller's and must not change while the ticket waits; the rest belongs to
    the dispatcher. Once DONE it may be submitted again (a retry, with a longer `exclude`) and takes
    the place it would have had.
    """

    urgency: int = 3
    """RFC 9218, 0..7; the smaller goes first."""
    affinity: bytes | None = None
    """Requests with the same bytes like to meet the same replica."""
    passive: bool = False
    """Not demand (`neverWake`): takes a slot, but its caller never lets it wait."""
    exclude: tuple[str, ...] = ()
    """Ids of replicas that it must not meet (again)."""
    arrived: float = -1.0
    """Monotonic seconds; set at the first submit unless the caller knows better."""

    state: TicketState = field(default=TicketState.NEW, init=False)
    replica: Replica | None = field(default=None, init=False)
    """Where its slot is, or was until it is submitted again."""
    seq: int = field(default=-1, init=False)
    """Order of the first submit over all tickets of this process."""
    entry: Entry | None = field(default=None, init=False, repr=False)
    """Its present entry in a line; every other entry that names this ticket is void."""


class Line:
    """Tickets that may all go to the same replicas, first one first.

    Most come in the order they are to go in: for them entering, and taking the first, is O(1). For
    the others it is O(log n). Leaving is O(1) amortised: the entry stays behind, void, until it
    comes to the front or voids are the majority.
    """

    __slots__ = ("_heap", "_live", "_run")

    def __init__(self) -> None:
        self._run: deque[Entry] = deque()
        """In order: each came behind all that were in it."""
        self._heap: list[Entry] = []
        """The others."""
        self._live = 0

    def __len__(self) -> int:
        return self._live

    def enter(self, ticket: Ticket, *, age: float) -> None:
        entry = ticket.entry = _entry(ticket, age)
        run = self._run
        if not run or entry > run[-1]:
            run.append(entry)
        else:
            heappush(self._heap, entry)
        self._live += 1

    def leave(self, ticket: Ticket) -> None:
        ticket.entry = None
        self._live -= 1
        if len(self._run) + len(self._heap) > 2 * self._live + SPARE:
            self._run = deque(entry for entry in self._run if entry[3].entry is entry)
            self._heap = [entry for entry in self._heap if entry[3].entry is entry]
            heapify(self._heap)

    def take(self) -> Ticket:
        """The first leaves. The line must not be empty."""
        run, heap = self._run, self._heap
        if heap:
            entry = self.head
            if run and run[0] is entry:
                run.popleft()
            else:
                heappop(heap)
            ticket = entry[3]
        else:
            while True:
                entry = run.popleft()
                ticket = entry[3]
                if ticket.entry is entry:
                    break
        ticket.entry = None
        self._live -= 1
        return ticket

    @property
    def head(self) -> Entry:
        """The first entry, to be compared with other lines'. The line must not be empty."""
        run, heap = self._run, self._heap
        while run and run[0][3].entry is not run[0]:
            run.popleft()
        if not heap:
            return run[0]
        while heap and heap[0][3].entry is not heap[0]:
            heappop(heap)
        if not heap or (run and run[0] < heap[0]):
            return run[0]
        return heap[0]

    def resort(self, *, age: float) -> None:
        """Everyone keeps arrival and urgency; what waiting is worth has changed."""
        tickets = [entry[3] for entry in self._all() if entry[3].entry is entry]
        for ticket in tickets:
            ticket.entry = _entry(ticket, age)
        self._run = deque(sorted(ticket.entry for ticket in tickets if ticket.entry is not None))
        self._heap = []

    def ahead_of(self, entry: Entry) -> int:
        """How many in this line come before `entry`; O(n)."""
        return sum(1 for other in self._all() if other < entry and other[3].entry is other)

    def _all(self) -> Iterator[Entry]:
        """Void ones included."""
        return chain(self._run, self._heap)


def _entry(ticket: Ticket, age: float) -> Entry:
    if age > 0:
        return (0, ticket.arrived + ticket.urgency * age, ticket.seq, ticket)
    return (ticket.urgency, ticket.arrived, ticket.seq, ticket)
