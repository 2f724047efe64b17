"""Responses that are made in the background, as OpenAI's own package asks for them."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import openai
import pytest

from activator.core.effects import FailedStart
from tests.integration.openai.support import JSON, ask, chat, client_of
from tests.replica import Talk, says
from tests.stage import request, stage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("each_store")

RESPONSES = "/v1/responses"
OPENAI: dict[str, Any] = {"dialect": "openai", "match": {"models": ["llama"]}}
TEXTS = ["Hello", ", ", "world"]
EVENTS = b"Content-Type: text/event-stream\r\n"


def response(status: str = "completed") -> dict[str, Any]:
    """As vLLM writes it: what is exchanged stands before and behind the output."""
    content = [{"type": "output_text", "text": "".join(TEXTS), "annotations": []}]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    return {
        "id": "resp_theirs",
        "created_at": 1,
        "model": "llama",
        "object": "response",
        "output": [{**message, "content": content}] if status == "completed" else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "background": False,
        "status": status,
    }


def events() -> list[bytes]:
    """What a model streams; the deltas are numbers 3, 4 and 5."""
    said: list[dict[str, Any]] = [
        {"type": "response.created", "response": response("in_progress")},
        {"type": "response.in_progress", "response": response("in_progress")},
        {"type": "response.output_item.added", "output_index": 0,
         "item": {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress",
                  "content": [{"type": "output_text", "text": "", "annotations": []}]}},
        *({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
           "content_index": 0, "delta": text, "logprobs": []} for text in TEXTS),
        {"type": "response.completed", "response": response()},
    ]  # fmt: skip
    return [
        b"event: %b\ndata: %b\n\n"
        % (each["type"].encode(), json.dumps({**each, "sequence_number": number}).encode())
        for number, each in enumerate(said)
    ]


async def responds(talk: Talk) -> None:
    asked = json.loads(await talk.body())
    if not asked.get("stream"):
        said = json.dumps(response()).encode()
        await talk.answer(200, said, fields=b"Content-Type: application/json\r\n")
        return
    talk.begin_chunks(fields=EVENTS)
    for each in events():
        talk.chunk(each)
    talk.chunk(b"")


def streams_until(hold: asyncio.Event, *, after: int) -> Callable[[Talk], Any]:
    """So many events at once, the others when it is told to go on."""

    async def behave(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=EVENTS)
        for each in events()[:after]:
            talk.chunk(each)
        await talk.drain()
        await hold.wait()
        for each in events()[after:]:
            talk.chunk(each)
        talk.chunk(b"")

    return behave


async def create(client: openai.AsyncOpenAI, **said: Any) -> Any:
    return await client.responses.create(model="llama", input="hi", background=True, **said)


async def until_status(client: openai.AsyncOpenAI, name: str, *statuses: str) -> Any:
    async with asyncio.timeout(8):
        while (found := await client.responses.retrieve(name)).status not in statuses:
            await asyncio.sleep(0.02)
    return found


async def test_it_is_told_at_once_that_it_is_queued_and_has_the_models_answer_later() -> None:
    async with stage(responds, from_zero=True, **OPENAI) as s, client_of(s) as client:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        first = await create(client, metadata={"for": "me"})
        assert first.status == "queued"
        assert first.id.startswith("resp_m.")
        assert (first.background, first.model, first.metadata) == (True, "llama", {"for": "me"})
        assert (await client.responses.retrieve(first.id)).status == "queued"

        done = await until_status(client, first.id, "completed")

        assert (done.id, done.background) == (first.id, True)
        assert done.output_text == "Hello, world"
        assert done.output[0].id == "msg_1"
        job = await s.get(f"/.activator/jobs/{first.id.removeprefix('resp_')}")
        assert job.json()["state"] == "succeeded"


async def test_the_model_gets_the_same_bytes_but_is_not_to_wait() -> None:
    async with stage(responds, upstreamModel="org/llama", **OPENAI) as s:
        body = b'{"input":"\\u00e9 {\\"background\\": true}", "background" : true,"model":"llama"}'
        reply = await s.ask(
            request(
                RESPONSES, method="POST", headers={**JSON, "Accept-Encoding": "gzip"}, body=body
            )
        )
        assert (reply.status, reply.json()["status"]) == (200, "queued")

        heard = await s.replica.heard()
        async with asyncio.timeout(5):
            while not heard.whole:
                await asyncio.sleep(0.01)

        told = body.replace(b'"background" : true', b'"background" : false')
        assert bytes(heard.body) == told.replace(b'"llama"', b'"org/llama"')
        assert heard.get("accept-encoding") == b"identity"


async def test_in_the_foreground_it_is_as_ever() -> None:
    async with stage(responds, **OPENAI) as s, client_of(s) as client:
        said = await client.responses.create(model="llama", input="hi", background=False)
        assert said.id == "resp_theirs"

        stream = await client.responses.create(model="llama", input="hi", stream=True)
        assert [event.sequence_number async for event in stream] == list(range(7))


async def test_one_that_waits_or_runs_is_cancelled_and_one_that_has_ended_stays() -> None:
    gone = asyncio.Event()

    async def endless(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=b"Content-Type: application/json\r\n")
        await talk.gone()
        gone.set()

    async with stage(endless, **OPENAI) as s, client_of(s) as client:
        running = await create(client)
        await until_status(client, running.id, "in_progress")
        cancelled = await client.responses.cancel(running.id)
        assert (cancelled.id, cancelled.status, cancelled.error) == (running.id, "cancelled", None)
        async with asyncio.timeout(1):
            await gone.wait()
        assert (await client.responses.cancel(running.id)).status == "cancelled"

        s.replica.behave = responds
        done = await create(client)
        await until_status(client, done.id, "completed")
        assert (await client.responses.cancel(done.id)).status == "completed"


async def test_what_went_wrong_is_in_the_response() -> None:
    raw = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    refuses = says(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(raw), raw))
    async with stage(refuses, **OPENAI) as s, client_of(s) as client:
        refused = await until_status(client, (await create(client)).id, "failed")
        assert refused.error.code == "context_length_exceeded"
        assert refused.error.message == "too long"

        s.replica.behave = says(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhuh?")
        strange = await until_status(client, (await create(client)).id, "failed")
        assert strange.error.code == "server_error"

    once = {"jobs": {"attempts": 1}}
    async with stage(from_zero=True, config=once, **OPENAI) as s, client_of(s) as client:
        assert s.driver is not None
        s.driver.fail_next(FailedStart("no such image"), times=9)
        failed = await until_status(client, (await create(client)).id, "failed")
        assert failed.error.code == "start_failed"
        assert "no such image" in failed.error.message


async def test_what_cannot_be_is_refused_in_openais_form() -> None:
    async with stage(responds, **OPENAI) as s, client_of(s, max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="store"):
            await create(client, store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve("resp_m." + "A" * 28)
        done = await create(client)
        with pytest.raises(openai.BadRequestError, match="stream"):
            await client.responses.retrieve(done.id, stream=True)
        with pytest.raises(openai.APIStatusError) as deleted:
            await client.responses.delete(done.id)
        assert (deleted.value.status_code, deleted.value.code) == (405, "method_not_allowed")
        with pytest.raises(openai.NotFoundError):
            await client.responses.input_items.list(done.id)
        job = (await ask(s, chat("llama"), Prefer="respond-async")).json()
        with pytest.raises(openai.NotFoundError):  # a job, but no response
            await client.responses.retrieve("resp_" + job["id"])


async def test_an_id_that_a_model_gave_is_the_models_to_know() -> None:
    async with stage(dialect="openai") as s:
        await s.get(f"{RESPONSES}/resp_0123456789abcdef")

        assert s.replica.requests[0].target == b"/v1/responses/resp_0123456789abcdef"


async def test_it_answers_only_the_key_that_made_it(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("".join(f"{n}:{sha256(n.encode()).hexdigest()}\n" for n in ("a", "b")))
    config: dict[str, Any] = {"auth": {"apiKeysFile": str(keys)}}
    async with (
        stage(responds, config=config, **OPENAI) as s,
        client_of(s, key="a") as mine,
        client_of(s, key="b") as others,
    ):
        made = await create(mine)
        await until_status(mine, made.id, "completed")
        for call in (others.responses.retrieve, others.responses.cancel):
            with pytest.raises(openai.NotFoundError):
                await call(made.id)


async def test_the_same_key_is_the_same_response() -> None:
    async with stage(responds, **OPENAI) as s, client_of(s) as client:
        key = {"Idempotency-Key": "k"}
        first, second = [await create(client, extra_headers=key) for _ in range(2)]
        assert first.id == second.id
        direct = await client.responses.create(
            model="llama", input="hi", background=False, extra_headers=key
        )
        assert direct.id == "resp_theirs"


# --- streams


def collected(seen: list[Any]) -> list[str]:
    return [event.delta for event in seen if event.type == "response.output_text.delta"]


async def test_a_stream_begins_with_the_id_and_goes_on_with_what_the_model_sends() -> None:
    async with stage(responds, from_zero=True, heartbeat="100ms", **OPENAI) as s:
        assert s.driver is not None
        s.driver.start_delay = 1.5
        async with client_of(s, timeout=1.0, max_retries=0) as client:
            seen = [event async for event in await create(client, stream=True)]

        assert [event.sequence_number for event in seen] == list(range(7))
        assert (seen[0].type, seen[0].response.status) == ("response.created", "queued")
        ids = {event.response.id for event in seen if hasattr(event, "response")}
        assert ids == {seen[0].response.id}
        assert seen[0].response.id.startswith("resp_m.")
        assert collected(seen) == TEXTS
        assert seen[-1].type == "response.completed"
        assert seen[-1].response.background is True


async def test_a_client_that_was_cut_off_goes_on_after_the_last_event_it_has() -> None:
    hold = asyncio.Event()
    async with stage(streams_until(hold, after=5), **OPENAI) as s, client_of(s) as client:
        stream = await create(client, stream=True)
        seen: list[Any] = []
        async for event in stream:
            seen.append(event)
            if event.sequence_number == 3:
                break
        await stream.close()
        id_ = seen[0].response.id
        rest = await client.responses.retrieve(id_, stream=True, starting_after=3)
        seen.append(await anext(rest))
        assert (await client.responses.retrieve(id_)).status == "in_progress"
        hold.set()
        seen += [event async for event in rest]

        assert [event.sequence_number for event in seen] == list(range(7))
        assert collected(seen) == TEXTS
        whole = [event async for event in await client.responses.retrieve(id_, stream=True)]
        assert [event.sequence_number for event in whole] == list(range(7))
        nothing = await s.get(f"{RESPONSES}/{id_}?stream=true&starting_after=6")
        assert (nothing.status, nothing.body) == (200, b"")
        done = await client.responses.retrieve(id_)
        assert (done.id, done.output_text) == (id_, "Hello, world")


async def test_the_packages_own_helper_resumes() -> None:
    async with stage(responds, **OPENAI) as s, client_of(s) as client:
        async with client.responses.stream(model="llama", input="hi", background=True) as stream:
            texts = [e.delta async for e in stream if e.type == "response.output_text.delta"]
            done = await stream.get_final_response()
        assert texts == TEXTS
        async with client.responses.stream(response_id=done.id, starting_after=4) as again:
            left = [event.sequence_number async for event in again]
        assert left == [5, 6]


async def test_signs_of_life_stand_between_events_and_are_comments() -> None:
    hold = asyncio.Event()
    behave = streams_until(hold, after=1)
    async with stage(behave, from_zero=True, heartbeat="50ms", **OPENAI) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        body = b'{"model": "llama", "input": "hi", "background": true, "stream": true}'
        client = await s.send(request(RESPONSES, method="POST", headers=JSON, body=body))
        head = await client.head()
        assert head.get("content-type") == b"text/event-stream; charset=utf-8"
        assert head.get("x-accel-buffering") == b"no"
        assert (await client.chunk()).startswith(b"event: response.created\ndata: {")
        assert (await client.chunk()).startswith(b": waiting for m, place 1 in line")
        while not (sign := await client.chunk()).startswith(b": a replica"):
            pass
        assert sign == b": a replica of m has it\n"
        hold.set()
        while not (chunk := await client.chunk()).startswith(b"event"):
            assert chunk == sign
        assert chunk.startswith(b"event: response.in_progress\n")


async def test_how_it_ends_without_an_answer_is_told_in_the_stream() -> None:
    raw = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    refuses = says(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n%b" % (len(raw), raw))
    async with stage(refuses, **OPENAI) as s, client_of(s) as client:
        seen = [event async for event in await create(client, stream=True)]
        assert [event.type for event in seen] == ["response.created", "response.failed"]
        assert seen[1].sequence_number == 1
        assert seen[1].response.error.message == "too long"

        s.replica.behave = streams_until(asyncio.Event(), after=4)
        stream = await create(client, stream=True)
        first = await anext(stream)
        await anext(stream)
        await client.responses.cancel(first.response.id)
        last = [event async for event in stream][-1]
        assert last.type == "error"
        assert "cancelled" in last.message

        async def cuts(talk: Talk) -> None:
            await talk.body()
            talk.begin_chunks(fields=EVENTS)
            talk.chunk(events()[1])
            await talk.drain()
            await asyncio.sleep(0.05)
            await talk.close()

        s.replica.behave = cuts
        seen = [event async for event in await create(client, stream=True)]
        assert seen[-1].type in ("response.failed", "error")
