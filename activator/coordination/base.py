"""The protocols through which activators share what must be exact: slots, demand, leadership,
what operators want, what it has cost, and how long starts take.

The data path knows a `SlotLedger` and nothing behind it: in one process it wraps
`core.dispatch`, over several it is a store's scripts with the same semantics.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import date

    from activator.core.catalogue import ModelCard
    from activator.core.dispatch import Ticket
    from activator.core.duty import Duty
    from activator.core.endpoint import Endpoint, Replica
    from activator.core.key_usage import DayKeyUse, KeyEntry
    from activator.core.usage import Booked, DayUsage, Entry


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

    @property
    def loads(self) -> Mapping[str, int]:
        """Of these, this activator's, by the ids that all activators know; also at replicas that
        are not offered any more."""

    def close(self) -> None:
        """No more grants, timers or callbacks."""


class DemandBoard(Protocol):
    """What all activators together have of one endpoint, and their word that it is nothing.

    What others have is a moment old; their word, which scaling down is based on, is exact. The
    leader asks (`ask_quiet`), makes sure (`agree`), orders, and says how it ended (`conclude`).
    """

    def join(self, endpoint: str, member: Member) -> None: ...

    def leave(self, endpoint: str) -> None: ...

    def demand(self, endpoint: str) -> int:
        """Held, in flight and queued, over all activators that are known to be alive."""

    def last_ended(self, endpoint: str) -> float:
        """The latest end of a response anywhere, in this process's monotonic seconds."""

    def elsewhere(self, endpoint: str) -> Share:
        """What the other activators have of it."""

    def unsure_until(self, endpoint: str) -> float:
        """Monotonic moment until which an activator that is silent, but may exist, keeps replicas
        up; minus infinity if there is none."""

    async def ask_quiet(
        self, endpoint: str, replicas: Sequence[str] | None = None, *, fence: str = ""
    ) -> bool:
        """Declare draining. True: every activator has nothing and holds what comes from now on;
        with `replicas`: has nothing at these and sends them nothing new.
        False: somebody has something, or cannot be asked, and nobody holds anything back.
        `fence`: the one that the order will carry."""

    async def agree(self, endpoint: str) -> bool:
        """The last look before the order that `ask_quiet` was for: False if anybody has called
        draining off since, or the store cannot say."""

    def conclude(self, endpoint: str, *, ordered: bool) -> None:
        """What `ask_quiet` was for is over. `ordered` False: called off, as by `revive`."""

    def revive(self, endpoint: str) -> None:
        """Draining is called off: nobody need hold anything back."""

    def saw(self, endpoint: str, *, fence: str, empty: bool) -> None:
        """What this activator sees of the outside world, after every change. `empty`: no replica
        is wanted. If that is so after the fence of what it gave its word for, the order was given
        and can stop nothing more: it need not hold anything back."""


@dataclass(frozen=True, slots=True)
class Share:
    """What activators have of an endpoint."""

    demand: int = 0
    held: int = 0
    """Of these, requests that wait."""
    held_bytes: int = 0
    """Of their bodies."""
    loads: Mapping[str, int] = field(default_factory=dict)
    """In flight by replica."""


class Member(Protocol):
    """One activator's side of an endpoint, as the board asks it."""

    def follow(self, stirred: Callable[[], None]) -> None:
        """Call `stirred` when a request comes after there was none, or has to wait."""

    @property
    def is_at_rest(self) -> bool:
        """No request is here, not even one that is no demand."""

    @property
    def share(self) -> Share:
        """What this activator has."""

    @property
    def demand(self) -> int: ...

    @property
    def last_ended(self) -> float: ...

    @property
    def patience(self) -> float:
        """Seconds that a silent activator may have something in flight; 0: no limit."""

    def quiesce(self, replicas: Sequence[str] | None = None) -> bool:
        """With nothing held or in flight (at these replicas): hold what comes (send them nothing
        new) and say True; otherwise False."""

    def revive(self) -> None:
        """Hold nothing back."""

    @property
    def withheld(self) -> frozenset[str]:
        """Of the replicas that `quiesce` was asked for since the last `revive`, those that may
        still be there, or are about to come, and get nothing."""

    async def mark_revived(self) -> bool:
        """See to it that a scale order that was prepared earlier is refused, whoever gives it when,
        and that what is known of the replicas is no older than that. False: it cannot be done
        now."""

    def changed(self) -> None:
        """What others have, or whether they are known, is worth a look."""


class Roster(Protocol):
    """Which activators there are. Times are this process's monotonic seconds."""

    @property
    def me(self) -> str:
        """Random, new at each start."""

    @property
    def members(self) -> frozenset[str]:
        """Alive as far as is known, this one included."""

    @property
    def unknown(self) -> frozenset[str]:
        """Silent, and not seen gone: they may exist."""

    def silent_since(self, act: str) -> float | None:
        """When one that is silent was seen alive for the last time."""

    def is_gone(self, act: str) -> bool:
        """It has signed off, or was seen gone, or nobody has known it for a while."""

    def on_joined(self, told: Callable[[str], None]) -> None:
        """Another is there, or is back after a silence."""

    def on_silent(self, told: Callable[[str], None]) -> None:
        """Another stood still for seconds of our own clock while the store answered us."""

    def on_left(self, told: Callable[[str], None]) -> None:
        """Another has signed off, or was seen gone."""

    def on_forgotten(self, told: Callable[[], None]) -> None:
        """The store had lost this activator: whatever it is to hold in its name must be said
        again."""


class Lease(Protocol):
    """Who may deactivate and go beyond one replica: one activator at a time."""

    @property
    def leading(self) -> bool:
        """Ends by itself, before another's can begin, when the store does not answer."""

    @property
    def term(self) -> int:
        """Higher with every holder; this one's while leading."""

    @property
    def duty(self) -> Duty:
        """What may be done here just now. Anything but SERVES, where all that activators share is
        the lease."""

    def on_change(self, told: Callable[[], None]) -> Callable[[], None]:
        """`told` whenever `leading` or `duty` has changed. Returns what ends it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a deactivation has come. Neither `done` nor refused: it is under way."""

    refusal: str = ""
    """Why it cannot be."""
    done: bool = False
    """No replicas are wanted any more."""


class NoLeader(Exception):
    """No activator that leads has answered: whether one has taken the order is not known."""


class Wishes(Protocol):
    """What operators want of endpoints: it holds for all activators, whichever of them was asked.

    A pause lasts until it is lifted, also for activators that start later; with a store it outlives
    them all. While the store is away everybody keeps to what was last known.
    """

    def join(self, endpoint: str, subject: Subject) -> None:
        """`subject` is told of a pause: at once if there is one, later when that changes."""

    def leave(self, endpoint: str) -> None: ...

    async def pause(self, endpoint: str, *, on: bool) -> None:
        """When this returns it holds here, and within moments everywhere. Raises StoreUnavailable:
        it was not taken, or that is not known."""

    def activated(self, endpoint: str) -> None:
        """It was asked for here, which is activity everywhere."""

    async def deactivate(self, endpoint: str, *, force: bool) -> Outcome:
        """Have the leader go to zero. Raises StoreUnavailable, NoLeader."""


class Subject(Protocol):
    """One activator's side of an endpoint, as operators' wishes reach it."""

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def touch(self) -> None:
        """Another activator was asked to activate it."""

    def stay_down(self) -> None:
        """The leader was asked to deactivate it: where it is down, its minimum does not count."""

    async def deactivate(self, *, force: bool) -> Outcome:
        """Asked of the one that leads; waits a bounded time."""


class CostBook(Protocol):
    """What endpoints have used, by day. All verbs raise StoreUnavailable."""

    async def book(self, entries: Sequence[Entry]) -> None:
        """Add what is not in it yet: an endpoint's time is booked once, whoever books it, and
        entries that may have been taken are given again. An endpoint's entries come in order."""

    async def booked(self, endpoints: Collection[str], day: date) -> Mapping[str, Booked]:
        """Each endpoint's day, and the moment until which it is complete."""

    async def days(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayUsage]:
        """Of every endpoint that the book knows, also of those that are gone, or of one; by day
        and name."""

    async def book_keys(self, entries: Sequence[KeyEntry]) -> None:
        """Add what is not in it yet: an entry that may have been taken is given again as it was."""

    async def keys(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> Sequence[DayKeyUse]:
        """What keys have used, of all activators; by day, endpoint and key. `endpoint`: of that
        one alone."""


class ModelList(Protocol):
    """Which models the replicas of endpoints said they serve. All verbs raise StoreUnavailable."""

    async def note(self, endpoint: str, cards: Sequence[ModelCard]) -> None:
        """Instead of what was noted before."""

    async def last(self, endpoints: Collection[str]) -> Mapping[str, tuple[ModelCard, ...]]:
        """What was noted of each; empty: nothing."""


class StartLog(Protocol):
    """How long the last starts of endpoints took: seconds by phase. All verbs raise
    StoreUnavailable."""

    async def note(self, endpoint: str, phases: Mapping[str, float]) -> None:
        """One more; as many are kept as `core.eta` learns from."""

    async def last(self, endpoints: Collection[str]) -> Mapping[str, Sequence[Mapping[str, float]]]:
        """Of each, the oldest first."""


class Quotas(Protocol):
    """What endpoints may spend in a day, all activators together."""

    async def take(self, endpoint: str, day: date, *, most: int) -> int | None:
        """One more of this day: how many were taken with it; None: `most` were taken before.
        Raises StoreUnavailable: whether it was taken is not known."""
