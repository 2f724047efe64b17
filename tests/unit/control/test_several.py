"""Several activators, one endpoint: whatever the interleaving, no request is lost or cut, nobody is
left waiting, and in the end nothing runs."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from activator.drivers.base import DriverError
from tests.unit.control.city import TOTAL, Activator, city
from tests.unit.control.courses import MANY, POLICIES, SIZES, TROUBLES, Course, play

FOREVER = 1e6


def _told(activator: Activator, action: str) -> list[str]:
    return [each.reason for each in activator.events.since(0) if each.action == action]


# the same courses each time, so that nobody's work is stopped by a rare one: see `courses` for how
# to look for those; and none is made smaller, which a seed cannot be
@settings(max_examples=25, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(
    seed=st.integers(0, 2**32),
    size=st.sampled_from(SIZES),
    trouble=st.sampled_from(TROUBLES),
    policy=st.sampled_from(sorted(POLICIES)),
)
def test_no_request_is_lost_or_cut_and_nobody_is_left_waiting(
    seed: int, size: int, trouble: float, policy: str
) -> None:
    Course(seed, size, trouble, policy).play()


@pytest.mark.parametrize("spins", [False, True], ids=["waits", "spins"])
def test_what_never_ends_in_virtual_time_fails(spins: bool) -> None:
    async def never() -> None:
        while spins:
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    with pytest.raises((TimeoutError, AssertionError)):
        play(never())


@pytest.mark.parametrize("late", [30.0, 3.0])
def test_a_leader_that_stood_still_while_another_revived_it_stops_nothing(late: float) -> None:
    play(_paused_leader(late))


async def _paused_leader(late: float) -> None:
    async with city(Random(1), size=2) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None
        (other,) = (each for each in c.activators if each is not leader)
        c.request(other)
        await c.until(lambda: c.served == 1, within=10.0)
        # all have agreed, and the order is about to leave
        agree = leader.board.agree

        async def agree_and_stand_still(endpoint: str) -> bool:
            agreed = await agree(endpoint)
            leader.nature.still_until = c.loop.time() + late
            return agreed

        leader.board.agree = agree_and_stand_still  # type: ignore[method-assign]
        await c.until(lambda: leader.nature.still_until > c.loop.time(), within=10.0)
        assert other.live.gate._quiet
        c.request(other, takes=60.0)
        await asyncio.sleep(late + 5.0)

        assert c.cluster.orders == [(c.cluster.orders[0][0], 1)]
        assert len(c.cluster.refused) == 1
        assert c.cluster.wrongs == []
        assert c.open == 1
        await c.until(lambda: not c.open, within=60.0)


def test_a_replica_that_was_given_up_before_it_was_seen_gets_nothing() -> None:
    play(_given_up_unseen())


async def _given_up_unseen() -> None:
    async with city(Random(5), size=2) as c:
        await c.until(c.leader, within=15.0)
        one, other = c.activators
        await c.until(lambda: not other.live.gate._quiet, within=5.0)  # it has joined
        assert other.control._member.quiesce(("m-1",))

        c.request(one, takes=1.0)
        await c.until(lambda: one.live.replicas, within=5.0)
        await asyncio.sleep(0.5)

        assert other.control.snapshot.replicas
        assert not other.live.replicas


def test_an_order_for_more_that_was_overtaken_stops_nobody() -> None:
    play(_overtaken())


async def _overtaken() -> None:
    async with city(Random(4), size=2, scale=MANY) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None
        (other,) = (each for each in c.activators if each is not leader)
        scale = leader.driver.scale

        async def stand_still_and_scale(replicas: int, **words: Any) -> None:
            if replicas > 1:
                leader.nature.still_until = c.loop.time() + 30.0
            await scale(replicas, **words)

        leader.driver.scale = stand_still_and_scale  # type: ignore[method-assign]
        for takes in (60.0, 60.0):
            c.request(other, takes=takes)
        await c.until(lambda: leader.nature.still_until, within=20.0)
        await c.until(lambda: other.lease.leading, within=20.0)
        c.request(other, takes=60.0)
        await c.until(lambda: c.cluster.wanted == 3, within=8.0)
        for _ in range(3):  # one at each
            c.request(other, takes=60.0)
        await asyncio.sleep(leader.nature.still_until - c.loop.time() + 5.0)

        counts = [count for _, count in c.cluster.orders]
        assert (counts, counts[-1]) == (sorted(counts), 3)
        assert c.cluster.wrongs == []


def test_only_what_none_of_them_has_ordered_is_told_as_somebody_elses_and_once() -> None:
    play(_foreign())


async def _foreign() -> None:
    async with city(Random(6), size=3, scale=MANY) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None

        def told() -> list[str]:
            return [
                event.reason
                for each in c.activators
                for event in each.events.since(0)
                if event.action == "rescaled"
            ]

        for each in c.activators:
            for _ in range(3):
                c.request(each, takes=8.0)
        await c.until(lambda: c.served == 9, within=60.0)
        await c.until(lambda: not c.cluster.wanted, within=20.0)
        assert {count for _, count in c.cluster.orders} >= {1, 3, 0}
        assert told() == []

        c.cluster.scale(2, victims=(), before=None, fence="")
        await asyncio.sleep(1.0)

        assert told() == ["somebody else went from 0 to 2"]


def test_a_leader_that_disappears_between_the_words_and_the_order_costs_nothing() -> None:
    play(_leader_disappears())


async def _leader_disappears() -> None:
    async with city(Random(2), size=3) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None
        others = [each for each in c.activators if each is not leader]
        c.request(others[0])
        await c.until(lambda: c.served == 1, within=10.0)

        async def never(endpoint: str) -> bool:
            leader.nature.still_until = FOREVER
            await leader.nature.awake()
            return False

        leader.board.agree = never  # type: ignore[method-assign]
        await c.until(lambda: leader.nature.still_until > c.loop.time(), within=10.0)
        for each in others:
            c.request(each)

        await c.until(lambda: c.served == 3, within=1.0)
        await c.until(lambda: c.leader() in others, within=15.0)
        # whoever has disappeared may exist: the replica stays
        await asyncio.sleep(60.0)
        assert c.cluster.wanted == 1
        assert c.cluster.wrongs == []


def test_one_that_may_exist_keeps_it_up_and_is_overruled_once_its_requests_must_have_ended() -> (
    None
):
    play(_overruled())


async def _overruled() -> None:
    async with city(Random(3), size=2) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None
        (other,) = (each for each in c.activators if each is not leader)
        c.request(leader)
        await c.until(lambda: c.served == 1, within=10.0)
        other.nature.still_until = FOREVER
        stood_still = c.loop.time()
        await asyncio.sleep(TOTAL - 5.0)
        assert c.cluster.wanted == 1
        assert leader.overruled == []

        await c.until(lambda: not c.cluster.wanted, within=20.0)

        assert TOTAL - 2.0 <= c.loop.time() - stood_still <= TOTAL + 10.0
        assert leader.overruled == [("m", other.roster.me)]


def test_a_word_is_not_let_go_because_of_what_was_so_before_it_was_given() -> None:
    play(_view_behind_the_word())


async def _view_behind_the_word() -> None:
    async with city(Random(8), size=2) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None
        (other,) = (each for each in c.activators if each is not leader)
        c.request(other)
        await c.until(lambda: c.served == 1, within=10.0)
        # the other does not hear of the cluster for a while: it goes to none, and is started again
        other.driver.hold_back()
        await c.until(lambda: not c.cluster.wanted, within=10.0)
        c.request(leader)
        await c.until(lambda: c.served == 2, within=10.0)
        # and all agree once more, with the order about to leave
        agree = leader.board.agree

        async def agree_and_stand_still(endpoint: str) -> bool:
            agreed = await agree(endpoint)
            leader.nature.still_until = c.loop.time() + 3.0
            return agreed

        leader.board.agree = agree_and_stand_still  # type: ignore[method-assign]
        await c.until(lambda: leader.nature.still_until > c.loop.time(), within=10.0)
        other.driver.release()
        await c.until(lambda: other.control.snapshot == c.cluster.snapshot(), within=1.0)
        c.request(other, takes=10.0)
        await asyncio.sleep(5.0)

        assert c.cluster.wrongs == []
        assert len(c.cluster.refused) == 1
        await c.until(lambda: not c.open, within=20.0)


def test_an_order_of_its_own_that_was_not_taken_frees_nobody_from_an_earlier_word() -> None:
    play(_own_order_fails())


async def _own_order_fails() -> None:
    async with city(Random(9), size=2) as c:
        await c.until(c.leader, within=15.0)
        leader = c.leader()
        assert leader is not None
        (other,) = (each for each in c.activators if each is not leader)
        c.request(other)
        await c.until(lambda: c.served == 1, within=10.0)
        agree = leader.board.agree

        async def agree_and_stand_still(endpoint: str) -> bool:
            agreed = await agree(endpoint)
            leader.nature.still_until = c.loop.time() + 2 * TOTAL
            return agreed

        async def refuse(replicas: int, **words: Any) -> None:
            raise DriverError("the cluster is away")

        leader.board.agree = agree_and_stand_still  # type: ignore[method-assign]
        other.driver.scale = refuse  # type: ignore[method-assign]
        await c.until(lambda: leader.nature.still_until > c.loop.time(), within=10.0)
        # whoever leads next asks as well, and its order is not taken
        await c.until(lambda: _told(other, "scaling_down"), within=2 * TOTAL)
        await asyncio.sleep(0.1)
        c.request(other, takes=2 * TOTAL)
        await asyncio.sleep(max(0.0, leader.nature.still_until - c.loop.time()) + 5.0)

        assert c.cluster.wrongs == []
        assert len(c.cluster.refused) == 1


def test_idle_replicas_are_kept_by_whoever_had_the_last_request_of_all() -> None:
    play(_last_of_all())


async def _last_of_all() -> None:
    async with city(Random(1), size=2) as c:
        one, other = c.activators
        for served, (last, before) in enumerate(((one, other), (other, one)), start=1):
            c.request(last)
            await c.until(lambda n=served: c.served == n, within=15.0)  # type: ignore[misc]
            await asyncio.sleep(1.0)  # until all have heard of it
            assert not last.live.keys.used_elsewhere()
            assert before.live.keys.used_elsewhere()
        c.request(one, takes=2.0)
        await asyncio.sleep(1.0)
        assert other.live.keys.used_elsewhere()
        await c.until(lambda: c.served == 3, within=15.0)
