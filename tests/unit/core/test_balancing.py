from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from activator.core.balancing import (
    HANDFUL,
    LOAD_FACTOR,
    choose,
    first_available,
    least_loaded,
    prefix_hash,
    rendezvous,
    round_robin,
)
from activator.core.endpoint import Balance, Replica
from activator.core.slots import ReplicaSlots

SESSION = b"session-1"


def never(sides: int) -> int:
    raise AssertionError(f"no chance is needed here, but one of {sides} was drawn")


def replicas(*loads: int, limit: int = 100) -> list[ReplicaSlots]:
    made = []
    for number, load in enumerate(loads):
        replica = Replica(f"r{number}", "127.0.0.1", 8000 + number)
        slots = ReplicaSlots(replica, concurrency=limit, paced=False, now=0.0)
        slots.in_flight = load
        made.append(slots)
    return made


def chosen(slots: ReplicaSlots | None) -> str | None:
    return slots.id if slots is not None else None


def give(slots: ReplicaSlots, *, turn: int) -> None:
    slots.in_flight += 1
    slots.turn = turn


def test_first_available_fills_one_replica_before_the_next() -> None:
    assert chosen(first_available(replicas(3, 0, 0, limit=4))) == "r0"
    assert chosen(first_available(replicas(4, 0, 0, limit=4))) == "r1"


def test_least_loaded_takes_the_one_with_the_fewest_in_flight() -> None:
    assert chosen(least_loaded(replicas(3, 1, 2), dice=never)) == "r1"


def test_least_loaded_takes_turns_among_equals() -> None:
    offered = replicas(0, 0, 0)
    order = []
    for turn in range(1, 7):
        slots = least_loaded(offered, dice=never)
        assert slots is not None
        order.append(slots.id)
        slots.turn = turn

    assert order == ["r0", "r1", "r2", "r0", "r1", "r2"]


def test_beyond_a_handful_least_loaded_takes_the_better_of_two_that_are_drawn() -> None:
    offered = replicas(*range(HANDFUL + 1))
    draws = iter([5, 1])

    # the second draw is among the others: 5 + 1 + 1
    assert chosen(least_loaded(offered, dice=lambda _: next(draws))) == "r5"


def test_beyond_a_handful_a_free_slot_is_found_even_if_no_draw_hits_it() -> None:
    offered = replicas(*[4] * HANDFUL, 0, limit=4)

    assert chosen(least_loaded(offered, dice=lambda _: 0)) == f"r{HANDFUL}"


def test_two_choices_keep_many_replicas_nearly_even() -> None:
    offered = replicas(*[0] * 50, limit=1000)
    dice = Random(1).randrange
    for turn in range(5000):
        slots = least_loaded(offered, dice=dice)
        assert slots is not None
        give(slots, turn=turn)

    assert max(slots.in_flight for slots in offered) <= 104
    assert min(slots.in_flight for slots in offered) >= 94


def test_round_robin_goes_round_whatever_the_load_is() -> None:
    offered = replicas(50, 0, 9)
    order = []
    for turn in range(1, 7):
        slots = round_robin(offered)
        assert slots is not None
        order.append(slots.id)
        give(slots, turn=turn)

    assert order == ["r0", "r1", "r2", "r0", "r1", "r2"]


def test_round_robin_skips_those_without_a_slot_and_does_not_forget_them() -> None:
    offered = replicas(4, 0, 0, limit=4)
    offered[1].turn, offered[2].turn = 1, 2

    assert chosen(round_robin(offered)) == "r1"
    offered[0].in_flight = 0
    assert chosen(round_robin(offered)) == "r0"


@pytest.mark.parametrize("balance", Balance)
@pytest.mark.parametrize("affinity", [None, SESSION])
def test_a_full_or_excluded_replica_is_never_chosen(
    balance: Balance, affinity: bytes | None
) -> None:
    offered = replicas(4, 0, 0, limit=4)
    for exclude in [("r1",), ("r2",), ("r1", "r2")]:
        slots = choose(
            offered,
            balance=balance,
            dice=Random(1).randrange,
            affinity=affinity,
            exclude=exclude,
        )
        suitable = {"r1", "r2"} - set(exclude)
        assert (chosen(slots) in suitable) if suitable else (slots is None)


@pytest.mark.parametrize("balance", Balance)
@pytest.mark.parametrize("affinity", [None, SESSION])
def test_nothing_offered_is_nothing_chosen(balance: Balance, affinity: bytes | None) -> None:
    assert choose([], balance=balance, dice=never, affinity=affinity) is None


@pytest.mark.parametrize("balance", [b for b in Balance if b is not Balance.PREFIX_HASH])
def test_a_session_keeps_to_its_replica_even_if_others_have_less_to_do(balance: Balance) -> None:
    offered = replicas(0, 0, 0)
    home = rendezvous(offered, affinity=SESSION)
    assert home is not None
    for turn in range(1, 51):
        assert choose(offered, balance=balance, dice=never, affinity=SESSION) is home
        give(home, turn=turn)


def test_a_session_whose_replica_is_full_goes_where_the_policy_sends_it() -> None:
    offered = replicas(1, 2, 3)
    home = rendezvous(offered, affinity=SESSION)
    assert home is not None
    home.in_flight = home.limit

    away = choose(offered, balance=Balance.LEAST_LOADED, dice=never, affinity=SESSION)

    assert away is min((s for s in offered if s is not home), key=lambda s: s.in_flight)


def test_prefix_hash_sends_a_prefix_to_its_favourite() -> None:
    offered = replicas(0, 0, 0)

    assert prefix_hash(offered, affinity=SESSION, dice=never) is rendezvous(
        offered, affinity=SESSION
    )


def test_prefix_hash_never_loads_a_replica_beyond_the_bound() -> None:
    offered = replicas(0, 0, 0, 0)
    for turn in range(1, 201):
        slots = prefix_hash(offered, affinity=b"the one prefix everybody has", dice=never)
        assert slots is not None
        give(slots, turn=turn)
        assert slots.in_flight < LOAD_FACTOR * turn / 4 + 1

    home = rendezvous(offered, affinity=b"the one prefix everybody has")
    assert home is not None
    assert home.in_flight == max(slots.in_flight for slots in offered) == 63


def test_prefix_hash_spreads_many_prefixes_and_keeps_each_at_home() -> None:
    offered = replicas(0, 0, 0, 0)
    homes: Counter[str] = Counter()
    for number in range(400):
        slots = prefix_hash(offered, affinity=b"prefix-%d" % number, dice=never)
        assert slots is not None
        homes[slots.id] += 1
    assert min(homes.values()) > 70


def test_prefix_hash_beyond_the_bound_takes_the_least_loaded_that_has_a_slot() -> None:
    offered = replicas(0, 8, 9)
    # just started: its window is full though it has the least to do
    offered[0].limit = 0

    assert chosen(prefix_hash(offered, affinity=SESSION, dice=never)) == "r1"


def test_prefix_hash_without_a_prefix_is_least_loaded() -> None:
    slots = choose(replicas(3, 1, 2), balance=Balance.PREFIX_HASH, dice=never)

    assert chosen(slots) == "r1"
