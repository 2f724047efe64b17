"""What activators say and hear crosses on its way: no slot is lost by it, and none given twice."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from activator.coordination import store_clock
from activator.coordination.base import ASKED
from activator.coordination.ledger_entry import Entry
from activator.coordination.ledger_ops import Batch, Reply
from activator.coordination.ledger_talk import CHECK, FRESH
from activator.core.dispatch import Ticket, TicketState
from tests.integration.coordination.house import A, House, endpoint, house
from tests.ledgers import settled
from tests.redis_server import redis_server
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.coordination.redis_ledger import RedisLedger
    from activator.core.endpoint import Replica
    from activator.redisio.commands import Word
    from activator.redisio.scripts import Script

LIMIT = 16


def in_flight(h: House) -> int:
    """To the store."""
    record = h.server.ask("HGET", f"{h.prefix}:{{m}}:slots:state", "r:a")
    return int(record.split()[0]) if record else 0


def records(h: House, who: str) -> dict[str, str]:
    """Of one activator's tickets, by seq, as the store has them."""
    flat = h.server.ask("HGETALL", f"{h.prefix}:{{m}}:slots:tickets")
    words = [each.decode() for each in flat]
    of_all = zip(words[::2], words[1::2], strict=True)
    return {seq.partition(":")[2]: of for seq, of in of_all if seq.startswith(f"{who}:")}


async def one_in_line(h: House, who: int, name: str, *, behind: int) -> tuple[Ticket, Ticket, str]:
    """Whose request runs, one with a wish that waits at another activator, and its seq there."""
    running = h.line_up(behind)
    await h.grants(1)
    waiting = h.line_up(who, Ticket(affinity=b"a user"))
    await settled(*h.ledgers)
    (seq,) = records(h, name)
    return running, waiting, seq


async def said_by_now() -> None:
    """What was said in this turn of the loop is on its way, and nothing of the answer is read."""
    await asyncio.sleep(0)


def until(so: Callable[[], bool]) -> None:
    """Without a turn of the loop, so that no activator hears of it."""
    deadline = time.monotonic() + 5.0
    while not so():
        assert time.monotonic() < deadline


def stand_still(seconds: float) -> None:
    """As a process that is stopped, with its loop."""
    time.sleep(seconds)


def a_gap(h: House, who: int) -> None:
    """What was called out may have been missed; that this ledger does something about it is still
    to come, as where it is one of thousands."""
    h.activators[who].ledgers._kit.gaps += 1


def declarations(*ledgers: RedisLedger) -> list[str]:
    """The endpoints for which all is declared, from now on."""
    declared: list[str] = []

    def noted(ledger: RedisLedger) -> Callable[[Batch], None]:
        declare = ledger.declare

        def note(batch: Batch) -> None:
            declared.append(ledger.endpoint.name)
            declare(batch)

        return note

    for each in ledgers:
        vars(each)["declare"] = noted(each)
    return declared


async def test_who_is_offered_a_slot_while_it_says_what_it_wishes_keeps_the_offer() -> None:
    async with house("x", "y", model=endpoint()) as h:
        running, waiting, seq = await one_in_line(h, 1, "y", behind=0)

        h.end(0, running)
        await said_by_now()
        until(lambda: records(h, "y")[seq] == "o\ta")
        h.ledgers[1].offer([(A, False)])  # its wishes are told anew

        assert (await h.grants(2))[-1] is waiting
        h.end(1, waiting)
        await settled(*h.ledgers)
        assert in_flight(h) == 0


async def test_who_is_given_a_slot_in_the_answer_to_a_late_offer_gets_it_once() -> None:
    async with house("x", model=endpoint()) as h:
        (ledger,) = h.ledgers
        running = h.line_up(0)
        await h.grants(1)
        (first,) = records(h, "x")
        waiting = h.line_up(0)
        await settled(ledger)
        (seq,) = records(h, "x").keys() - {first}

        ledger.offered(seq, "a")  # of which it has declared since that it waits
        h.end(0, running)

        assert (await h.grants(2))[-1] is waiting
        assert in_flight(h) == 1
        h.end(0, waiting)
        await settled(ledger)
        assert in_flight(h) == 0
        assert h.most == {"a": 1}


async def test_who_takes_up_an_offer_and_then_hears_that_it_missed_another_gets_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house("x", "y", model=endpoint()) as h:
        here = h.ledgers[0]
        running = h.line_up(1)
        await h.grants(1)
        waiting = h.line_up(0)
        await settled(*h.ledgers)
        is_offered = here.offered

        def offered(seq: str, replica: str) -> None:
            is_offered(seq, replica)
            here.follow(Batch(), Reply(True, missed=[seq]))  # asked before it stood still

        monkeypatch.setattr(here, "offered", offered)
        h.end(1, running)

        assert (await h.grants(2))[-1] is waiting
        h.end(0, waiting)
        await settled(*h.ledgers)
        assert in_flight(h) == 0


async def test_who_gives_up_what_it_cannot_use_is_not_given_it_by_older_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with house("x", "y", "z", model=endpoint()) as h:
        here = h.ledgers[0]
        running, waiting, seq = await one_in_line(h, 0, "x", behind=1)

        h.end(1, running)
        await said_by_now()
        until(lambda: records(h, "x")[seq] == "o\ta")
        here.offer([(A, False)])  # its wishes are told anew, and it is given the slot for that
        urgent = h.line_up(2, Ticket(urgency=0))
        await said_by_now()
        until(lambda: records(h, "x")[seq] == "g\ta" and bool(records(h, "z")))
        here.offer([])
        follow = here.follow

        def follows(batch: Batch, reply: Reply) -> None:
            follow(batch, reply)
            monkeypatch.setattr(here, "follow", follow)
            # when it has said that it gives that up, and has not been answered
            asyncio.get_running_loop().call_soon(here.offer, [(A, False)])

        monkeypatch.setattr(here, "follow", follows)

        assert (await h.grants(2))[-1] is urgent
        h.end(2, urgent)
        assert (await h.grants(3))[-1] is waiting
        h.end(0, waiting)
        await settled(*h.ledgers)
        assert in_flight(h) == 0
        assert h.most == {"a": 1}


async def keep(h: House, who: int, number: int) -> None:
    tickets = [h.line_up(who) for _ in range(number)]
    await eventually(lambda: all(each.state is TicketState.GRANTED for each in tickets))
    for ticket in tickets:
        h.end(who, ticket)
    await settled(*h.ledgers)
    assert in_flight(h) >= number


async def test_what_runs_is_declared_before_anybody_asks_for_what_is_left() -> None:
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        here = h.ledgers[0]
        await keep(h, 0, 2)
        h.line_up(0)
        for _ in range(LIMIT - 2):
            h.line_up(1)
        await eventually(lambda: h.running["a"] == LIMIT - 1)
        asked: list[Replica | None] = []
        asks = Ticket(exclude=("b",))

        def decided(ticket: Ticket, replica: Replica | None) -> None:
            asked.append(replica)
            if replica is not None:
                h._got(0, ticket, replica)

        assert here.acquire_now(asks, decided) is ASKED
        assert h.line_up(0).state is TicketState.GRANTED, "from what is kept"
        here.catch_up()  # before the question has left

        await eventually(lambda: bool(asked))
        await settled(*h.ledgers)
        assert h.most == {"a": LIMIT}
        assert asked == [None]


async def test_from_a_gap_on_nothing_is_given_from_what_was_kept_until_it_is_declared_anew() -> (
    None
):
    async with house("x", "y", model=endpoint(concurrency=LIMIT)) as h:
        here = h.ledgers[0]
        await keep(h, 0, 2)
        answers: list[Replica | None] = []
        a_gap(h, 0)

        assert here.acquire_now(Ticket(), lambda _, r: answers.append(r)) is ASKED
        await eventually(lambda: answers == [A])


async def test_from_a_gap_on_nobody_asks_before_what_runs_is_declared_anew() -> None:
    async with house("x", "y", model=endpoint()) as h:
        keys = [f"{h.prefix}:{{m}}:slots:{part}" for part in ("line", "tickets", "state", "offers")]
        for key in keys:
            h.server.ask("COPY", key, f"{key}:before")
        running = h.line_up(0)
        await h.grants(1)
        for key in keys:  # another Redis has taken over, which knows less
            h.server.ask("DEL", key)
            if h.server.ask("EXISTS", f"{key}:before"):
                h.server.ask("RENAME", f"{key}:before", key)
        a_gap(h, 0)

        waiting = h.line_up(0)
        await settled(*h.ledgers)
        assert h.most == {"a": 1}
        assert waiting.state is TicketState.WAITING
        h.end(0, running)
        await h.grants(2)


async def test_what_was_declared_before_a_gap_is_declared_again_whenever_it_is_answered() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        (here,) = h.ledgers
        declared = declarations(here)
        here.catch_up()
        await eventually(lambda: declared, every=0.0)  # nothing is answered yet
        h.activators[0].ledgers._catch_up()

        await settled(here)
        assert len(declared) == 2


async def test_after_a_gap_all_declare_anew_and_those_first_that_have_something_to_say() -> None:
    async with house("x", model=endpoint(concurrency=LIMIT)) as h:
        ledgers = h.activators[0].ledgers
        idle = [ledgers.make(replace(endpoint(), name=f"idle-{each}")) for each in range(300)]
        busy = [ledgers.make(replace(endpoint(), name=f"busy-{each}")) for each in range(3)]
        for ledger in (*idle, *busy):
            ledger.offer([(A, False)])
        await settled(*idle, *busy)
        for ledger in busy:
            ledger.acquire(Ticket(), lambda _ticket, _replica: None)
        await settled(*busy)
        declared = declarations(*h.ledgers, *idle, *busy)
        ledgers._catch_up()
        await asyncio.sleep(0)
        ledgers._catch_up()  # the first one is not finished, and need not be

        await settled(*h.ledgers, *idle, *busy)
        assert set(declared) == {"m", *(each.endpoint.name for each in (*idle, *busy))}
        assert set(declared[:3]) == {each.endpoint.name for each in busy}


def alone(h: House, who: int) -> None:
    """Its question was not answered."""
    h.ledgers[who]._talk._fall_silent("away", again_in=0.0)


@pytest.mark.parametrize("unheard", [a_gap, alone, lambda h, who: None])
async def test_who_falls_silent_while_a_ledger_is_not_heard_is_buried_once_it_is(
    unheard: Callable[[House, int], None],
) -> None:
    async with house("x", "y", model=endpoint()) as h:
        h.line_up(1)
        await h.grants(1)
        await h.activators[1].link.aclose()  # it is dead

        unheard(h, 0)
        h.activators[0].roster.silence("y")
        h.ledgers[0].catch_up()

        await eventually(lambda: not records(h, "y"))
        assert in_flight(h) == 0
        await settled(h.ledgers[0])
        assert not h.ledgers[0]._dead


async def test_who_is_there_again_before_it_could_be_buried_keeps_what_it_has() -> None:
    async with house("x", "y", model=endpoint()) as h:
        h.line_up(1)
        await h.grants(1)

        a_gap(h, 0)
        h.activators[0].roster.silence("y")
        h.activators[0].roster.join("y")
        h.ledgers[0].catch_up()

        await settled(*h.ledgers)
        assert in_flight(h) == 1
        h.line_up(0)
        await settled(*h.ledgers)
        assert h.most == {"a": 1}


@pytest.mark.parametrize("is_gap", [False, True])
async def test_nobody_looks_again_and_again_while_redis_does_not_answer(*, is_gap: bool) -> None:
    with redis_server() as server:
        model = endpoint(concurrency=2)
        async with house("x", "y", model=model, server=server, timeout=30.0) as h:
            running, _ = h.line_up(0), h.line_up(0)
            await h.grants(2)
            talk = h.ledgers[0]._talk
            looks = 0
            set_timer = talk._set_timer

            def noted() -> None:
                nonlocal looks
                looks += 1
                set_timer()

            vars(talk)["_set_timer"] = noted
            server.pause()
            h.end(0, running)
            await eventually(lambda: talk._calling)
            if is_gap:
                a_gap(h, 0)
            await asyncio.sleep(1.5 * CHECK)  # a look has been due

            assert looks < 20
            server.resume()
            await settled(*h.ledgers)
            h.line_up(1)
            await h.grants(3)


async def test_who_leaves_and_is_closed_at_the_same_moment_says_which_ledger_it_leaves() -> None:
    async with house("x", "y", model=endpoint()) as h:
        ledger = h.ledgers[0]
        running = h.line_up(0)
        await h.grants(1)
        waiting = h.line_up(1)
        await settled(*h.ledgers)
        said: list[str] = []
        run = h.activators[0].link.run

        async def saying(script: Script, keys: Sequence[str], args: Sequence[Word]) -> Any:
            said.extend(str(each).partition("\n")[2] for each in args if "\n" in str(each))
            return await run(script, keys, args)

        vars(h.activators[0].link)["run"] = saying
        ledger.configure(endpoint(concurrency=0))
        ledger.close()

        assert (await h.grants(2))[-1] is waiting
        assert running.state is TicketState.GRANTED
        assert said == [f"m\n{h.prefix}:grants:"]


async def test_whom_the_store_does_not_know_any_more_gives_nothing_from_what_it_kept() -> None:
    with redis_server() as server:
        model = endpoint(concurrency=LIMIT)
        async with house("x", "y", model=model, server=server) as h:
            here = h.ledgers[0]
            stand_still(store_clock.FRESH)  # before it joins it has to ask for the time
            await keep(h, 0, 1)
            h.activators[1].roster.silence("x")
            await settled(h.ledgers[1])
            answers: list[Replica | None] = []

            def is_given_nothing() -> bool:
                ticket = Ticket()
                said = here.acquire_now(ticket, lambda _, r: answers.append(r))
                if said is ASKED:
                    return True
                here.release(ticket)
                return False

            before = h.calls()
            here.silent("nobody")  # it says something
            await said_by_now()
            until(lambda: h.calls() > before)
            server.ask("CLIENT", "PAUSE", 1500, "ALL")  # it hears this answer, and no other

            await eventually(is_given_nothing, within=FRESH / 2)
            assert answers == []
            await eventually(lambda: answers == [A])


@pytest.mark.parametrize("seed", range(6))
async def test_in_any_disorder_limits_hold_and_at_the_end_every_slot_is_free(seed: int) -> None:
    dice = Random(seed)
    limit = dice.choice((2, 8, 9, 16))
    async with house("x", "y", "z", model=endpoint(concurrency=limit)) as h:
        going: set[asyncio.Task[None]] = set()
        loop = asyncio.get_running_loop()
        for _ in range(1200):
            who = dice.randrange(3)
            match dice.randrange(40):
                case 0:
                    h.ledgers[who].catch_up()
                case 1:
                    h.ledgers[who].offer([(A, False)])
                case 2:
                    h.ledgers[who].hold()
                    loop.call_later(dice.random() * 0.01, h.ledgers[who].resume)
                case 3:
                    h.ledgers[who].offer([])
                    loop.call_later(dice.random() * 0.01, h.ledgers[who].offer, [(A, False)])
                case 4:
                    h.server.ask("SCRIPT", "FLUSH")
                case 7:
                    a_gap(h, who)
                    loop.call_later(dice.random() * 0.01, h.ledgers[who].catch_up)
                case 5 | 6:
                    late_news(h.ledgers[who], dice)
                case _ if len(going) < 2 * limit:
                    task = loop.create_task(a_request(h, who, dice))
                    going.add(task)
                    task.add_done_callback(going.discard)
            await asyncio.sleep(dice.choice((0, 0, 0, 0.001)))
        await eventually(lambda: not going, within=10.0)

        assert h.most["a"] <= limit
        assert h.running["a"] == 0
        for ledger in h.ledgers:  # nothing is kept any more
            ledger.hold()
        await settled(*h.ledgers)
        assert in_flight(h) == 0


def late_news(ledger: RedisLedger, dice: Random) -> None:
    """Of a slot that one was offered and did not take up in time, which passed on since."""
    waiting = [entry.seq for entry in ledger._entries.values() if entry.phase == Entry.WAITING]
    if waiting:
        ledger.offered(dice.choice(waiting), "a")


async def a_request(h: House, who: int, dice: Random) -> None:
    """In one of the ways in which they come and go."""
    ledger = h.ledgers[who]
    ticket = Ticket(
        urgency=dice.choice((0, 3, 3, 7)),
        affinity=dice.choice((None, b"a user")),
        exclude=dice.choice(((), (), (), ("b",))),
    )
    has_slot = asyncio.Event()

    def granted(ticket: Ticket, replica: Replica) -> None:
        h._got(who, ticket, replica)
        has_slot.set()

    def line_up() -> None:
        replica = ledger.acquire(ticket, granted)
        if replica is not None:
            granted(ticket, replica)

    def decided(ticket: Ticket, replica: Replica | None) -> None:
        if replica is None:
            line_up()
        else:
            granted(ticket, replica)

    if dice.random() < 0.2:
        line_up()
    else:
        said = ledger.acquire_now(ticket, decided)
        if said is not ASKED:
            decided(ticket, said)
    if dice.random() < 0.1:
        await asyncio.sleep(0)
        if not has_slot.is_set():
            ledger.withdraw(ticket)
            return
    await has_slot.wait()
    await asyncio.sleep(dice.choice((0, 0, dice.random() * 0.005)))
    h.end(who, ticket)
