"""The end of an activator: what is in flight finishes, what is held is told."""

from __future__ import annotations

import asyncio

import pytest

from activator.aiokit.tasks import Tasks
from activator.proxy import listener
from tests.rawclient import Cut
from tests.replica import Talk, hello
from tests.stage import request, stage
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("each_write")


async def test_what_is_held_is_told_so() -> None:
    async with stage(ready=False) as s:
        client = await s.send(request(method="POST", body=b"x"))
        await s.until_in_line(1)
        stopping = Tasks("test").spawn(s.stop(grace=0.1), name="stop")
        reply = await client.reply()
        await client.close()
        await stopping

        assert (reply.status, reply.why) == (503, "shutting_down")
        assert reply.get("connection") == b"close"


async def test_who_still_sends_when_told_so_is_not_reset() -> None:
    size = 64 << 20
    async with stage(ready=False, queue={"bufferBytes": "1KiB"}) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        client.writer.transport.set_write_buffer_limits(0)
        client.send(bytes(size))
        await s.until_in_line(1)
        stopping = Tasks("test").spawn(s.stop(), name="stop")
        await client.drain()  # who uploads looks for an answer once all has been sent
        reply = await client.reply()
        await client.close()
        await stopping

        assert (reply.status, reply.why) == (503, "shutting_down")


async def test_who_never_leaves_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "SEEN_OFF", 0.05)
    async with stage(ready=False) as s:
        client = await s.send(request(method="POST", body=b"x"))
        await s.until_in_line(1)

        async with asyncio.timeout(5.0):
            await s.stop()

        assert (await client.reply()).why == "shutting_down"
        assert not s.proxy.connections


async def test_what_is_in_flight_finishes_and_resting_connections_are_closed() -> None:
    release = asyncio.Event()

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/slow":
            await release.wait()
        await hello(talk)

    async with stage(behave) as s:
        resting = await s.send(request())
        await resting.reply()
        slow = await s.send(request("/slow"))
        await s.replica.heard(2)
        stopping = Tasks("test").spawn(s.stop(grace=5.0), name="stop")

        assert await resting.ended() == "eof"
        release.set()
        reply = await slow.reply()
        await slow.close()
        await stopping

        assert (reply.status, reply.body) == (200, b"hello")
        assert reply.get("connection") == b"close"


async def test_what_does_not_finish_in_time_is_broken_off() -> None:
    async def behave(talk: Talk) -> None:
        talk.begin_chunks()
        await talk.gone()

    async with stage(behave) as s:
        client = await s.send(request())
        await client.head()
        await s.stop(grace=0.1)

        with pytest.raises(Cut):
            await client.chunk()
        await eventually(lambda: s.replica.open == 0)


async def test_what_is_held_may_still_be_served_within_the_grace() -> None:
    async with stage(ready=False) as s:
        client = await s.send(request())
        await s.until_in_line(1)
        stopping = Tasks("test").spawn(s.stop(grace=5.0), name="stop")
        await s.replica.start()

        assert (await client.reply()).status == 200
        await client.close()
        await stopping
