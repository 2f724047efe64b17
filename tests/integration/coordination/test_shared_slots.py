"""Slots and the line over several activators, with a real Redis that is killed and paused."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest

from activator.control.member import EndpointMember
from activator.coordination.base import ASKED
from activator.coordination.ledger_ops import VERSION
from activator.coordination.ledger_talk import AWAY_CHECK
from activator.core.dispatch import Ticket
from activator.core.endpoint import Endpoint, QueuePolicy, Replica, StaticBackend
from activator.upstream.gate import Gate
from tests.ledgers import activators, settled
from tests.redis_server import fresh_prefix, redis_server, shared_server
from tests.scripted import ScriptedDriver
from tests.support import eventually
from tests.unit.upstream.support import live_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from activator.coordination.redis_ledger import RedisLedger
    from tests.ledgers import Activator
    from tests.redis_server import RedisServer

A = Replica("a", "127.0.0.1", 8000)
B = Replica("b", "127.0.0.1", 8001)


def endpoint(*, concurrency: int = 1, age: float = 30.0) -> Endpoint:
    return Endpoint("m", StaticBackend(()), concurrency=concurrency, queue=QueuePolicy(age=age))


@dataclass
class House:
    """What several activators have of one endpoint; remembers every grant in order."""

    activators: Sequence[Activator]
    ledgers: Sequence[RedisLedger]
    server: RedisServer
    prefix: str
    granted: list[tuple[int, Ticket]] = field(default_factory=list)
    running: Counter[str] = field(default_factory=Counter)
    """Replica → in flight there."""
    most: Counter[str] = field(default_factory=Counter)

    def line_up(self, who: int, ticket: Ticket | None = None) -> Ticket:
        ticket = ticket or Ticket()
        here = self.ledgers[who].acquire(ticket, lambda t, r: self._got(who, t, r))
        if here is not None:
            self._got(who, ticket, here)
        return ticket

    def end(self, who: int, ticket: Ticket) -> None:
        assert ticket.replica is not None
        self.running[ticket.replica.id] -= 1
        self.ledgers[who].release(ticket)

    def _got(self, who: int, ticket: Ticket, replica: Replica) -> None:
        self.granted.append((who, ticket))
        self.running[replica.id] += 1
        self.most[replica.id] = max(self.most[replica.id], self.running[replica.id])

    async def grants(self, count: int, *, within: float = 5.0) -> list[Ticket]:
        await eventually(lambda: len(self.granted) >= count, within=within)
        await settled(*self.ledgers)
        assert len(self.granted) == count
        return [ticket for _, ticket in self.granted]

    def calls(self) -> int:
        """Scripts that Redis has run."""
        return self.commands("evalsha")

    def commands(self, name: str) -> int:
        """How often Redis has carried this one out, within scripts too."""
        stats = self.server.ask("INFO", "commandstats").decode()
        lines = [line for line in stats.splitlines() if line.startswith(f"cmdstat_{name}:")]
        return int(lines[0].split("calls=")[1].split(",")[0]) if lines else 0


@asynccontextmanager
async def house(
    *names: str,
    model: Endpoint,
    server: RedisServer | None = None,
    replicas: Sequence[tuple[Replica, bool]] = ((A, False),),
    timeout: float = 2.0,
) -> AsyncIterator[House]:
    where, prefix = server or shared_server(), fresh_prefix()
    async with activators(where.url, prefix=prefix, names=names, timeout=timeout) as made:
        ledgers = [each.ledgers.make(model) for each in made]
        for ledger in ledgers:
            ledger.offer(replicas)
        await settled(*ledgers)
        yield House(made, ledgers, where, prefix)


def member_with(ledger: RedisLedger) -> EndpointMember:
    """As it speaks for an activator that has this ledger."""
    live = live_endpoint()
    live.gate = Gate(ledger.endpoint, ledger, clock=asyncio.get_running_loop().time)
    driver = ScriptedDriver("m", factory=nothing_is_started)
    return EndpointMember(live, driver, offer=lambda: None, wake=lambda: None)


async def nothing_is_started(replica_id: str) -> tuple[str, int]:
    raise AssertionError(replica_id)


# --- one line, exact limits


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
