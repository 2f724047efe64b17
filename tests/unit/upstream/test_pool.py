"""Connections to one replica: which are kept, what they may carry, and that none is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.upstream.pool import FRESH, IDLE_CONNECTIONS, REST, Pool
from tests.unit.upstream.support import ONE
from tests.unit.upstream.wires import Upstream

if TYPE_CHECKING:
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, ResponseHead
    from activator.wire.sink import Lost

pytestmark = pytest.mark.looptime

NOW = 1000.0


class Nobody:
    """A sink that keeps what happened to it."""

    def __init__(self) -> None:
        self.lost_with: list[Lost] = []

    def interim(self, head: ResponseHead) -> None: ...

    takes_whole = False

    def whole(self, head: ResponseHead, body: bytes) -> None: ...
    def answered(self, head: ResponseHead, *, followed: bool) -> None: ...
    def upgraded(self, head: ResponseHead, rest: bytes) -> None: ...
    def data(self, data: bytes) -> None: ...
    def ended(self, trailers: list[Field]) -> None: ...
    def upstream_writable(self, *, ok: bool) -> None: ...
    def on_deadline(self, now: float) -> None: ...

    def lost(self, lost: Lost) -> None:
        self.lost_with.append(lost)


async def rested(pool: Pool, *, since: float = NOW) -> ClientConnection:
    connection = await pool.connect(within=1.0)
    pool.give(connection, now=since)
    return connection


async def test_a_connection_that_came_back_is_taken_again() -> None:
    pool = Pool(ONE, Upstream().kit)
    connection = await rested(pool)

    assert pool.take(repeatable=False, now=NOW + 1) is connection
    assert pool.take(repeatable=False, now=NOW + 1) is None


async def test_the_connection_that_rested_least_is_taken_first() -> None:
    pool = Pool(ONE, Upstream().kit)
    first = await pool.connect(within=1.0)
    second = await pool.connect(within=1.0)
    pool.give(second, now=NOW)
    pool.give(first, now=NOW + 1)

    assert pool.take(repeatable=True, now=NOW + 2) is first
    assert pool.take(repeatable=True, now=NOW + 2) is second


@pytest.mark.parametrize(
    ("announced", "fine", "too_long"), [(None, FRESH, 2.1), (b"timeout=2", 1.0, 1.1)]
)
async def test_what_may_not_be_repeated_needs_a_fresh_connection(
    announced: bytes | None, fine: float, too_long: float
) -> None:
    pool = Pool(ONE, Upstream().kit)
    connection = await rested(pool)
    if announced is not None:
        connection.keep_alive_for = 2.0

    assert pool.take(repeatable=False, now=NOW + too_long) is None
    assert pool.take(repeatable=False, now=NOW + fine) is connection


async def test_what_may_be_repeated_takes_any() -> None:
    pool = Pool(ONE, Upstream().kit)
    connection = await rested(pool)

    assert pool.take(repeatable=True, now=NOW + 50) is connection


async def test_a_connection_that_was_closed_meanwhile_is_not_taken() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    older = await rested(pool)
    await rested(pool)
    up.wire.ends()

    assert pool.take(repeatable=True, now=NOW) is older


async def test_a_connection_that_is_breaking_is_not_taken_although_it_does_not_know_yet() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    older = await rested(pool)
    breaking = await pool.connect(within=1.0)
    up.wire.closed = True
    pool.give(breaking, now=NOW)
    assert pool.take(repeatable=True, now=NOW) is older
    assert pool.take(repeatable=True, now=NOW) is None

    pool.give(older, now=NOW)
    pool.give(breaking, now=NOW)
    up.wire.breaks()
    assert pool.resting == [older]
    assert pool._open == {older}


async def test_a_connection_rests_for_a_while_only() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    await rested(pool, since=up.loop.time())

    await asyncio.sleep(REST - 1)
    assert not up.wire.closed
    await asyncio.sleep(1.1)

    assert up.wire.closed
    assert pool.take(repeatable=True, now=up.loop.time()) is None


async def test_no_more_than_so_many_rest() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    connections = [await pool.connect(within=1.0) for _ in range(IDLE_CONNECTIONS + 2)]
    for connection in connections:
        pool.give(connection, now=NOW)

    assert [wire.closed for wire in up.network.wires].count(True) == 2


async def test_those_that_rest_are_taken_again_the_latest_first() -> None:
    pool = Pool(ONE, Upstream().kit)
    connections = [await pool.connect(within=1.0) for _ in range(IDLE_CONNECTIONS + 1)]
    for connection in connections[:2]:
        pool.give(connection, now=NOW)
    assert pool.take(repeatable=True, now=NOW) is connections[1]
    for connection in connections[1:]:
        pool.give(connection, now=NOW)  # the last finds no room

    taken = [pool.take(repeatable=True, now=NOW) for _ in range(IDLE_CONNECTIONS + 1)]

    assert taken == [*reversed(connections[:-1]), None]


async def test_one_that_ends_while_others_rest_takes_none_of_them_along() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    connections = [await pool.connect(within=1.0) for _ in range(3)]
    for connection in connections:
        pool.give(connection, now=NOW)
    latest, middle = up.network.wires[2], up.network.wires[1]

    latest.ends()
    assert pool.resting == connections[:2]
    middle.ends()
    assert pool.resting == connections[:1]


async def test_closing_ends_all_that_rest() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    connections = [await pool.connect(within=1.0) for _ in range(3)]
    for connection in connections:
        pool.give(connection, now=NOW)

    pool.close()

    assert all(wire.closed for wire in up.network.wires)
    assert not pool.resting


async def test_a_connection_that_cannot_be_had_is_said_and_leaves_nothing() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    up.network.refuses = ConnectionRefusedError("refused")
    with pytest.raises(ConnectionRefusedError):
        await pool.connect(within=1.0)
    up.network.hangs = True
    with pytest.raises(TimeoutError):
        await pool.connect(within=1.0)

    assert pool._open == set()


async def test_a_connection_that_is_closed_at_once_was_none() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    up.network.closes_at_once = True

    with pytest.raises(ConnectionResetError):
        await pool.connect(within=1.0)

    assert pool._open == set()


async def test_closing_ends_what_rests_and_lets_the_others_finish() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    busy = await pool.connect(within=1.0)
    await rested(pool)

    pool.close()

    assert [wire.closed for wire in up.network.wires] == [False, True]
    pool.give(busy, now=NOW)
    assert up.network.wires[0].closed


async def test_a_replica_that_has_gone_gets_no_new_connection() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    pool.close()

    with pytest.raises(ConnectionAbortedError):
        await pool.connect(within=1.0)
    assert up.wire.closed


async def test_aborting_tells_everyone() -> None:
    up = Upstream()
    pool = Pool(ONE, up.kit)
    sink = Nobody()
    busy = await pool.connect(within=1.0)
    busy.begin(b"GET / HTTP/1.1\r\n\r\n", method=b"GET", length=0, upgrade=False, sink=sink)
    await rested(pool)

    pool.abort()

    assert all(wire.closed for wire in up.network.wires)
    assert [lost.detail for lost in sink.lost_with] == ["The replica was stopped"]
    assert pool._open == set()
