"""Requests that go straight one after the other on a connection are one object, which remembers
nothing of the one before; as soon as one of them has become something else the next is another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from activator.proxy.straight import Straight
from tests.answers import chunks
from tests.calls import calls
from tests.leftovers import collected
from tests.replica import hello
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from activator.wire.server import ServerConnection
    from tests.rawclient import RawClient
    from tests.replica import Talk
    from tests.stage import Stage

MODEL: dict[str, Any] = {"match": {"models": ["chat"]}, "dialect": "openai"}


def chat(text: str) -> bytes:
    headers = {"Content-Type": "application/json"}
    body = b'{"model": "chat", "said": "%b"}' % text.encode()
    return request("/v1/chat/completions", method="POST", headers=headers, body=body)


async def echoes(talk: Talk) -> None:
    await talk.answer(200, await talk.body())


async def gone_straight(s: Stage, raw: bytes = request()) -> tuple[RawClient, ServerConnection]:
    """A client whose last request has, and its connection."""
    client = await s.connect()
    for _ in range(4):
        client.send(raw)
        assert (await client.reply()).status == 200
    (connection,) = s.proxy._connections
    assert isinstance(connection.note, Straight)
    return client, connection


@pytest.mark.usefixtures("each_store")
async def test_the_next_one_is_the_same_object(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = calls(monkeypatch, Straight, "whole", "become")
    async with stage() as s:
        client, connection = await gone_straight(s)
        before, went = connection.note, ways["whole"]
        client.send(request() * 3)
        for _ in range(3):
            assert (await client.reply()).status == 200

        assert connection.note is before
        assert (ways["whole"], ways["become"]) == (went + 3, 0)


async def test_each_says_what_is_its_own() -> None:
    async with stage() as s:
        client = await s.connect()
        for number in range(6):
            client.send(request(f"/x?{number}", headers={"X-Request-Id": f"mine-{number}"}))
            assert (await client.reply()).get("x-request-id") == b"mine-%d" % number
            heard = s.replica.requests[-1]
            assert heard.target == b"/x?%d" % number
            assert heard.get("x-request-id") == b"mine-%d" % number


async def test_what_is_admitted_otherwise_goes_by_that() -> None:
    async with stage(queue={"bestUrgency": 0}) as s:
        urgent = request("/other", headers={"Priority": "u=1"})
        first, _ = await gone_straight(s, urgent)
        await first.close()
        await eventually(lambda: not s.proxy._connections)
        client, connection = await gone_straight(s)
        before = connection.note
        assert isinstance(before, Straight)
        usual = before.urgency
        for urgency, target, raw in [(1, b"/other", urgent), (usual, b"/", request())] * 3:
            client.send(raw)
            assert (await client.reply()).status == 200
            assert s.replica.requests[-1].target == target
            assert before.urgency == urgency

        assert usual != 1
        assert connection.note is before


@pytest.mark.usefixtures("each_store")
async def test_one_that_has_to_wait_is_kept_small_and_the_next_is_another() -> None:
    async with stage() as s:
        client, connection = await gone_straight(s)
        before = connection.note
        s.live.gate.pause()
        client.send(request())
        await s.until_held(1)
        assert connection.note is None
        s.live.gate.resume()
        assert (await client.reply()).status == 200
        client.send(request())
        assert (await client.reply()).status == 200

        assert isinstance(connection.note, Straight)
        assert connection.note is not before


async def test_one_that_is_answered_in_pieces_has_its_slot_to_itself() -> None:
    async with stage(concurrency=1) as s:
        client, connection = await gone_straight(s)
        s.replica.behave = chunks
        client.send(request())
        assert (await client.reply()).status == 200
        assert connection.note is None
        s.replica.behave = hello
        client.send(request())

        assert (await client.reply()).status == 200
        await eventually(lambda: not any(s.live.gate.loads.values()))


@pytest.mark.usefixtures("each_store")
async def test_a_body_that_waits_is_that_of_its_own_request() -> None:
    async with stage(echoes, **MODEL) as s:
        client, _ = await gone_straight(s, chat("one"))
        for text in ("two", "three"):
            s.live.gate.pause()
            client.send(chat(text))
            await s.until_held(1)
            s.live.gate.resume()
            assert text.encode() in (await client.reply()).body
            client.send(chat("between"))
            assert b"between" in (await client.reply()).body


async def test_of_several_replicas_each_is_asked_in_its_turn() -> None:
    async with stage(replicas=2) as s:
        client, connection = await gone_straight(s)
        before, numbers = connection.note, list[int]()
        for _ in range(10):
            client.send(request())
            assert (await client.reply()).status == 200
            assert isinstance(connection.note, Straight)
            numbers.append(connection.note.seq)

        assert connection.note is before
        assert numbers == sorted(set(numbers))  # each has one of its own
        assert all(len(replica.requests) > 3 for replica in s.replicas)


async def test_nothing_is_kept_of_a_client_that_has_left() -> None:
    async with stage() as s:
        client, connection = await gone_straight(s)
        with collected(Straight) as left:
            client.reset()
            await eventually(lambda: not s.proxy.connections)
            assert connection.note is None
            await asyncio.sleep(0)
        assert not left


async def test_nothing_is_kept_for_connections_that_rest_in_a_crowd() -> None:
    async with stage() as s:
        client, connection = await gone_straight(s)
        s.proxy._crowd(True)  # as Intake tells it
        assert connection.note is None
        for _ in range(2):
            client.send(request())
            assert (await client.reply()).status == 200
            assert connection.note is None
        s.proxy._crowd(False)  # as above
        client.send(request())

        assert (await client.reply()).status == 200
        assert isinstance(connection.note, Straight)
