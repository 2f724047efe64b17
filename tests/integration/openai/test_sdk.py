"""OpenAI's own package as the client: from zero, with timeouts shorter than a start."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from activator.core.effects import FailedStart
from tests.integration.openai.support import client_of
from tests.replica import Talk, says
from tests.stage import stage

OPENAI: dict[str, Any] = {
    "dialect": "openai",
    "heartbeat": "100ms",
    "match": {"models": ["org/llama"]},
}
MESSAGES: Any = [{"role": "user", "content": "hi"}]
HEAD = {"id": "c-1", "created": 1, "model": "org/llama"}
TEXTS = ["Hello", ", ", "world"]


def part(text: str) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    said = {**HEAD, "object": "chat.completion.chunk", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(said).encode()


async def talks(talk: Talk) -> None:
    asked = json.loads(await talk.body())
    if asked.get("stream"):
        talk.begin_chunks(fields=b"Content-Type: text/event-stream\r\n")
        for text in TEXTS:
            talk.chunk(part(text))
        talk.chunk(b"data: [DONE]\n\n")
        talk.chunk(b"")
    else:
        message = {"role": "assistant", "content": "".join(TEXTS)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        said = {**HEAD, "object": "chat.completion", "choices": [choice]}
        fields = b"Content-Type: application/json\r\n"
        await talk.answer(200, json.dumps(said).encode(), fields=fields)


async def texts(client: openai.AsyncOpenAI) -> list[str | None]:
    stream = await client.chat.completions.create(model="org/llama", messages=MESSAGES, stream=True)
    return [chunk.choices[0].delta.content async for chunk in stream]


async def test_a_stream_outlasts_a_timeout_that_is_shorter_than_the_start() -> None:
    async with stage(talks, from_zero=True, **OPENAI) as s:
        assert s.driver is not None
        s.driver.start_delay = 1.5
        async with client_of(s, timeout=1.0, max_retries=0) as client:
            assert await texts(client) == TEXTS


async def test_an_answer_that_is_no_stream_waits_too() -> None:
    async with stage(talks, from_zero=True, **OPENAI) as s, client_of(s) as client:
        said = await client.chat.completions.create(model="org/llama", messages=MESSAGES)

        assert said.choices[0].message.content == "".join(TEXTS)


async def test_errors_are_those_of_the_package() -> None:
    async with stage(talks, from_zero=True, **OPENAI) as s, client_of(s) as client:
        with pytest.raises(openai.NotFoundError) as missing:
            await client.chat.completions.create(model="gpt-5", messages=MESSAGES)
        assert missing.value.code == "model_not_found"
        assert missing.value.param == "model"
        assert missing.value.type == "invalid_request_error"
        assert missing.value.request_id

        assert s.driver is not None
        s.driver.fail_next(FailedStart("no such image"), times=9)
        with pytest.raises(openai.InternalServerError) as failed:
            await client.with_options(max_retries=0).chat.completions.create(
                model="org/llama", messages=MESSAGES
            )
        assert failed.value.code == "start_failed"
        assert "no such image" in failed.value.message


async def test_the_package_is_told_whether_to_come_again() -> None:
    async with stage(talks, ready=False, queue={"timeout": "100ms"}, **OPENAI) as s:
        async with client_of(s, max_retries=0) as client:
            with pytest.raises(openai.InternalServerError) as over:
                await client.chat.completions.create(model="org/llama", messages=MESSAGES)

        told = over.value.response.headers
        assert over.value.code == "queue_timeout"
        assert told["x-should-retry"] == "true"
        assert 1 <= int(told["retry-after"]) <= 60
        assert int(told["retry-after-ms"]) <= 1000 * int(told["retry-after"])


async def test_an_error_in_a_stream_that_has_begun_is_raised() -> None:
    raw = b'{"error":{"message":"too long","type":"invalid_request_error","code":"context"}}'
    answer = b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(raw), raw)
    async with stage(says(answer), from_zero=True, **OPENAI) as s, client_of(s) as client:
        assert s.driver is not None
        s.driver.start_delay = 0.4
        with pytest.raises(openai.APIError, match="too long") as refused:
            await texts(client)
        assert refused.value.code == "context"


async def test_models_are_listed_and_found() -> None:
    async with stage(from_zero=True, **OPENAI) as s, client_of(s) as client:
        assert [model.id async for model in client.models.list()] == ["org/llama"]
        assert (await client.models.retrieve("org/llama")).id == "org/llama"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("gpt-5")
