"""Requests that nothing is ready for: which of them the endpoint's fallback answers, and how."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from activator.errors import StoreUnavailable
from activator.proxy.detour import Detour
from tests.faults import Faulty, failures
from tests.integration.fallback.cloud import (
    POST,
    cloud,
    cold,
    outcomes,
    served_by,
    told,
)
from tests.redis_server import fresh_prefix, redis_server
from tests.replica import Talk, says
from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from datetime import date
    from pathlib import Path


# --- the way there and back


async def test_it_answers_at_once_and_the_replica_as_soon_as_it_is_ready() -> None:
    async with cloud() as service:
        to = {"url": f"https://localhost:{service.port}"}
        async with stage(from_zero=True, fallback=to) as s:
            assert s.driver is not None
            s.driver.start_delay = 0.3
            reply = await s.ask(POST)
            assert (reply.status, reply.body) == (200, b"from far")
            assert served_by(reply) == f"localhost:{service.port}".encode()
            assert reply.get("x-activator-cold-start") == b"false"
            assert s.replicas == []

            await s.until_warm()  # nobody has waited for it
            reply = await s.ask(POST)
            assert (reply.body, served_by(reply)) == (b"hello", None)
            assert outcomes(s) == {"served": 1}
            assert s.live.metrics.requests == {(200, "fallback"): 1, (200, ""): 1}
            assert told(s, "fell_back") == [f"{to['url'][8:]} answers until a replica is ready"]


async def test_a_chat_whose_body_comes_later_goes_there_once() -> None:
    """Others like it have gone straight to a replica before, and none is ready any more."""
    headers = {"Content-Type": "application/json"}
    chat = request("/v1/chat", method="POST", headers=headers, body=b'{"model":"chat"}')
    begun = chat.index(b"\r\n\r\n") + 4
    async with cloud() as service:
        to = {"url": f"https://localhost:{service.port}"}
        options: dict[str, Any] = {"dialect": "openai", "match": {"models": ["chat"]}}
        async with stage(fallback=to, **options) as s:
            client = await s.connect()
            for _ in range(4):
                client.send(chat)
                assert (await client.reply()).body == b"hello"
            await s.replica.refuse()
            s.replica.drop_connections()
            await s.until_cold()
            for number in range(1, 4):
                client.send(chat[:begun])
                await eventually(lambda: s.proxy.busy == 1)
                client.send(chat[begun:])
                reply = await client.reply()
                assert (reply.body, served_by(reply)) == (b"from far", to["url"][8:].encode())
                assert len(service.requests) == number
            assert outcomes(s) == {"served": 3}


async def test_however_soon_it_has_answered_the_start_is_ordered() -> None:
    """The controller may look only when the request has gone again."""
    wakes: list[Stage] = []
    async with cloud() as service:
        to = {"url": f"https://localhost:{service.port}"}
        async with stage(from_zero=True, fallback=to) as s:
            wake, s.live.gate.wake = s.live.gate.wake, lambda: wakes.append(s)
            await s.ask(POST)
            await eventually(lambda: not s.proxy.busy)
            assert wakes
            assert s.live.gate.demand == 0

            wake()
            await s.until_warm()


async def test_a_stream_at_the_fallback_keeps_no_replica_up() -> None:
    async def streams(talk: Talk) -> None:
        talk.begin_chunks()
        talk.chunk(b"first")
        await ends.wait()
        talk.chunk(b"last")
        talk.chunk(b"")

    ends = asyncio.Event()
    async with cloud(streams) as service:
        to = {"url": f"https://localhost:{service.port}"}
        async with stage(from_zero=True, fallback=to, scale={"idleTimeout": "100ms"}) as s:
            client = await s.send(POST)
            assert served_by(await client.head()) is not None
            assert await client.chunk() == b"first"
            await s.until_warm()
            assert s.live.gate.in_flight == 0

            await s.until_cold()  # while it still streams, and it does not start anew
            await eventually(lambda: s.live.state() == "inactive")
            assert s.live.state() == "inactive"
            ends.set()
            assert await client.chunk() == b"last"


async def test_what_it_is_told_and_what_it_is_not(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sesame\n")
    headers = {
        "Authorization": "Bearer mine",
        "X-Api-Key": "mine",
        "Cookie": "session=mine",
        "X-Team-Token": "mine",
        "Referer": "https://intranet.example/mine",
        "X-Forwarded-For": "10.1.2.3",
        "Content-Type": "application/json",
        "Accept": "text/event-stream",
        "User-Agent": "curl",
    }
    keyed = {"keyFile": str(tmp_path / "key")}
    async with cloud() as service, cold(service, path="/base/", fallback=keyed) as s:
        await s.post(b"{}", "/v1/chat?x=1", headers=headers)

        heard = service.requests[0]
        assert heard.target == b"/base/v1/chat?x=1"
        assert {name.lower(): value for name, value in heard.fields} == {
            b"host": f"localhost:{service.port}".encode(),
            b"authorization": b"Bearer sesame",
            b"content-type": b"application/json",
            b"accept": b"text/event-stream",
            b"user-agent": b"curl",
            b"content-length": b"2",
            b"via": b"1.1 " + s.proxy.via,
            b"x-request-id": heard.get("x-request-id"),
        }
        assert len(heard.fields) == 8
        assert b"mine" not in heard.raw


async def test_what_is_passed_on_of_its_answer() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nETag: 1\r\n"
        b"Set-Cookie: theirs=1\r\nAlt-Svc: h3\r\nOpenAI-Organization: acme\r\n"
        b"Content-Security-Policy: default-src 'none'\r\nX-Activator-Reason: loop\r\n"
        b"Access-Control-Allow-Origin: *\r\n\r\nhi"
    )
    async with cloud(says(answer)) as service, cold(service) as s:
        reply = await s.ask(POST)

        assert reply.body == b"hi"
        for name in ("content-type", "etag", "access-control-allow-origin"):
            assert reply.get(name) is not None, name
        theirs = ("set-cookie", "alt-svc", "openai-organization", "content-security-policy")
        for name in (*theirs, "x-activator-reason"):
            assert reply.get(name) is None, name


async def test_bodies_reach_it_unchanged_whatever_their_framing() -> None:
    async def echoes(talk: Talk) -> None:
        await talk.answer(200, await talk.body())

    body = bytes(range(256)) * 3000
    chunked = request("/", method="POST", headers={"Transfer-Encoding": "chunked"})
    async with cloud(echoes) as service, cold(service) as s:
        assert (await s.post(body)).body == body
        client = await s.send(chunked + b"3\r\nabc\r\n")
        client.send(b"2\r\nde\r\n0\r\n\r\n")
        assert (await client.reply()).body == b"abcde"
        assert (await s.get()).body == b""
        assert [heard.get("content-length") for heard in service.requests] == [
            b"768000",
            b"5",
            None,
        ]


async def test_its_connections_are_kept_and_closed_in_the_end() -> None:
    async with cloud() as service:
        async with cold(service) as s:
            for _ in range(3):
                await s.ask(POST)
            assert service.connections == 1
        await eventually(lambda: service.open == 0)


async def test_a_stream_passes_as_it_comes() -> None:
    async def streams(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks()
        for piece in (b"one", b"two"):
            talk.chunk(piece)
            await talk.drain()
            await go_on.wait()
            go_on.clear()
        talk.chunk(b"")

    go_on = asyncio.Event()
    async with cloud(streams) as service, cold(service) as s:
        client = await s.send(POST)
        await client.head()
        assert s.proxy.held_memory.used == 0  # its body will not be needed again
        for piece in (b"one", b"two"):
            assert await client.chunk() == piece
            go_on.set()
        assert await client.chunk() == b""


# --- it is not asked


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(
            request("/", headers={"Connection": "Upgrade", "Upgrade": "websocket"}), id="a tunnel"
        ),
        pytest.param(request("/", method="POST", body=b"x" * 2000), id="a large body"),
    ],
)
async def test_some_requests_are_held_at_once(raw: bytes) -> None:
    async with cloud() as service, cold(service, queue={"bufferBytes": "1999"}) as s:
        await s.send(raw)
        await s.until_in_line(1)
        assert service.requests == []


async def test_a_body_that_turns_out_to_be_large_is_held_and_arrives_whole() -> None:
    chunked = request("/", method="POST", headers={"Transfer-Encoding": "chunked"})
    async with cloud() as service, cold(service, queue={"bufferBytes": "1KiB"}) as s:
        client = await s.send(chunked)
        for _ in range(20):
            client.send(b"64\r\n" + b"x" * 100 + b"\r\n")
        client.send(b"0\r\n\r\n")
        await s.until_in_line(1)
        await s.replica.start()
        assert (await client.reply()).body == b"hello"
        assert bytes(s.replica.requests[0].body) == b"x" * 2000
        assert (outcomes(s), service.requests) == ({"too_large": 1}, [])


async def test_a_body_for_which_there_is_no_memory_goes_to_the_store() -> None:
    async with cloud() as service, cold(service, server={"heldMemory": "999"}) as s:
        await s.send(POST)
        await s.until_in_line(1)
        assert (outcomes(s), service.requests) == ({"too_large": 1}, [])


async def test_jobs_are_the_replicas_own() -> None:
    async with cloud() as service, cold(service) as s:
        detached = await s.post(b"x", headers={"Prefer": "respond-async"})
        assert detached.status == 202
        await s.send(request("/", method="POST", body=b"x", headers={"Idempotency-Key": "k"}))
        await s.replica.start()
        await eventually(lambda: len(s.replica.requests) == 2)
        assert (outcomes(s), service.requests) == ({}, [])


async def test_what_never_wakes_is_not_asked_elsewhere() -> None:
    async with cloud() as service, cold(service) as s:
        assert (await s.get("/favicon.ico")).status == 404
        assert (outcomes(s), service.requests) == ({}, [])


async def test_a_paused_endpoint_holds_what_comes() -> None:
    async with cloud() as service, cold(service) as s:
        s.live.gate.pause()
        await s.send(POST)
        await s.until_in_line(1)
        assert service.requests == []
        s.live.gate.resume()


async def test_a_replica_that_is_only_busy_keeps_its_requests() -> None:
    async def waits(talk: Talk) -> None:
        await go_on.wait()
        await talk.answer(200, b"mine")

    go_on = asyncio.Event()
    async with cloud() as service:
        to = {"url": f"https://localhost:{service.port}"}
        async with stage(waits, fallback=to, concurrency=1) as s:
            clients = [await s.send(POST) for _ in range(2)]
            await s.until_in_line(1)
            go_on.set()
            assert {(await client.reply()).body for client in clients} == {b"mine"}
            assert service.requests == []


async def test_while_starts_fail_it_answers_all_the_same() -> None:
    async with cloud() as service:
        to = {"url": f"https://localhost:{service.port}"}
        async with stage(from_zero=True, fallback=to) as s:
            assert s.driver is not None
            s.driver.fail_next("no such image", times=20)
            await s.ask(POST)
            await eventually(lambda: s.live.refusal() is not None, within=15)
            assert (await s.ask(POST)).body == b"from far"


# --- what it may cost


async def test_beyond_the_days_requests_the_next_is_held() -> None:
    async with cloud() as service, cold(service, fallback={"maxPerDay": 2}) as s:
        for _ in range(2):
            assert (await s.ask(POST)).body == b"from far"
        clients = []
        for count in (1, 2):
            clients.append(await s.send(POST))
            await s.until_in_line(count)
        assert outcomes(s) == {"served": 2, "capped": 2}
        control = s.app.supervisor.get("m")
        assert control is not None
        name = f"localhost:{service.port}"
        assert control.status().fallback == f"{name} has had its 2 requests of today (UTC)"
        (why,) = told(s, "fallback_used_up")
        assert why.startswith(f"localhost:{service.port} has had its 2 requests of 20")

        wall = s.proxy.wall
        s.proxy.wall = lambda: wall() + 86400
        assert (await s.ask(POST)).body == b"from far"
        await s.replica.start()
        for client in clients:
            assert (await client.reply()).body == b"hello"


async def test_the_store_counts_for_all_and_while_it_is_away_nothing_is_sent() -> None:
    with redis_server() as server:
        config = {"store": {"url": server.url, "prefix": fresh_prefix(), "timeout": "200ms"}}
        async with cloud() as service, cold(service, config=config, checked=False) as s:
            assert (await s.ask(POST)).body == b"from far"
            server.kill()
            client = await s.send(POST)
            await s.until_held(1)
            await eventually(lambda: outcomes(s) == {"served": 1, "unavailable": 1})
            await s.replica.start()
            assert (await client.reply()).body == b"hello"
            assert len(service.requests) == 1


class Away:
    async def take(self, endpoint: str, day: date, *, most: int) -> int | None:
        raise StoreUnavailable("The store does not answer")


@pytest.mark.parametrize(("most", "asked"), [(1000, False), (0, True)])
async def test_what_nobody_can_count_is_not_spent(*, most: int, asked: bool) -> None:
    async with cloud() as service, cold(service, fallback={"maxPerDay": most}) as s:
        s.proxy.quotas = Away()
        client = await s.send(POST)
        if asked:
            assert (await client.reply()).body == b"from far"
        else:
            await s.until_in_line(1)
            assert outcomes(s) == {"unavailable": 1}
            assert service.requests == []


async def test_another_key_holds_from_the_next_reading_of_the_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    async with cloud() as service, cold(service, fallback={"keyFile": str(key)}) as s:
        await s.ask(POST)
        key.write_text("new")
        s.rewrite()
        await eventually(lambda: told(s, "reconfigured"))
        await s.ask(POST)
        sent = [heard.get("authorization") for heard in service.requests]
        assert sent == [b"Bearer old", b"Bearer new"]


async def test_a_fault_of_ours_on_the_way_there_leaves_the_request_to_the_replica(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with cloud() as service:
        to = {"url": f"https://localhost:{service.port}"}
        async with stage(from_zero=True, fallback=to) as s:
            Faulty(monkeypatch, Detour, "_why_not")
            reply = await s.ask(POST)
            assert (reply.status, reply.body, served_by(reply)) == (200, b"hello", None)
            assert outcomes(s) == {"unavailable": 1}
    assert failures(caplog) == ["app/detour"]
