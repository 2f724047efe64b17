"""Fallbacks in OpenAI's dialect: another endpoint, names of models, and streams that wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from activator.proxy.aside import Aside
from activator.proxy.body import Body
from activator.proxy.detour import Detour, detour_of
from activator.proxy.handler import Exchange
from activator.proxy.holding import Holding
from tests.integration.openai.support import CHAT, JSON, ask, chat, house
from tests.leftovers import collected
from tests.redis_server import fresh_prefix, shared_server
from tests.replica import PROBE_PATH, Replica, Talk
from tests.stage import request
from tests.support import eventually
from tests.unit.proxy.support import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.integration.openai.support import House
    from tests.replica import Behaviour


@contextlib.asynccontextmanager
async def with_small(
    *, small: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[House]:
    """`m`, which is not ready, with the endpoint `small` as its fallback."""
    options = {"match": {"models": ["m"]}, "dialect": "openai", **options}
    async with house(ready=False, **options) as h:
        await h.add("small", **{"match": {"models": ["small-v1"]}, **(small or {})})
        h.stage.config["endpoints"][0]["fallback"] = {"endpoint": "small"}
        await h.open()
        yield h


@contextlib.asynccontextmanager
async def with_service(**options: Any) -> AsyncIterator[tuple[House, Replica]]:
    """`m`, which is not ready, with a service that calls the model `far`."""
    service = Replica(echoes)
    await service.start()
    options = {"match": {"models": ["m"]}, "dialect": "openai", **options}
    to = {"url": f"http://127.0.0.1:{service.port}", "model": "far"}
    try:
        async with house(ready=False, fallback=to, **options) as h:
            yield h, service
    finally:
        await service.stop()
        assert not service.failures


async def echoes(talk: Talk) -> None:
    await talk.answer(200, await talk.body())


async def busy(talk: Talk) -> None:
    await talk.answer(503)


def outcomes(h: House) -> dict[str, int]:
    return h.stage.live.metrics.fallbacks


async def test_another_endpoint_answers_by_the_name_that_it_knows() -> None:
    async with with_small() as h:
        reply = await ask(h.stage, chat("m"), Authorization="Bearer mine")
        assert (reply.status, reply.body) == (200, b"small")
        assert reply.get("x-activator-served-by") == b"small"

        (heard,) = h.replicas["small"].requests
        assert bytes(heard.body) == chat("small-v1")
        assert heard.get("authorization") == b"Bearer mine"  # as to a replica: it is our own house
        assert heard.get("host") == b"m.example"
        small = h.stage.app.registry["small"]
        assert [each.unproven for each in small.replicas.values()] == [False]
        assert small.metrics.requests == {}
        assert h.stage.live.metrics.requests == {(200, "fallback"): 1}


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
async def test_it_gives_slots_that_are_free_and_no_others(*, shared: bool) -> None:
    async def waits(talk: Talk) -> None:
        await go_on.wait()
        await talk.answer(200, b"small")

    go_on = asyncio.Event()
    config = {"store": {"url": shared_server().url, "prefix": fresh_prefix()}} if shared else {}
    async with with_small(small={"concurrency": 1}, config=config) as h:
        h.replicas["small"].behave = waits
        raw = request(CHAT, method="POST", headers=JSON, body=chat("m"))
        first = await h.stage.send(raw)
        await h.replicas["small"].heard()
        assert h.stage.app.registry["small"].gate.in_flight == 1
        second = await h.stage.send(raw)
        await h.stage.until_in_line(1)
        assert outcomes(h) == {"unavailable": 1}

        go_on.set()
        assert (await first.reply()).body == b"small"
        assert h.stage.app.registry["small"].gate.in_flight == 0
        await h.stage.replica.start()
        assert (await second.reply()).body == b"hello"


async def test_it_is_not_woken() -> None:
    probe = {"path": PROBE_PATH, "readyInterval": "20ms"}
    async with with_small(small={"probe": probe}) as h:
        await h.replicas["small"].stop()
        small = h.stage.app.registry["small"]
        await eventually(lambda: small.cold, within=10)
        await h.stage.send(request(CHAT, method="POST", headers=JSON, body=chat("m")))
        await h.stage.until_in_line(1)
        assert outcomes(h) == {"unavailable": 1}
        assert small.gate.demand == 0


async def test_what_it_blocks_is_blocked_for_guests_too() -> None:
    async with with_small(blockPaths=[], small={"blockPaths": ["/sleep"]}) as h:
        for path in ("/sleep", "/%73leep/now", "//x/../sleep?a"):
            client = await h.stage.send(request(path, method="POST", headers=JSON, body=chat("m")))
            await h.stage.until_in_line(1)
            client.reset()
            await h.stage.until_in_line(0)
        assert h.replicas["small"].requests == []


async def test_a_service_is_asked_by_its_own_name_and_the_replica_by_its() -> None:
    async with with_service(aliases=["gpt-4"], upstreamModel="org/m") as (h, service):
        body = chat("gpt-4", n=1)
        assert (await ask(h.stage, body)).body == chat("far", n=1)

        service.behave = busy
        client = await h.stage.send(request(CHAT, method="POST", headers=JSON, body=body))
        await h.stage.until_in_line(1)
        await h.stage.replica.start()
        assert (await client.reply()).status == 200
        assert bytes(h.stage.replica.requests[0].body) == chat("org/m", n=1)


async def test_a_large_body_keeps_its_name_in_its_file() -> None:
    async with with_service() as (h, service):
        body = json.dumps({"prompt": "x" * (2 << 20), "model": "m"}).encode()
        wanted = body.replace(b'"m"', b'"far"')
        assert (await ask(h.stage, body)).body == wanted

        service.behave = busy
        client = await h.stage.send(request(CHAT, method="POST", headers=JSON, body=body))
        await h.stage.until_in_line(1)
        await h.stage.replica.start()
        assert (await client.reply()).status == 200
        assert bytes(h.stage.replica.requests[0].body) == body


@pytest.mark.parametrize(
    "body", [chat(), b'{"model": 5}', b"no json", chat("m" * 2000)], ids=lambda body: body[:12]
)
async def test_a_body_without_a_model_to_be_renamed_is_the_replicas(body: bytes) -> None:
    async with with_service(match={}) as (h, service):
        client = await h.stage.send(request(CHAT, method="POST", headers=JSON, body=body))
        await h.stage.until_in_line(1)
        assert (outcomes(h), service.requests) == ({"unreadable": 1}, [])
        await h.stage.replica.start()
        assert (await client.reply()).status == 200
        assert bytes(h.stage.replica.requests[0].body) == body


async def test_without_another_name_every_body_goes_as_it_is() -> None:
    async with with_service(match={}) as (h, service):
        h.stage.config["endpoints"][0]["fallback"].pop("model")
        h.stage.rewrite()
        live = h.stage.live
        await eventually(lambda: live.fallback and live.fallback.fallback.model is None)
        for body in (chat(), chat("m"), b"no json"):
            assert (await ask(h.stage, body)).body == body
        assert len(service.requests) == 3


async def test_a_body_that_nobody_has_read_is_not_sent_under_the_wrong_name() -> None:
    """Its endpoint was warm when it came, and is cold when it would have to wait."""
    nobody: Any = None
    async with with_service() as (h, _):
        detour = detour_of(
            h.stage.proxy,
            h.stage.live,
            nobody,
            connection=nobody,
            head=asked(f"POST {CHAT} HTTP/1.1", "Content-Length: 9"),
            body=Body(complete=False),
            admitted=nobody,
            peeked=None,
            request_id=b"1",
            arrived=0.0,
        )
        assert detour is None
        assert outcomes(h) == {"unreadable": 1}


async def test_signs_of_life_while_it_takes_its_time_and_when_it_has_failed() -> None:
    async def fails_late(talk: Talk) -> None:
        await talk.body()
        await go_on.wait()
        await talk.answer(503)

    async def streams(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=b"Content-Type: text/event-stream\r\n")
        talk.chunk(b"data: [DONE]\n\n")
        talk.chunk(b"")

    go_on = asyncio.Event()
    async with with_service(heartbeat="20ms") as (h, service):
        service.behave = fails_late
        body = chat("m", stream=True)
        client = await h.stage.send(request(CHAT, method="POST", headers=JSON, body=body))
        head = await client.head()
        assert head.status == 200
        assert await client.chunk() == f": 127.0.0.1:{service.port} has it\n".encode()
        await eventually(lambda: service.requests)  # it may still be on its way there
        assert service.requests[0].get("accept-encoding") == b"identity"
        go_on.set()
        while (sign := await client.chunk()).endswith(b"has it\n"):
            pass
        assert sign.startswith(b": waiting for m, place 1 in line")

        h.stage.replica.behave = streams
        await h.stage.replica.start()
        while (sign := await client.chunk()).startswith(b": "):
            pass
        assert sign == b"data: [DONE]\n\n"


@pytest.mark.parametrize("behave", [echoes, busy])
async def test_nothing_of_it_is_left_to_be_collected(behave: Behaviour) -> None:
    """Nor of one that turned back, and then waited."""
    async with with_service() as (h, service):
        await ask(h.stage, chat("m"))
        service.behave = behave
        with collected(Exchange, Aside, Detour, Holding) as left:
            raw = request(CHAT, method="POST", headers=JSON, body=chat("m"))
            client = await h.stage.send(raw)
            await service.heard(2)
            if behave is busy:
                await h.stage.until_in_line(1)
                client.reset()
                await eventually(lambda: not h.stage.live.gate.demand)
            else:
                assert (await client.reply()).status == 200
        assert not left


async def test_tokens_of_the_fallbacks_answers_are_counted_too() -> None:
    async def answers(talk: Talk) -> None:
        used = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 5}}'
        await talk.answer(200, used, fields=b"Content-Type: application/json\r\n")

    async with with_service() as (h, service):
        service.behave = answers
        await ask(h.stage, chat("m"))
        assert h.stage.live.metrics.tokens[("", "out", "usage")] == 5
