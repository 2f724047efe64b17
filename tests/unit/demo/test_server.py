from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession
from aiohttp.web import TCPSite

from activator.demo.model import CORPUS, TextModel
from activator.demo.server import ModelServer, main, process_started_at
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

MODEL = TextModel.fit(CORPUS.read_text(encoding="utf-8"))

LONG_SEED = 14

WITHIN = 45.0
"""Seconds: an interpreter starts and ends, perhaps on a busy machine."""


@asynccontextmanager
async def serving(server: ModelServer) -> AsyncIterator[ClientSession]:
    runner = server.runner()
    await runner.setup()
    try:
        await TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with ClientSession(f"http://{host}:{port}") as client:
            yield client
    finally:
        await runner.cleanup()


def fast(*, concurrency: int = 4) -> ModelServer:
    return ModelServer(MODEL, concurrency=concurrency, tokens_per_second=0)


def slow() -> tuple[ModelServer, dict[str, Any]]:
    """A server that needs many seconds for what the body asks for: this seed's text is long."""
    server = ModelServer(MODEL, concurrency=2, tokens_per_second=5)
    return server, {"prompt": "The", "max_tokens": 4096, "stream": True, "seed": LONG_SEED}


async def events_of(response: ClientResponse) -> list[str]:
    text = await response.text()
    assert text.endswith("\n\n")
    lines = text[:-2].split("\n\n")
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


async def test_a_whole_completion_has_text_reason_and_usage() -> None:
    async with serving(fast()) as client:
        response = await client.post(
            "/v1/completions", json={"prompt": "The baker", "max_tokens": 5, "seed": 3}
        )
        body = await response.json()

    assert (response.status, body["object"], body["model"]) == (200, "text_completion", "tiny")
    [choice] = body["choices"]
    used = body["usage"]
    assert choice["text"]
    assert choice["finish_reason"] in {"length", "stop"}
    assert used["prompt_tokens"] == 2
    assert 1 <= used["completion_tokens"] <= 5
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]


@pytest.mark.parametrize("chat", [False, True])
async def test_a_stream_says_piece_by_piece_what_the_whole_answer_says(*, chat: bool) -> None:
    path = "/v1/chat/completions" if chat else "/v1/completions"
    asked: dict[str, Any] = {"max_tokens": 12, "seed": 11, "temperature": 0.8}
    asked |= (
        {"messages": [{"role": "user", "content": "The oven"}]} if chat else {"prompt": "The oven"}
    )

    async with serving(fast()) as client:
        whole = await (await client.post(path, json=asked)).json()
        options = {"stream": True, "stream_options": {"include_usage": True}}
        response = await client.post(path, json=asked | options)
        *events, done = await events_of(response)

    parts = [json.loads(event) for event in events]
    assert response.content_type == "text/event-stream"
    assert done == "[DONE]"
    assert {part["id"] for part in parts} == {parts[0]["id"]}
    assert parts[-1]["choices"] == []
    assert parts[-1]["usage"] == whole["usage"]
    choices = [part["choices"][0] for part in parts[:-1]]
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert all(choice["finish_reason"] is None for choice in choices[:-1])
    if chat:
        assert choices[0]["delta"] == {"role": "assistant", "content": ""}
        said = "".join(choice["delta"].get("content", "") for choice in choices)
        assert said == whole["choices"][0]["message"]["content"]
    else:
        assert "".join(choice["text"] for choice in choices) == whole["choices"][0]["text"]


async def test_a_stream_without_include_usage_ends_with_the_reason() -> None:
    async with serving(fast()) as client:
        response = await client.post("/v1/completions", json={"prompt": "The", "stream": True})
        *_, last, done = await events_of(response)

    assert json.loads(last)["choices"][0]["finish_reason"] in {"length", "stop"}
    assert "usage" not in json.loads(last)
    assert done == "[DONE]"


async def test_tokens_come_at_the_pace_that_was_set() -> None:
    server = ModelServer(MODEL, tokens_per_second=50)
    async with serving(server) as client:
        before = time.monotonic()
        response = await client.post(
            "/v1/completions", json={"prompt": "The baker said", "max_tokens": 10, "seed": 1}
        )
        tokens = (await response.json())["usage"]["completion_tokens"]
        took = time.monotonic() - before

    assert took >= tokens / 50


async def test_a_request_beyond_the_limit_is_429_and_counted() -> None:
    server, body = slow()
    async with serving(server) as client:
        streams = [await client.post("/v1/completions", json=body) for _ in range(2)]
        refused = await client.post("/v1/completions", json=body)
        problem = (await refused.json())["error"]
        for stream in streams:
            stream.close()
        await eventually(lambda: server.stats.in_flight == 0)
        again = await client.post("/v1/completions", json={"prompt": "The", "max_tokens": 1})

    assert refused.status == 429
    assert refused.headers["Retry-After"] == "1"
    assert problem["code"] == "rate_limit_exceeded"
    assert again.status == 200
    assert (server.stats.refused, server.stats.peak_in_flight) == (1, 3)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_stops_the_generation(*, stream: bool) -> None:
    server, body = slow()
    async with serving(server) as client:
        asking = asyncio.gather(client.post("/v1/completions", json=body | {"stream": stream}))
        await eventually(lambda: server.stats.in_flight == 1)
        if stream:
            [response] = await asking
            response.close()
        else:
            asking.cancel()

        await eventually(lambda: server.stats.cancelled == 1, within=1.0)

    stats = server.stats
    assert (stats.in_flight, stats.answered, stats.requests) == (0, 0, 1)


async def test_stats_tell_arrivals_in_order() -> None:
    server = fast()
    async with serving(server) as client:
        for number in range(3):
            await client.post("/v1/completions", json={"prompt": f"({number})", "max_tokens": 1})
        told = await (await client.get("/stats")).json()

    assert [seen["prompt"] for seen in told["arrivals"]] == ["(0)", "(1)", "(2)"]
    moments = [seen["at"] for seen in told["arrivals"]]
    assert moments == sorted(moments)
    assert (told["requests"], told["answered"], told["pid"]) == (3, 3, os.getpid())


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/completions", "{", 400),
        ("POST", "/v1/completions", "", 400),
        ("POST", "/v1/completions", "[" * 100_000, 400),
        ("POST", "/v1/completions", b"\xed\xa0\xbd", 400),
        ("POST", "/v1/completions", "{}", 400),
        ("POST", "/v1/chat/completions", '{"messages": "hi"}', 400),
        ("POST", "/v1/completions", '{"prompt": "a", "model": "huge"}', 404),
        ("POST", "/v1/completions", '"' + "x" * (2 << 20) + '"', 413),
        ("GET", "/v1/completions", "", 405),
        ("GET", "/nowhere", "", 404),
    ],
)
async def test_what_is_wrong_is_answered_in_openais_shape(
    method: str, path: str, body: str | bytes, status: int
) -> None:
    server = fast()
    async with serving(server) as client:
        response = await client.request(
            method, path, data=io.BytesIO(body if isinstance(body, bytes) else body.encode())
        )
        problem = (await response.json())["error"]
        after = await client.post("/v1/completions", json={"prompt": "The", "max_tokens": 1})

    assert response.status == status
    assert set(problem) == {"message", "type", "param", "code"}
    assert problem["message"]
    assert after.status == 200
    assert server.stats.in_flight == 0


async def test_models_and_health_are_told() -> None:
    async with serving(fast()) as client:
        models = await (await client.get("/v1/models")).json()
        health = await client.get("/health")

    assert [model["id"] for model in models["data"]] == ["tiny"]
    assert health.status == 200


def test_a_process_knows_when_it_was_started() -> None:
    assert time.time() - 3600 < process_started_at() <= time.time() + 0.02


async def start(*arguments: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "activator.demo.server", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)


async def end_of(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    """What it still writes."""
    try:
        async with asyncio.timeout(WITHIN):
            return await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()


async def test_the_port_opens_once_loaded_and_sigterm_is_a_clean_end() -> None:
    process = await start("--port", "0", "--load-seconds", "0.2")
    assert process.stderr is not None

    assert b"loading" in await process.stderr.readline()
    ready = (await process.stderr.readline()).decode()
    process.send_signal(signal.SIGTERM)
    out, rest = await end_of(process)

    assert "ready on http://127.0.0.1:" in ready
    assert "0.2 s were asked for with --load-seconds" in ready
    assert float(ready.split(": ")[2].split(" s since")[0]) >= 0.2
    assert process.returncode == 0
    assert out == b""
    assert b"Traceback" not in rest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_while_loading_ends_it_without_a_traceback(number: signal.Signals) -> None:
    process = await start("--port", "0", "--load-seconds", "0.3")
    assert process.stderr is not None

    assert b"loading" in await process.stderr.readline()
    process.send_signal(number)
    _, said = await end_of(process)

    assert process.returncode in {0, 130, -signal.SIGTERM}
    assert b"Traceback" not in said


async def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = await start("--port", str(port), "--load-seconds", "0")
        _, said = await end_of(process)

    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}".encode() in said
    assert b"Traceback" not in said


@pytest.mark.parametrize(
    "wrong", [["--port", "x"], ["--port", "70000"], ["--port", "1", "--concurrency", "0"], []]
)
def test_wrong_arguments_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(wrong)

    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err


async def test_a_response_is_the_same_whole_and_streamed() -> None:
    async with serving(fast()) as client:
        body = {"input": "The", "max_output_tokens": 5, "seed": 3}
        whole = await (await client.post("/v1/responses", json=body)).json()
        streamed = await client.post("/v1/responses", json=body | {"stream": True})
        events = (await streamed.text()).strip().split("\n\n")
        named = [event.partition("\n")[0] for event in events]
        last = json.loads(events[-1].partition("data: ")[2])

    assert named[0] == "event: response.created"
    assert named[-1] == "event: " + last["type"]
    assert last["response"]["output"][0]["content"] == whole["output"][0]["content"]
    assert whole["usage"]["output_tokens"] > 0
