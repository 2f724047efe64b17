"""What a replica answers to a request that went straight: whatever it is, and when it is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.answers import chunks, hint, pieces, until_close
from tests.integration.proxy.ways import BEFORE, Ways, count, warmed
from tests.replica import hello, says
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.replica import Behaviour, Talk

pytestmark = pytest.mark.usefixtures("each_write")


# --- something else comes back


@pytest.mark.parametrize(
    "behave",
    [
        pieces,
        chunks,
        until_close,
        hint,
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Never: before\r\n\r\nhello"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nKeep-Alive: timeout=9\r\n\r\nhello"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"),
    ],
    ids=["pieces", "chunks", "until close", "a hint", "a new head", "Keep-Alive", "close"],
)
async def test_an_answer_in_whichever_form(ways: Ways, behave: Behaviour) -> None:
    async with stage() as s:
        await warmed(s)
        s.replica.behave = behave
        for _ in range(3):
            reply = await s.get()  # anew each time: the end of the connection may end an answer
            assert (reply.status, reply.body) == (200, b"hello")

        assert ways.whole + ways.became >= 3
        assert count(s) == {(200, ""): BEFORE + 3}


@pytest.mark.parametrize("status", [204, 304, 404, 500])
async def test_an_answer_with_whichever_status(ways: Ways, status: int) -> None:
    async with stage() as s:
        client = await warmed(s)
        length = b"" if status in (204, 304) else b"Content-Length: 0\r\n"
        s.replica.behave = says(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, length))
        for _ in range(4):
            client.send(request())
            assert (await client.reply()).status == status

        assert ways.whole >= 1
        assert count(s) == {(200, ""): BEFORE, (status, ""): 4}


async def test_what_follows_an_answer_is_nobodys(ways: Ways) -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with stage(says(raw + b"hello")) as s:
        client = await warmed(s)
        s.replica.behave = says(raw + b"hello" + raw + b"other")
        client.send(request())

        assert (await client.reply()).body == b"hello"
        assert ways.became == 1
        s.replica.behave = says(raw + b"hello")
        client.send(request())
        assert (await client.reply()).body == b"hello"
        assert s.replica.connections == 2


# --- it goes wrong


async def resets(talk: Talk) -> None:
    talk.reset()


async def closes(talk: Talk) -> None:
    await talk.close()


async def breaks_off(talk: Talk) -> None:
    talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe")
    await talk.drain()
    talk.reset()


@pytest.mark.parametrize("ends", [resets, closes])
async def test_it_is_repeated_where_the_replica_ends_without_an_answer(
    ways: Ways, ends: Behaviour
) -> None:
    async with stage(replicas=2) as s:
        client = await warmed(s, times=4 * BEFORE)
        died = 0

        async def once(talk: Talk) -> None:
            nonlocal died
            died += 1
            await (ends(talk) if died == 1 else hello(talk))

        for replica in s.replicas:
            replica.behave = once
        client.send(request())

        assert (await client.reply()).status == 200
        assert died == 2
        assert ways.became == 1


@pytest.mark.parametrize(
    ("behave", "status"), [(says(b"what?\r\n\r\n"), 502), (says(b"HTTP/1.1 99 X\r\n\r\n"), 502)]
)
async def test_an_answer_that_is_none_is_said(ways: Ways, behave: Behaviour, status: int) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = behave
        client.send(request())

        assert (await client.reply()).status == status
        assert ways.became >= 1


async def test_an_answer_that_breaks_off_is_broken_off(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = breaks_off
        client.send(request())
        await client.head()

        assert await client.ended() == "reset"
        assert ways.became == 1
        assert count(s)[200, "broken_off"] == 1


async def never(talk: Talk) -> None:
    await talk.gone()


@pytest.mark.parametrize("setting", ["firstByte", "total"])
async def test_its_clocks_run(ways: Ways, setting: str) -> None:
    async with stage(timeouts={setting: "300ms"}) as s:
        client = await warmed(s)
        s.replica.behave = never
        client.send(request())
        reply = await client.reply()

        assert reply.status == 504
        assert f"timeouts.{setting}" in reply.json()["detail"]
        assert ways.became == 1
        await eventually(lambda: s.replica.open == 0)


async def test_a_changed_clock_holds_for_the_next_one(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.config["endpoints"][0]["timeouts"] = {"firstByte": "200ms"}
        s.rewrite()
        await eventually(lambda: s.live.endpoint.timeouts.first_byte == 0.2)
        await warmed(s)
        s.replica.behave = never
        client.send(request())

        assert (await client.reply()).status == 504
        assert ways.became >= 1


@pytest.mark.usefixtures("each_store")
@pytest.mark.parametrize("leave", ["fin", "rst"])
async def test_a_client_that_leaves_is_noticed(ways: Ways, leave: str) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = never
        client.send(request())
        await s.replica.heard(BEFORE + 1)
        (client.half_close if leave == "fin" else client.reset)()

        await eventually(lambda: s.replica.open == 0)
        await eventually(lambda: count(s).get((499, "client_left")) == 1)
        assert ways.became >= 1


async def test_a_replica_that_is_stopped_takes_none_with_it(ways: Ways) -> None:
    async with stage() as s:
        client = await warmed(s)
        s.replica.behave = never
        client.send(request())
        await s.replica.heard(BEFORE + 1)
        (live,) = s.live.replicas.values()
        s.replica.behave = hello
        live.pool.abort()

        assert (await client.reply()).status in (200, 502)
        assert ways.became == 1
