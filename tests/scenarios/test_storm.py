"""A storm over the whole activator: clients come and leave, replicas crash, refuse and hang, the
file changes. Whatever happens, every request ends and nothing is left."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.rawclient import Cut, RawClient
from tests.replica import hello
from tests.stage import request
from tests.town import Town, endpoint, spawn, town

if TYPE_CHECKING:
    from tests.replica import Replica, Talk

CHANGES = 50
"""Of the weather."""
REQUESTS = 20
"""Between two of them at least: on a slow machine the weather takes its time as well."""
CLIENTS = 24
NAMES = ("a", "b", "c")
LIMIT = 3
EXPECTED = {
    200: {""},
    502: {"upstream_unreachable"},
    503: {"start_failed", "queue_full"},
    504: {"queue_timeout", "upstream_timeout"},
}
"""What a request in this weather may be answered."""


@dataclass
class Tally:
    sent: int = 0
    left: int = 0
    cut: int = 0
    """Streams that broke off where the client could tell."""
    answered: list[tuple[int, str]] = field(default_factory=list)
    whole: int = 0


class Weather:
    """Replicas that mostly answer, sometimes late, in pieces, not at all, or break off.

    `most` is the most requests that one replica ever had whose connections were open: one that the
    activator has given up is none any more, though a server may go on with it for a while.
    """

    def __init__(self, dice: random.Random) -> None:
        self.most = 0
        self._dice = dice
        self._open: dict[Replica, set[Talk]] = defaultdict(set)

    async def __call__(self, talk: Talk) -> None:
        mine = self._open[talk.replica]
        mine.add(talk)
        try:
            for _ in range(3):  # the end of another connection may be read in the same turn
                await asyncio.sleep(0)
            self.most = max(self.most, sum(map(is_open, mine)))
            await self._answer(talk)
        finally:
            mine.discard(talk)

    async def _answer(self, talk: Talk) -> None:
        await talk.body()
        roll = self._dice.random()
        if roll < 0.7:
            await asyncio.sleep(self._dice.uniform(0.0, 0.02))
            await hello(talk)
        elif roll < 0.85:
            talk.begin_chunks()
            for _ in range(5):
                talk.chunk(b"x" * 100)
                await asyncio.sleep(0.01)
            talk.chunk(b"")
        elif roll < 0.9:
            talk.begin_chunks()
            talk.chunk(b"cut")
            await asyncio.sleep(0.01)
            break_off(talk)
        elif roll < 0.95:
            break_off(talk)
        else:
            await talk.gone(within=60.0)


def break_off(talk: Talk) -> None:
    if is_open(talk):
        talk.reset()


def is_open(talk: Talk) -> bool:
    reader, writer = talk.reader, talk.writer
    return not (reader.at_eof() or reader.exception() or writer.is_closing())


HEEDS = 0.25
"""Seconds: what a client makes of Retry-After, the storm being short. One that asks again at once
while the breaker is open counts nothing but refusals."""


async def client(t: Town, dice: random.Random, tally: Tally, *, storm: asyncio.Task[None]) -> None:
    while not storm.done():
        connection = await RawClient.connect("127.0.0.1", t.port)
        try:
            while not storm.done():
                if not await exchange(connection, dice, tally):
                    break
        finally:
            await connection.close()


async def exchange(connection: RawClient, dice: random.Random, tally: Tally) -> bool:
    """One request; False: the connection is of no further use."""
    body = dice.randbytes(dice.choice((0, 10, 20_000)))
    method = "POST" if body else "GET"
    raw = request("/", method=method, body=body or None, host=f"{dice.choice(NAMES)}.example")
    tally.sent += 1
    connection.send(raw)
    if dice.random() < 0.15:
        await asyncio.sleep(dice.uniform(0.0, 0.1))
        tally.left += 1
        return False
    try:
        reply = await connection.reply(within=20.0)
    except Cut:
        tally.cut += 1
        return False
    tally.answered.append((reply.status, reply.why))
    tally.whole += reply.status == 200
    if reply.get("retry-after"):
        await asyncio.sleep(HEEDS)
    return reply.get("connection") != b"close"


async def havoc(t: Town, dice: random.Random, tally: Tally) -> None:
    for _ in range(CHANGES):
        wanted = tally.sent + REQUESTS
        await asyncio.sleep(dice.uniform(0.02, 0.2))
        while tally.sent < wanted:
            await asyncio.sleep(0.005)
        name = dice.choice(NAMES)
        driver = t.driver_of(name)
        match dice.randrange(6):
            case 0:
                driver.fail_next("no luck", times=1)
            case 1 if driver.running:
                driver.crash(dice.choice(driver.running))
            case 2 if driver.running:
                replica = t.by_id[dice.choice(driver.running)]
                await replica.refuse()
                await asyncio.sleep(0.1)
                if any(t.by_id[each] is replica for each in driver.running):
                    await replica.start()
            case 3 if driver.running:
                t.by_id[dice.choice(driver.running)].drop_connections()
            case 4:
                t.rewrite({**t.config, "endpoints": [weathered(each, dice) for each in NAMES]})
            case 5:
                t.control_of(name).verbs.pause()
                await asyncio.sleep(0.05)
                t.control_of(name).verbs.resume()


def weathered(name: str, dice: random.Random) -> dict[str, object]:
    return endpoint(
        name,
        concurrency=dice.randint(1, LIMIT),
        scale={"max": dice.randint(1, 3), "targetConcurrency": 2, "idleTimeout": "100ms"},
        timeouts={"firstByte": "500ms", "idle": "1s"},
        queue={"timeout": "6s", "maxRequests": 200},
        stall="2s",
    )


async def test_in_a_storm_every_request_ends_no_limit_is_passed_and_nothing_is_left() -> None:
    dice = random.Random(20261121)
    tally = Tally()
    made = [weathered(name, dice) for name in NAMES]
    weather = Weather(dice)
    async with town(endpoints=made, behave=weather) as t:
        storm = spawn(havoc(t, dice, tally))
        clients = [spawn(client(t, dice, tally, storm=storm)) for _ in range(CLIENTS)]
        await asyncio.gather(*clients)
        await storm
        await t.at_rest(within=5.0)
        await t.until_zero(*NAMES, within=20.0)

        assert tally.sent == tally.left + tally.cut + len(tally.answered)
        odd = [each for each in tally.answered if each[1] not in EXPECTED.get(each[0], ())]
        assert odd == []
        assert tally.whole > tally.sent / 3, (tally.sent, Counter(tally.answered))
        assert weather.most <= LIMIT
        assert "control_failed" not in [event.action for event in t.app.events.since(0)]
