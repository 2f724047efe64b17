"""The event stream: past and present without a gap, readers that leave, streams that end."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from activator.admin import follow
from activator.admin.follow import MAX_READERS
from tests.support import eventually
from tests.unit.admin.support import Admin, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Reader:
    """Takes a stream apart into its blocks."""

    def __init__(self, content: Any) -> None:
        self._content = content

    async def block(self) -> dict[str, str]:
        """The next block; a comment is under the key ""."""
        fields = {}
        async with asyncio.timeout(2):
            while (line := (await self._content.readline()).decode()) not in ("\n", ""):
                name, _, value = line.rstrip("\n").partition(":")
                fields[name] = value.strip()
        return fields

    async def event(self) -> dict[str, Any]:
        while "data" not in (block := await self.block()):
            assert block, "the stream has ended"
        found: dict[str, Any] = json.loads(block["data"])
        return found


@asynccontextmanager
async def following(admin: Admin, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    async with admin.client.get(admin.url + "/api/events" + query, headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/event-stream"
        yield Reader(answer.content)


async def test_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "STUCK", 0.01)
    async with running() as admin:
        reader, writer = await asyncio.open_connection("127.0.0.1", admin.port, limit=1000)
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        for _ in range(20):
            admin.events.record("llama", "activated", "x" * (1 << 20))
        try:
            await eventually(lambda: not admin.connections())
        finally:
            writer.transport.abort()


async def test_tells_what_happens_next() -> None:
    async with running() as admin:
        admin.events.record("llama", "before", "")
        async with following(admin) as reader:
            event = admin.events.record("llama", "activated", "demand", replicas=1)
            assert await reader.event() == {
                "id": event.id,
                "at": event.at,
                "endpoint": "llama",
                "action": "activated",
                "reason": "demand",
                "fields": {"replicas": 1},
                "activator": "",
            }


async def test_first_tells_what_came_after_an_id() -> None:
    async with running() as admin:
        first, second = (admin.events.record("llama", f"did {n}", "") for n in range(2))
        async with following(admin, "?since=0") as reader:
            assert [(await reader.event())["id"] for _ in range(2)] == [first.id, second.id]
            third = admin.events.record("llama", "did 3", "")
            assert (await reader.event())["id"] == third.id


async def test_the_id_of_a_reconnecting_browser_beats_the_query() -> None:
    async with running() as admin:
        first, second = (admin.events.record("llama", f"did {n}", "") for n in range(2))
        async with following(admin, "?since=0", **{"Last-Event-ID": str(first.id)}) as reader:
            assert (await reader.event())["id"] == second.id


async def test_tells_how_many_it_no_longer_has() -> None:
    async with running() as admin:
        first = admin.events.record("llama", "first", "")
        for _ in range(1005):
            admin.events.record("llama", "next", "")
        async with following(admin, f"?since={first.id}") as reader:
            await reader.block()
            lost = await reader.block()
            assert (lost["event"], json.loads(lost["data"])) == ("lost", {"lost": 5})


async def test_says_that_it_lives_while_nothing_happens() -> None:
    async with running(keep_alive=0.01) as admin, following(admin) as reader:
        await reader.block()
        assert "still here" in (await reader.block())[""]


async def test_a_reader_that_leaves_is_forgotten() -> None:
    async with running(keep_alive=0.01) as admin:
        async with following(admin) as reader:
            await reader.block()
            assert admin.events.subscribers == 1
        await eventually(lambda: admin.events.subscribers == 0)


async def test_streams_end_when_the_port_closes_and_hold_nothing_up() -> None:
    async with asyncio.timeout(5), aiohttp.ClientSession() as client:  # aiohttp waits a minute
        async with running() as admin:
            answer = await client.get(admin.url + "/api/events")
            admin.events.record("llama", "last", "")
        assert '"last"' in await answer.text()


async def test_readers_are_bounded() -> None:
    async with running() as admin:
        subscriptions = [admin.events.subscribe() for _ in range(MAX_READERS)]
        code, problem = await admin.get("/api/events")
        assert code == 503
        assert "follow already" in problem["detail"]
        for subscription in subscriptions:
            subscription.close()


async def test_the_kept_events_can_be_had_as_a_list() -> None:
    async with running() as admin:
        first, second = (admin.events.record("llama", f"did {n}", "") for n in range(2))
        accept = {"Accept": "application/json"}
        _, listed = await admin.get("/api/events", headers=accept)
        assert [one["id"] for one in listed["events"]] == [first.id, second.id]
        _, listed = await admin.get(f"/api/events?since={first.id}", headers=accept)
        assert [one["id"] for one in listed["events"]] == [second.id]


@pytest.mark.parametrize("since", ["yesterday", "-1", "1.5", "9" * 30, "٣"])
async def test_an_id_that_is_none_is_400(since: str) -> None:
    async with running() as admin:
        code, problem = await admin.get("/api/events", params={"since": since})
        assert code == 400
        assert "whole number" in problem["detail"]
