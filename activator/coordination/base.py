"""The protocols through which activators share what must be exact: slots, demand, leadership.

The data path knows a `SlotLedger` and nothing behind it: in one process it wraps
`core.dispatch`, over several it is a store's scripts with the same semantics.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Endpoint, Replica


class Asked(Enum):
    """The answer that comes later."""

    ASKED = auto()


ASKED: Final = Asked.ASKED

Granted: TypeAlias = "Callable[[Ticket, Replica], None]"
Decided: TypeAlias = "Callable[[Ticket, Replica | None], None]"


class SlotLedger(Protocol):
    """The line of tickets and the free slots of ONE endpoint.

    Every ticket that `acquire` took ends in exactly one `release` (it held a slot) or `withdraw`
    (it still waited, or its answer was on the way). A callback is never called from within
    `acquire`, `withdraw` or `release` of its own ticket.
    """

    def acquire(self, ticket: Ticket, granted: Granted) -> Replica | None:
        """A replica with a slot reserved at once, or None and `granted` later, in order.

        At once only if nobody waits who would come first.
        """

    def acquire_now(self, ticket: Ticket, decided: Decided) -> Replica | Asked | None:
        """A replica with a slot reserved at once, or None and no place in line.

        ASKED: whoever keeps the slots is asked, and `decided` is told the one or the other.
        `withdraw` takes the question back.
        """

    def withdraw(self, ticket: Ticket) -> None:
        """Leave the line; if the grant was on its way the slot passes on."""

    def release(self, ticket: Ticket) -> None:
        """Give the slot back; the next in line gets it."""

    def answered(self, ticket: Ticket) -> None:
        """The first byte of the response has come: a step of the pacing after a start."""

    def offer(self, replicas: Sequence[tuple[Replica, bool]]) -> None:
        """The replicas that may be given requests now, whole; True: it has just been started
        and is paced. Those missing from the sequence get nothing new."""

    def configure(self, endpoint: Endpoint) -> None:
        """Limits, urgency ageing and balancing have changed."""

    def hold(self) -> None:
        """Grant nothing until `resume`: paused, or draining."""

    def resume(self) -> None: ...

    @property
    def waiting(self) -> int:
        """Tickets of this activator in line."""

    @property
    def full(self) -> bool:
        """A ticket acquired now would have to wait."""

    def place(self, ticket: Ticket) -> int | None:
        """1 = next; None if it does not wait."""

    def load(self, replica_id: str) -> int:
        """Requests in flight at a replica, over all activators."""

    def close(self) -> None:
        """No more grants, timers or callbacks."""


class DemandBoard(Protocol):
    """What all activators together have of one endpoint, and their word that it is nothing."""

    def join(self, endpoint: str, member: Member) -> None: ...

    def leave(self, endpoint: str) -> None: ...

    def demand(self, endpoint: str) -> int:
        """Held, in flight and queued, over all activators that may exist."""

    def last_ended(self, endpoint: str) -> float:
        """The latest end of a response anywhere, in this process's monotonic seconds."""

    async def ask_quiet(self, endpoint: str) -> bool:
        """Declare draining. True: every activator has nothing and holds what comes from now on.
        False: somebody has something, and nobody holds anything back."""

    def revive(self, endpoint: str) -> None:
        """Draining is called off."""


class Member(Protocol):
    """One activator's side of an endpoint, as the board asks it."""

    @property
    def demand(self) -> int: ...

    @property
    def last_ended(self) -> float: ...

    def quiesce(self) -> bool:
        """With nothing held or in flight: hold what comes and say True; otherwise False."""

    def revive(self) -> None: ...


class Lease(Protocol):
    """Who may deactivate and go beyond one replica."""

    @property
    def leading(self) -> bool: ...
