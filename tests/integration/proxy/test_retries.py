"""What is sent again when a replica fails before its first byte, and what never is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.replica import Behaviour, Talk, deaf, hello
from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from activator.upstream.pool import Pool

pytestmark = pytest.mark.usefixtures("each_store")

UNREACHABLE = (502, "upstream_unreachable")


def dies_at_first(times: int = 1) -> Behaviour:
    """Reads the request and resets the connection, so often; then answers."""
    left = times

    async def behave(talk: Talk) -> None:
        nonlocal left
        await talk.body()
        if left:
            left -= 1
            talk.reset()
        else:
            await hello(talk)

    return behave


def asked(s: Stage) -> int:
    return sum(len(replica.requests) for replica in s.replicas)


def pool(s: Stage) -> Pool:
    return next(iter(s.live.replicas.values())).pool


# --- written and not answered


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_an_idempotent_request_meets_another_replica(method: str) -> None:
    async with stage(dies_at_first(), replicas=2) as s:
        reply = await s.get(method=method)

        assert reply.status == 200
        assert [len(replica.requests) for replica in s.replicas] == [1, 1]


async def test_an_idempotent_request_is_sent_again_with_its_body() -> None:
    async with stage(dies_at_first(), replicas=2) as s:
        reply = await s.ask(request(method="PUT", body=b"b" * 50_000))

        assert reply.status == 200
        bodies = [bytes(replica.requests[0].body) for replica in s.replicas]
        assert bodies == [b"b" * 50_000] * 2


async def test_the_only_replica_is_not_asked_again_when_it_is_back() -> None:
    """It counts as another incarnation, and yet it is the server that failed the request."""
    async with stage(dies_at_first()) as s:
        before = s.live.replicas.keys() | set()
        reply = await s.get()

        assert (reply.status, reply.why) == UNREACHABLE
        assert asked(s) == 1
        await eventually(lambda: s.live.replicas and not before & s.live.replicas.keys())
        assert (await s.get()).status == 200


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_request_that_every_replica_leaves_unanswered_does_not_wait(replicas: int) -> None:
    """A server that closes in good order is not reset, and yet no other will come."""

    async def closes(talk: Talk) -> None:
        await talk.body()
        await talk.close()

    async with stage(closes, replicas=replicas) as s:
        reply = await s.ask(request(), within=2.0)

        assert (reply.status, reply.why) == UNREACHABLE
        assert asked(s) == replicas


@pytest.mark.parametrize("method", ["POST", "PATCH", "LOCK"])
async def test_what_may_have_been_worked_on_is_not_sent_again(method: str) -> None:
    async with stage(dies_at_first(), replicas=2) as s:
        reply = await s.ask(request(method=method, body=b"once"))

        assert (reply.status, reply.why) == UNREACHABLE
        assert asked(s) == 1


async def test_three_replicas_are_enough_for_one_request() -> None:
    async with stage(dies_at_first(100), replicas=4) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == UNREACHABLE
        assert asked(s) == 3


async def test_repetitions_are_budgeted() -> None:
    async with stage(dies_at_first(100), replicas=4) as s:
        while s.live.take_retry():
            pass

        reply = await s.get()

        assert (reply.status, reply.why) == UNREACHABLE
        assert asked(s) == 1


async def test_time_at_a_replica_that_failed_is_not_the_proxys_own() -> None:
    async def behave(talk: Talk) -> None:
        await talk.body()
        if asked(s) == 1:
            await asyncio.sleep(0.3)
            talk.reset()
        else:
            await hello(talk)

    async with stage(behave, replicas=2) as s:
        assert (await s.get()).status == 200
        assert asked(s) == 2
        assert s.live.metrics.overheads.total < 0.2


async def test_nothing_is_sent_again_once_an_answer_has_begun() -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        await talk.drain()
        await seen.wait()
        talk.reset()

    seen = asyncio.Event()
    async with stage(behave, replicas=2) as s:
        client = await s.send(request())
        await client.head()
        seen.set()

        assert await client.ended() == "reset"
        assert asked(s) == 1


# --- not written


@pytest.mark.parametrize("body", [b"", b"x" * 1000, b"x" * 300_000])
async def test_a_post_that_was_refused_is_held_until_the_replica_is_back(body: bytes) -> None:
    async with stage() as s:
        await s.replica.refuse()
        client = await s.send(request(method="POST", body=body))
        await s.until_held(1)
        assert asked(s) == 0

        await s.replica.start()

        assert (await client.reply()).status == 200
        assert bytes(s.replica.requests[0].body) == body


async def test_a_post_that_was_refused_goes_to_a_replica_that_is_there() -> None:
    async with stage(replicas=2) as s:
        await s.replicas[0].refuse()
        for _ in range(4):
            assert (await s.post(b"x")).status == 200
        assert len(s.replicas[1].requests) == 4


async def test_a_post_that_nobody_accepts_in_time_goes_elsewhere() -> None:
    async with stage(timeouts={"connect": "100ms"}, balance="first_available") as s:
        with deaf() as address:
            working = next(iter(s.live.replicas.values())).replica
            s.live.offer([(address, False), (working, False)])

            assert (await s.post(b"x")).status == 200


async def test_a_client_may_leave_while_its_connection_is_being_opened() -> None:
    async with stage(timeouts={"connect": "30s"}) as s:
        with deaf() as address:
            s.live.offer([(address, False)])
            client = await s.send(request())
            await eventually(lambda: s.live.gate.in_flight == 1)

            client.half_close()

            await eventually(lambda: s.live.gate.in_flight == 0, within=1.0)
            await s.live.tasks.aclose()


async def test_a_post_whose_body_was_not_all_sent_is_sent_again() -> None:
    first = True

    async def behave(talk: Talk) -> None:
        nonlocal first
        if first:
            first = False
            talk.reset()
        else:
            await talk.answer(200, await talk.body())

    async with stage(behave, replicas=2) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 10\r\n\r\nfirst")
        await eventually(lambda: asked(s) == 2)
        client.send(b"-last")

        assert (await client.reply()).body == b"first-last"


async def test_a_body_that_the_only_replica_does_not_want_to_see_does_not_wait() -> None:
    async def closes(talk: Talk) -> None:
        await talk.close()

    async with stage(closes) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 10\r\n\r\nfirst")
        reply = await client.reply(within=2.0)

        assert (reply.status, reply.why) == UNREACHABLE


async def test_a_body_too_large_to_be_kept_is_not_sent_again() -> None:
    async def behave(talk: Talk) -> None:
        await talk.reader.readexactly(200_000)
        talk.reset()

    async with stage(behave, replicas=2) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: 900000\r\n\r\n")
        client.send(b"x" * 300_000)
        reply = await client.reply()

        assert (reply.status, reply.why) == UNREACHABLE
        assert asked(s) == 1


# --- pooled connections


async def test_a_connection_is_kept_and_used_again() -> None:
    async with stage() as s:
        for _ in range(3):
            await s.post(b"x")

        assert s.replica.connections == 1


async def test_a_connection_that_the_replica_closes_is_not_kept() -> None:
    async def behave(talk: Talk) -> None:
        await talk.answer(200, b"x", fields=b"Connection: close\r\n")
        await talk.close()

    async with stage(behave) as s:
        for _ in range(3):
            assert (await s.post(b"x")).status == 200

        assert s.replica.connections == 3


async def test_a_connection_closed_at_rest_is_forgotten() -> None:
    async with stage() as s:
        await s.get()
        s.replica.drop_connections()
        await eventually(lambda: not pool(s)._open)

        assert (await s.post(b"x")).status == 200
        assert s.replica.connections == 2


async def test_a_connection_that_rested_for_long_carries_nothing_that_may_not_be_repeated() -> None:
    async with stage() as s:
        await s.get()
        pool(s).resting[0].resting_since -= 2.1

        await s.get()
        assert s.replica.connections == 1
        pool(s).resting[0].resting_since -= 2.1
        await s.post(b"x")

        assert s.replica.connections == 2


async def test_an_announced_keep_alive_is_trusted_less_than_it_says() -> None:
    async def behave(talk: Talk) -> None:
        await talk.answer(200, b"x", fields=b"Keep-Alive: timeout=2, max=100\r\n")

    async with stage(behave) as s:
        await s.post(b"x")
        pool(s).resting[0].resting_since -= 0.9
        await s.post(b"x")
        assert s.replica.connections == 1
        pool(s).resting[0].resting_since -= 1.1
        await s.post(b"x")

        assert s.replica.connections == 2


async def test_a_replica_that_is_out_of_rotation_loses_its_resting_connections_only() -> None:
    release = asyncio.Event()

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/slow":
            await release.wait()
        await hello(talk)

    async with stage(behave) as s:
        slow = await s.send(request("/slow"))
        await s.replica.heard(1)
        await s.get()
        assert s.replica.open == 2

        s.live.offer([])
        await eventually(lambda: s.replica.open == 1)
        release.set()

        assert (await slow.reply()).body == b"hello"
