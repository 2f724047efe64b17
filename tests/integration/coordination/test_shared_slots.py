"""Slots and the line over several activators: one line, exact limits, one pace."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING

import pytest

from activator.coordination.base import ASKED
from activator.core.dispatch import Ticket
from tests.integration.coordination.house import A, B, endpoint, house, member_with
from tests.ledgers import settled
from tests.redis_server import redis_server
from tests.support import eventually

if TYPE_CHECKING:
    from activator.core.endpoint import Replica


async def test_the_line_is_one_over_all_activators() -> None:
    async with house("x", "y", "z", model=endpoint()) as h:
        first = h.line_up(0)
        await h.grants(1)
        order = [first]
        for number in range(12):
            order.append(h.line_up((number * 2) % 3))
            await settled(*h.ledgers)

        for done in range(12):
            who, ticket = h.granted[done]
            h.end(who, ticket)
            await h.grants(done + 2)

        assert [ticket for _, ticket in h.granted] == order
        assert h.most == {"a": 1}


async def test_urgency_and_ageing_hold_over_all_activators() -> None:
    async with house("x", "y", model=endpoint(age=10.0)) as h:
        now = asyncio.get_running_loop().time()
        running = h.line_up(0)
        await h.grants(1)
        urgent = h.line_up(0, Ticket(urgency=1))
        usual = h.line_up(1, Ticket(urgency=3))
        patient = h.line_up(1, Ticket(urgency=3, arrived=now - 30.0))
        await settled(*h.ledgers)

        for done in range(3):
            h.end(*h.granted[done])
            await h.grants(done + 2)

        assert await h.grants(4) == [running, patient, urgent, usual]


async def test_limits_are_exact_under_uneven_traffic() -> None:
    model = endpoint(concurrency=3)
    async with house("x", "y", "z", model=model, replicas=((A, False), (B, True))) as h:
        dice, total, ended = Random(7), 600, 0
        for _ in range(total):
            h.line_up(dice.choice((0, 0, 0, 0, 0, 1, 1, 2)))

        def end_some() -> bool:
            nonlocal ended
            for who, ticket in h.granted[ended:]:
                h.ledgers[who].answered(ticket)
                h.end(who, ticket)
                ended += 1
            return ended == total

        await eventually(end_some, within=30.0, every=0.001)

        assert h.most == {"a": 3, "b": 3}
        assert h.running == {"a": 0, "b": 0}
        await settled(*h.ledgers)
        assert [ledger.load("a") for ledger in h.ledgers].count(0) >= 1


async def test_a_slot_now_or_never_is_one_round_trip_and_none_without_a_limit() -> None:
    async with house("x", model=endpoint(concurrency=2)) as h:
        (ledger,) = h.ledgers
        before = h.calls()
        answers: list[Replica | None] = []
        mine = [Ticket() for _ in range(3)]
        for ticket in mine:
            assert ledger.acquire_now(ticket, lambda _, r: answers.append(r)) is ASKED
            await eventually(lambda: len(answers) == len([t for t in mine if t.arrived >= 0]))
        assert answers == [A, A, None]
        await settled(ledger)
        assert h.calls() - before == 3 + 1  # the third has taken back that it would wait

        ledger.configure(endpoint(concurrency=0))
        before = h.calls()
        for _ in range(50):
            ticket = Ticket()
            assert ledger.acquire_now(ticket, lambda _, r: answers.append(r)) == A
            ledger.release(ticket)
        assert h.calls() - before <= 1  # that it has left


async def test_who_must_wait_is_not_overtaken_before_it_is_in_line() -> None:
    async with house("x", "y", model=endpoint()) as h:
        here, there = h.ledgers
        running = h.line_up(0)
        await h.grants(1)
        early, late = Ticket(), Ticket()
        said: list[Replica | None] = []

        def must_wait(ticket: Ticket, replica: Replica | None) -> None:
            assert replica is None
            h.end(0, running)  # and yet somebody asks before this one has lined up
            assert there.acquire_now(late, lambda _, replica: said.append(replica)) is ASKED
            h.line_up(0, ticket)

        assert here.acquire_now(early, must_wait) is ASKED

        assert (await h.grants(2))[-1] is early
        await eventually(lambda: said == [None])


async def test_what_others_had_when_last_heard_of_keeps_nobody_from_giving_its_word() -> None:
    two = ((A, False), (B, False))
    async with house("x", "y", model=endpoint(), replicas=two) as h:
        first = h.line_up(0)
        await h.grants(1)
        second = h.line_up(1)
        await h.grants(2)
        assert first.replica is not None
        assert second.replica is not None
        h.end(0, first)
        await settled(*h.ledgers)
        h.end(1, second)
        await settled(*h.ledgers)
        ledger, other = h.ledgers[0], second.replica.id
        assert ledger.load(other) == 1, "it has had no reason to ask since"

        member = member_with(ledger)

        assert member.quiesce([other])
        assert member.withheld == {other}


async def test_what_is_in_flight_here_is_not_given_a_word_for() -> None:
    async with house("x", "y", model=endpoint()) as h:
        h.line_up(0)
        await h.grants(1)
        member = member_with(h.ledgers[0])

        assert not member.quiesce([A.id])
        assert member.withheld == frozenset()


async def test_a_fresh_replica_goes_to_who_is_first_although_another_knows_it_sooner() -> None:
    clock = asyncio.get_running_loop().time
    for _ in range(10):
        async with house("x", "y", model=endpoint(), replicas=()) as h:
            # by more than their ideas of the store's clock may differ on a busy machine
            first, second = h.line_up(0, Ticket(arrived=clock() - 5.0)), h.line_up(1)
            await settled(*h.ledgers)

            began = clock()
            h.ledgers[1].offer([(A, True)])
            await settled(*h.ledgers)
            h.ledgers[0].offer([(A, True)])
            await settled(*h.ledgers)
            if clock() - began > 0.2:
                continue  # on a machine as slow as this the moment was over: nothing was shown

            assert await h.grants(1) == [first]
            h.end(0, first)
            assert await h.grants(2) == [first, second]
            return
    pytest.fail("never within a fifth of a second")


async def test_a_replica_that_the_first_in_line_never_knows_waits_for_it_only_a_moment() -> None:
    async with house("x", "y", model=endpoint(), replicas=()) as h:
        first, second = h.line_up(0), h.line_up(1)
        await settled(*h.ledgers)

        h.ledgers[1].offer([(A, True)])

        assert await h.grants(1, within=2.0) == [second]
        h.end(1, second)
        h.ledgers[0].offer([(A, True)])
        assert await h.grants(2) == [second, first]


@pytest.mark.parametrize("limit", [8, 0])
async def test_pacing_is_the_replicas_whoever_forwards(limit: int) -> None:
    async with house("x", "y", model=endpoint(concurrency=limit), replicas=()) as h:
        for number in range(16):
            h.line_up(number % 2)
        await settled(*h.ledgers)
        for ledger in h.ledgers:
            ledger.offer([(A, True)])

        await h.grants(1)
        for answered, open_then in ((0, 2), (1, 4), (2, 8)):
            who, ticket = h.granted[answered]
            h.ledgers[who].answered(ticket)
            await h.grants(open_then)


async def test_without_a_limit_a_warm_replica_is_nobodys_business_and_nothing_is_left() -> None:
    async with house("x", "y", model=endpoint(concurrency=0), replicas=()) as h:
        here, there = h.ledgers
        first = h.line_up(0)
        for ledger in h.ledgers:
            ledger.offer([(A, True)])
        await h.grants(1)
        assert not here.is_alone
        for _ in range(8):  # 2, 4, 8 … 256
            here.answered(first)
        await eventually(lambda: here.is_alone and there.is_alone, within=5.0)
        pattern = f"{h.prefix}:*slots*"
        await eventually(lambda: not h.server.ask("KEYS", pattern), within=5.0)

        before = h.calls()
        more = [h.line_up(number % 2) for number in range(300)]
        assert len(h.granted) == 1 + len(more)
        for who, ticket in h.granted:
            h.end(who, ticket)
        assert h.calls() == before


async def test_without_a_limit_only_the_replica_that_was_started_is_paced() -> None:
    async with house("x", "y", model=endpoint(concurrency=0), replicas=((A, False),)) as h:
        for ledger in h.ledgers:
            ledger.offer([(A, False), (B, True)])
        for number in range(20):
            h.line_up(number % 2)

        await h.grants(20)
        assert h.most["b"] == 1
        assert h.most["a"] == 19


async def test_without_a_limit_and_without_the_store_each_paces_on_its_own() -> None:
    with redis_server() as server:
        model = endpoint(concurrency=0)
        async with house("x", model=model, server=server, replicas=(), timeout=0.3) as h:
            mine = [h.line_up(0) for _ in range(8)]
            server.pause()
            h.ledgers[0].offer([(A, True)])

            await h.grants(1)
            h.ledgers[0].answered(mine[0])
            await h.grants(2)
            server.resume()
            await eventually(lambda: h.activators[0].link.up, within=5.0)
            for ticket in mine[1:4]:
                h.ledgers[0].answered(ticket)
            await eventually(lambda: len(h.granted) == 8)


async def test_a_limit_that_comes_and_goes_counts_what_is_in_flight() -> None:
    async with house("x", "y", model=endpoint(concurrency=0)) as h:
        mine = [h.line_up(number % 2) for number in range(6)]
        await h.grants(6)
        for ledger in h.ledgers:
            ledger.configure(endpoint(concurrency=4))
        await settled(*h.ledgers)
        late = h.line_up(0)
        h.end(0, mine[0])
        h.end(1, mine[1])
        await h.grants(6)
        h.end(0, mine[2])
        assert (await h.grants(7))[-1] is late
