"""Endpoints that are found by the model a body names, and what becomes of the body."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from tests.integration.openai.support import CHAT, JSON, ask, chat, house, names
from tests.stage import request, stage

MIB = 1 << 20


def form(model: str, file: bytes, *, first: bool) -> tuple[dict[str, str], bytes]:
    field = b'--XX\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % model.encode()
    upload = b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    upload += file + b"\r\n"
    body = (field + upload if first else upload + field) + b"--XX--\r\n"
    return {"Content-Type": "multipart/form-data; boundary=XX"}, body


async def test_several_endpoints_live_at_one_host() -> None:
    async with house(dialect="openai", match={"models": ["m"]}) as h:
        await h.add("llama", match={"models": ["llama-8b", "llama-8b-lora-*"]}, aliases=["gpt-4"])
        await h.add("qwen", match={"models": ["qwen-*"]})
        await h.open()

        assert await h.asked("m") == "hello"
        assert await h.asked("llama-8b") == "llama"
        assert await h.asked("llama-8b-lora-medical") == "llama"
        assert await h.asked("gpt-4") == "llama"
        assert await h.asked("qwen-2") == "qwen"
        assert await h.asked("gpt-5") == "model_not_found"
        assert await h.asked(None) == "model_not_found"


async def test_an_unknown_model_is_named_in_the_error_and_wakes_nothing() -> None:
    async with stage(from_zero=True, dialect="openai", match={"models": ["m"]}) as s:
        reply = await ask(s, chat("gpt-5"))

        assert (reply.status, reply.why) == (404, "no_route")
        assert "'gpt-5'" in reply.json()["error"]["message"]
        assert s.driver is not None
        assert s.driver.calls == []


async def test_a_request_that_names_no_model_is_for_the_default() -> None:
    openai = {"openai": {"defaultModel": "llama"}}
    async with house(dialect="openai", match={"models": ["m"]}, config=openai) as h:
        await h.add("llama", match={"models": ["llama"]})
        await h.open()

        assert await h.asked(None) == "llama"
        assert (await h.stage.get("/v1/files")).body == b"llama"
        assert (await h.stage.get("/v1/realtime?model=m&x=y")).body == b"hello"


async def test_the_body_goes_on_to_the_byte() -> None:
    body = b' {"messages" : [ {"content":"\\u00e9 \\"model\\": 1"} ],\r\n "model":"m" , "x":1.0e0} '
    async with stage(dialect="openai", match={"models": ["m"]}) as s:
        await ask(s, body)

        heard = s.replica.requests[0]
        assert bytes(heard.body) == body
        assert heard.get("content-length") == str(len(body)).encode()


@pytest.mark.parametrize("warm", [True, False])
async def test_only_the_models_value_is_rewritten(warm: bool) -> None:
    before, after = b'{"messages":[{"content":"m"}],"model": ', b' ,"x":{"model":"m"}}'
    async with stage(
        from_zero=not warm, dialect="openai", match={"models": ["m"]}, upstreamModel='é"/x'
    ) as s:
        reply = await ask(s, before + b'"m"' + after)

        heard = s.replica.requests[0]
        assert reply.status == 200
        assert bytes(heard.body) == before + b'"\\u00e9\\"/x"' + after
        assert heard.get("content-length") == str(len(heard.body)).encode()


async def test_a_replica_is_asked_by_the_name_it_knows() -> None:
    async with stage(
        dialect="openai", match={"models": ["lora-*", "llama-8b"]}, aliases=["gpt-4"]
    ) as s:
        for model in ("gpt-4", "lora-x", "llama-8b"):
            await ask(s, chat(model))

        heard = [json.loads(one.body)["model"] for one in s.replica.requests]
        assert heard == ["llama-8b", "lora-x", "llama-8b"]


@pytest.mark.parametrize("first", [True, False])
async def test_a_forms_field_is_found_before_and_after_its_file(first: bool) -> None:
    headers, body = form("whisper", bytes(range(256)) * 512, first=first)
    async with stage(dialect="openai", match={"models": ["whisper"]}, upstreamModel="w-3") as s:
        reply = await s.post(body, "/v1/audio/transcriptions", headers=headers)

        assert reply.status == 200
        assert bytes(s.replica.requests[0].body) == body.replace(b"\r\nwhisper\r\n", b"\r\nw-3\r\n")


async def test_a_chunked_body_stays_chunked() -> None:
    async with stage(dialect="openai", match={"models": ["m"]}, upstreamModel="other") as s:
        client = await s.send(
            b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" % CHAT.encode()
        )
        for piece in (b'{"messages":["', b'\\"model\\":"],"mo', b'del":"', b'm"}'):
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            await client.drain()
        client.send(b"0\r\nX-T: t\r\n\r\n")
        reply = await client.reply()

        heard = s.replica.requests[0]
        assert reply.status == 200
        assert bytes(heard.body) == b'{"messages":["\\"model\\":"],"model":"other"}'
        assert heard.trailers == [b"X-T: t"]


@pytest.mark.parametrize("warm", [True, False])
async def test_a_large_body_waits_in_a_file(warm: bool) -> None:
    body = chat("m", image="A" * 8 * MIB, tail="z" * 100_000)
    assert body.index(b'"model"') < 100
    late = json.dumps({"messages": ["A" * 8 * MIB], "model": "m", "x": "z" * 100_000}).encode()
    async with stage(from_zero=not warm, dialect="openai", match={"models": ["m"]}) as s:
        for one in (late, body):
            reply = await ask(s, one)
            heard = s.replica.requests[-1]

            assert reply.status == 200
            assert bytes(heard.body) == one

        assert s.proxy.spools.used == s.proxy.intake.used == 0


async def test_a_large_body_can_be_rewritten_and_repeated_elsewhere() -> None:
    late = json.dumps({"messages": ["A" * 3 * MIB], "model": "m", "x": "z" * 400_000}).encode()
    async with stage(
        replicas=2,
        dialect="openai",
        balance="first_available",
        match={"models": ["m"]},
        upstreamModel="other",
    ) as s:
        await s.replicas[0].refuse()
        reply = await ask(s, late)

        assert reply.status == 200
        assert bytes(s.replicas[1].requests[0].body) == late.replace(b'"m"', b'"other"')


async def test_a_body_is_searched_up_to_a_bound() -> None:
    config = {"openai": {"peekBytes": "64KiB"}}
    async with stage(dialect="openai", match={"models": ["m"]}, config=config) as s:
        far = await ask(s, json.dumps({"messages": ["A" * 100_000], "model": "m"}).encode())
        near = await ask(s, json.dumps({"model": "m", "messages": ["A" * 100_000]}).encode())

        assert (far.status, far.why) == (413, "body_too_large")
        assert far.json()["error"]["code"] == "body_too_large"
        assert near.status == 200


async def test_a_100_is_sent_for_a_body_that_must_be_read() -> None:
    async with stage(dialect="openai", match={"models": ["m"]}) as s:
        client = await s.send(
            request(CHAT, method="POST", headers={"Expect": "100-continue", "Content-Length": "13"})
        )
        assert (await client.head()).status == 100
        client.send(b'{"model":"m"}')

        assert (await client.reply()).status == 200
        assert s.replica.requests[0].get("expect") is None


@pytest.mark.parametrize("cut", ["left", "malformed"])
async def test_a_body_that_never_ends_leaves_nothing_behind(cut: str) -> None:
    async with stage(dialect="openai", match={"models": ["m"]}) as s:
        client = await s.send(
            b"POST %b HTTP/1.1\r\nHost: m\r\nTransfer-Encoding: chunked\r\n\r\n" % CHAT.encode()
            + b"%x\r\n" % (2 * MIB)
            + b'{"messages":["'
            + b"A" * MIB
            + b"A" * 1000
        )
        await client.drain()
        while not s.proxy.spools.used:
            await asyncio.sleep(0.01)
        if cut == "malformed":
            client.send(b"A" * (MIB - 1014) + b"no chunk\r\n")
            assert (await client.reply()).status == 400
        await client.close()
        while s.proxy.spools.used:
            await asyncio.sleep(0.01)

        assert s.replica.requests == []


async def test_requests_that_follow_on_a_connection_are_their_own() -> None:
    async with house(dialect="openai", match={"models": ["m"]}) as h:
        await h.add("llama", match={"models": ["llama"]})
        await h.open()
        first = request(CHAT, method="POST", headers=JSON, body=chat("llama"))
        second = request(CHAT, method="POST", headers=JSON, body=chat("m"))
        third = request(CHAT, method="POST", headers=JSON, body=chat("gpt"))

        client = await h.stage.send(first + second + third + first)

        replies = [await client.reply() for _ in range(4)]
        assert [reply.status for reply in replies] == [200, 200, 404, 200]
        assert [replies[n].body for n in (0, 1, 3)] == [b"llama", b"hello", b"llama"]


async def test_a_keyed_request_is_found_by_its_model_too() -> None:
    body = json.dumps({"messages": ["A" * 2 * MIB], "model": "m", "x": 1}).encode()
    async with stage(
        names("served"), dialect="openai", match={"models": ["m"]}, upstreamModel="u"
    ) as s:
        for _ in range(2):
            reply = await ask(s, body, **{"Idempotency-Key": "k"})
            assert reply.body == b"served"

        assert [bytes(one.body) for one in s.replica.requests] == [body.replace(b'"m"', b'"u"')]


async def test_a_preflight_needs_no_model() -> None:
    headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    async with stage(from_zero=True, dialect="openai", match={"models": ["m"]}) as s:
        reply = await s.ask(request(CHAT, method="OPTIONS", headers=headers))

        assert reply.status == 204
        assert s.driver is not None
        assert s.driver.calls == []


async def test_large_bodies_do_not_hold_up_the_loop() -> None:
    """The clients are in this loop too, so that it measures more than it has to."""
    body = json.dumps(
        {"messages": [{"role": "user", "content": "word " * 500}] * 3320, "model": "m"}
    ).encode()
    assert len(body) > 8 * MIB
    async with stage(dialect="openai", match={"models": ["m"]}) as s:
        lags: list[float] = []

        async def measure() -> None:
            while True:
                began = time.perf_counter()
                await asyncio.sleep(0.005)
                lags.append(time.perf_counter() - began - 0.005)

        measuring = asyncio.get_running_loop().create_task(measure())
        await asyncio.gather(*(ask(s, body) for _ in range(4)))
        measuring.cancel()

        assert all(bytes(one.body) == body for one in s.replica.requests)
        assert sorted(lags)[len(lags) // 2] < 0.05
