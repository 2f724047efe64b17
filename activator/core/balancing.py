"""Which replica a request meets, among those with a free slot.

Decides between replicas only; whether a request is next, and the bookkeeping of slots, is
`core.dispatch`'s. Nothing is kept here: the rotation lives in `ReplicaSlots.turn`, chance comes
from the caller's dice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from activator.core.endpoint import Balance
from activator.core.hashing import fingerprint, rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.core.slots import ReplicaSlots

Dice: TypeAlias = "Callable[[int], int]"
"""dice(n) is one of 0..n-1, each as likely."""

HANDFUL: Final = 8
"""Up to so many replicas the least loaded one is looked for; beyond, two are drawn and the better
one taken (Mitzenmacher 2001): nearly as even, and the cost does not grow with the replicas."""

LOAD_FACTOR: Final = 1.25
"""By how much prefix_hash lets a replica's load exceed the mean: KubeAI's default. Less moves
requests off their cached prefix for nothing, more piles a popular prefix up at one replica."""


def choose(
    offered: Sequence[ReplicaSlots],
    *,
    balance: Balance,
    dice: Dice,
    affinity: bytes | None = None,
    exclude: tuple[str, ...] = (),
) -> ReplicaSlots | None:
    """One of `offered` with a free slot and not in `exclude`, or None.

    `offered` is everything that may get something new, full or not: a favourite that is full for
    the moment must not change who is whose favourite.
    """
    if affinity is not None:
        if balance is Balance.PREFIX_HASH:
            return prefix_hash(offered, affinity=affinity, dice=dice, exclude=exclude)
        favourite = rendezvous(offered, affinity=affinity, exclude=exclude)
        if favourite is not None and favourite.is_free:
            return favourite
    match balance:
        case Balance.FIRST_AVAILABLE:
            return first_available(offered, exclude=exclude)
        case Balance.ROUND_ROBIN:
            return round_robin(offered, exclude=exclude)
        case _:
            return least_loaded(offered, dice=dice, exclude=exclude)


def first_available(
    offered: Sequence[ReplicaSlots], *, exclude: tuple[str, ...] = ()
) -> ReplicaSlots | None:
    """In the order of the offer: fills one replica before the next, so the last ones fall idle."""
    for slots in offered:
        if slots.in_flight < slots.limit and slots.id not in exclude:
            return slots
    return None


def round_robin(
    offered: Sequence[ReplicaSlots], *, exclude: tuple[str, ...] = ()
) -> ReplicaSlots | None:
    """The one whose latest grant is longest ago: a rotation that survives coming and going."""
    best = None
    for slots in offered:
        if (
            slots.in_flight < slots.limit
            and slots.id not in exclude
            and (best is None or slots.turn < best.turn)
        ):
            best = slots
    return best


def least_loaded(
    offered: Sequence[ReplicaSlots], *, dice: Dice, exclude: tuple[str, ...] = ()
) -> ReplicaSlots | None:
    """Fewest requests in flight; among equals the one that has rested longest."""
    count = len(offered)
    if count > HANDFUL:
        first = dice(count)
        second = (first + 1 + dice(count - 1)) % count
        drawn = _least((offered[first], offered[second]), exclude)
        if drawn is not None:
            return drawn
    return _least(offered, exclude)


def _least(offered: Sequence[ReplicaSlots], exclude: tuple[str, ...]) -> ReplicaSlots | None:
    best = None
    for slots in offered:
        if slots.in_flight >= slots.limit or slots.id in exclude:
            continue
        if (
            best is None
            or slots.in_flight < best.in_flight
            or (slots.in_flight == best.in_flight and slots.turn < best.turn)
        ):
            best = slots
    return best


def rendezvous(
    offered: Sequence[ReplicaSlots], *, affinity: bytes, exclude: tuple[str, ...] = ()
) -> ReplicaSlots | None:
    """The favourite of these bytes, free or not."""
    mark = fingerprint(affinity)
    return max(
        (slots for slots in offered if slots.id not in exclude),
        key=lambda slots: rank(mark, slots.salt),
        default=None,
    )


def prefix_hash(
    offered: Sequence[ReplicaSlots],
    *,
    affinity: bytes,
    dice: Dice,
    exclude: tuple[str, ...] = (),
) -> ReplicaSlots | None:
    """The best-liked replica that this request would not load beyond LOAD_FACTOR of the mean.

    Consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam 2018), by rank
    instead of a ring. If none within the bound has a slot, the least loaded one that has.
    """
    mark = fingerprint(affinity)
    bound = LOAD_FACTOR * (sum(slots.in_flight for slots in offered) + 1) / max(len(offered), 1)
    best = None
    best_rank = -1
    for slots in offered:
        # in_flight + 1 <= ceil(bound), without the ceil
        if slots.in_flight < bound and slots.in_flight < slots.limit and slots.id not in exclude:
            liking = rank(mark, slots.salt)
            if liking > best_rank:
                best, best_rank = slots, liking
    return best or least_loaded(offered, dice=dice, exclude=exclude)
