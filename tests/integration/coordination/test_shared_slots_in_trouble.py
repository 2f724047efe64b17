"""Slots over several activators of which some end, and a Redis that fails."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from activator.coordination.base import ASKED
from activator.coordination.ledger_ops import VERSION
from activator.coordination.ledger_talk import AWAY_CHECK
from activator.core.dispatch import Ticket
from tests.integration.coordination.house import A, endpoint, house
from tests.ledgers import settled
from tests.redis_server import redis_server
from tests.support import eventually

if TYPE_CHECKING:
    import pytest

    from activator.core.endpoint import Replica
    from tests.integration.coordination.house import House

# --- activators that end


async def test_the_slots_of_a_silent_activator_pass_on_and_it_can_come_back() -> None:
    async with house("x", "y", model=endpoint(concurrency=2)) as h:
        lost = [h.line_up(0), h.line_up(0)]
        await h.grants(2)
        behind = h.line_up(0)
        waiting = [h.line_up(1), h.line_up(1)]
        await settled(*h.ledgers)

        h.activators[1].roster.silence("x")

        assert (await h.grants(4))[2:] == waiting
        h.ledgers[0].offer([(A, False)])  # it was not dead after all, and says what it has
        await settled(*h.ledgers)
        assert h.ledgers[0].load("a") == 4
        for who, ticket in ((1, waiting[0]), (1, waiting[1]), (0, lost[0])):
            h.end(who, ticket)
        assert (await h.grants(5))[-1] is behind


async def test_one_that_closes_gives_back_at_once() -> None:
    async with house("x", "y", model=endpoint()) as h:
        h.line_up(0)
        await h.grants(1)
        waiting = h.line_up(1)
        await settled(*h.ledgers)

        await h.activators[0].ledgers.aclose()

        assert (await h.grants(2))[-1] is waiting


async def test_a_grant_that_nobody_takes_up_passes_on_within_two_seconds() -> None:
    async with house("x", "y", "z", model=endpoint()) as h:
        running = h.line_up(0)
        await h.grants(1)
        deaf = h.line_up(1)
        await settled(*h.ledgers)
        waiting = h.line_up(2)
        await settled(*h.ledgers)
        await h.activators[1].link.aclose()  # it lives, and hears and says nothing

        h.end(0, running)
        await eventually(lambda: len(h.granted) == 2, within=3.0)

        assert h.granted[1] == (2, waiting)
        assert deaf.replica is None


async def test_a_grant_whose_news_was_lost_is_found_by_asking() -> None:
    async with house("x", "y", model=endpoint()) as h:
        running = h.line_up(0)
        await h.grants(1)
        waiting = h.line_up(1)
        await settled(*h.ledgers)
        h.server.ask("CLIENT", "KILL", "TYPE", "pubsub")

        h.end(0, running)

        assert (await h.grants(2))[-1] is waiting


# --- a store that fails


async def test_an_empty_store_after_a_restart_grants_nothing_before_all_have_declared() -> None:
    with redis_server() as server:
        async with house("x", "y", model=endpoint(concurrency=2), server=server) as h:
            h.line_up(0)
            mine = h.line_up(1)
            await h.grants(2)
            server.kill()
            server.start()
            newcomer = h.line_up(0)

            await eventually(lambda: all(ledger.is_settled for ledger in h.ledgers), within=10)
            await eventually(lambda: server.keys(h.prefix))
            assert len(h.granted) == 2
            h.end(1, mine)
            assert (await h.grants(3))[-1] is newcomer
            assert h.most == {"a": 2}


async def test_a_store_that_has_forgotten_gives_slots_in_few_steps_again() -> None:
    with redis_server() as server:
        async with house("x", "y", model=endpoint(concurrency=2), server=server) as h:
            server.ask("FLUSHALL")
            ticket = h.line_up(0)
            await h.grants(1)
            h.end(0, ticket)
            await settled(*h.ledgers)
            asked, looked = h.calls(), h.commands("time")

            for number in range(2, 32):
                ticket = Ticket()
                assert h.ledgers[0].acquire_now(ticket, partial(took, h)) is ASKED
                await h.grants(number)
                h.end(0, ticket)
                await settled(*h.ledgers)

            assert h.calls() - asked >= 2 * 30
            assert h.commands("time") - looked < 10, "which only the dearer way asks for"


def took(h: House, ticket: Ticket, replica: Replica | None) -> None:
    assert replica is not None
    h._got(0, ticket, replica)


async def test_without_the_store_each_keeps_to_its_share() -> None:
    with redis_server() as server:
        model = endpoint(concurrency=5)
        async with house("x", "y", model=model, server=server, timeout=0.3) as h:
            kept = [h.line_up(0) for _ in range(4)]
            await h.grants(4)
            server.pause()
            more = [h.line_up(number % 2) for number in range(8)]
            await eventually(lambda: all(ledger.is_alone for ledger in h.ledgers))

            # shares of 3 and 2: the first has more than its own, and keeps it
            await eventually(lambda: len(h.granted) in (4 + 2, 4 + 3))
            server.resume()
            await eventually(lambda: not any(ledger.is_alone for ledger in h.ledgers), within=5)
            for ticket in kept:
                h.end(0, ticket)
            ended = 4

            def end_all() -> bool:
                nonlocal ended
                for who, ticket in h.granted[ended:]:
                    h.end(who, ticket)
                    ended += 1
                return ended == 4 + len(more)

            await eventually(end_all, within=10)
            await settled(*h.ledgers)
            assert h.running == {"a": 0}


async def test_a_share_of_nothing_waits_for_the_store() -> None:
    with redis_server() as server:
        async with house("x", "y", model=endpoint(), server=server, timeout=0.3) as h:
            server.pause()
            waiting = [h.line_up(0), h.line_up(1)]
            await eventually(lambda: all(ledger.is_alone for ledger in h.ledgers))
            await eventually(lambda: len(h.granted) == 1)
            lucky, first = h.granted[0]
            server.resume()
            await eventually(lambda: not any(ledger.is_alone for ledger in h.ledgers), within=5)
            await settled(*h.ledgers)
            assert len(h.granted) == 1
            h.end(lucky, first)
            assert {id(ticket) for ticket in await h.grants(2)} == {
                id(ticket) for ticket in waiting
            }


async def test_who_does_not_know_how_many_there_are_takes_nothing_without_the_store() -> None:
    with redis_server() as server:
        async with house("x", "y", model=endpoint(concurrency=4), server=server, timeout=0.3) as h:
            newcomer = h.activators[1].roster
            newcomer.is_acquainted, newcomer.members = False, frozenset(("y",))
            server.kill()
            for number in range(6):
                h.line_up(number % 2)
            await eventually(lambda: all(ledger.is_alone for ledger in h.ledgers))
            await eventually(lambda: len(h.granted) == 2)
            assert [who for who, _ in h.granted] == [0, 0]

            newcomer.get_acquainted()

            await eventually(lambda: [who for who, _ in h.granted] == [0, 0, 1, 1, 1])


async def test_in_a_full_redis_slots_are_given_as_ever() -> None:
    with redis_server() as server:
        async with house("x", "y", model=endpoint(), server=server) as h:
            running = h.line_up(0)
            await h.grants(1)
            server.ask("CONFIG", "SET", "maxmemory", 1)

            # one after the other by more than their ideas of the store's clock may differ
            began = asyncio.get_running_loop().time() - 5.0
            waiting = [
                h.line_up(who, Ticket(arrived=began + at)) for at, who in enumerate((1, 0, 1))
            ]
            await settled(*h.ledgers)
            h.end(0, running)
            for number, ticket in enumerate(waiting):
                assert (await h.grants(number + 2))[-1] is ticket
                h.end(h.granted[-1][0], ticket)

            await settled(*h.ledgers)
            assert not any(ledger.is_alone for ledger in h.ledgers)
            assert h.most == {"a": 1}


async def test_flushed_scripts_are_sent_again() -> None:
    async with house("x", model=endpoint()) as h:
        h.server.ask("SCRIPT", "FLUSH")
        h.line_up(0)
        await h.grants(1)


async def test_a_ledger_of_another_version_is_left_alone() -> None:
    async with house("x", model=endpoint()) as h:
        link = h.activators[0].link
        await link.command("HSET", link.keys.of("m", "slots", "state"), "v", str(VERSION + 1))
        mine = h.line_up(0)

        await eventually(lambda: h.ledgers[0].is_alone)
        assert await h.grants(1) == [mine]
        assert await link.command("HGET", link.keys.of("m", "slots", "state"), "v") == b"%d" % (
            VERSION + 1
        )

        before = h.calls()
        for _ in range(20):
            h.line_up(0)
            await asyncio.sleep(0.01)
        assert h.calls() <= before + 1  # it is asked again in its time, not sooner


async def test_a_store_that_is_away_is_asked_now_and_then_and_not_without_a_pause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with redis_server() as server:
        async with house("x", model=endpoint(), server=server) as h:
            h.line_up(0)
            await h.grants(1)
            server.kill()
            clock = asyncio.get_running_loop().time
            since = clock()
            for _ in range(50):
                h.line_up(0)
                await asyncio.sleep(0.01)
            await eventually(lambda: h.ledgers[0].is_alone)

            tried = [each for each in caplog.records if each.message == "slots are shared out"]
            assert 1 <= len(tried) <= 1 + (clock() - since) / AWAY_CHECK


async def test_when_the_last_has_left_nothing_is_left_behind() -> None:
    async with house("x", "y", model=endpoint(concurrency=2)) as h:
        for number in range(10):
            h.line_up(number % 2)
        await h.grants(2)
        prefix, server = h.prefix, h.server
        assert server.keys(prefix)
        for each in h.activators:
            await each.ledgers.aclose()
        assert server.keys(prefix) == []


async def test_a_replica_that_nobody_offers_any_more_is_no_reason_to_look_through_the_line() -> (
    None
):
    async with house("x", model=endpoint(concurrency=1)) as h:
        running = h.line_up(0)
        await h.grants(1)
        h.ledgers[0].offer([])
        await settled(*h.ledgers)
        h.end(0, running)
        for _ in range(500):
            h.line_up(0)
        await settled(*h.ledgers)
        before = h.commands("hget")

        for _ in range(20):
            h.line_up(0)
            await settled(*h.ledgers)

        assert h.commands("hget") - before < 100
