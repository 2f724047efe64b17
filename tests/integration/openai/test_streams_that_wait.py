"""Signs of life to clients that wait, to the byte; and errors where events may stand."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.effects import FailedStart
from tests.integration.openai.support import CHAT, JSON, chat
from tests.rawclient import Cut
from tests.replica import PROBE_PATH, Talk, says
from tests.stage import Stage, request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.rawclient import RawClient

WAITS: dict[str, Any] = {"dialect": "openai", "heartbeat": "50ms"}
EVENTS = b"Content-Type: text/event-stream\r\n"
STREAM = [b'data: {"x":1}\n\n', b'data: {"x":2}\n\n', b"data: [DONE]\n\n"]


async def streams(talk: Talk) -> None:
    await talk.body()
    talk.begin_chunks(fields=EVENTS)
    for event in STREAM:
        talk.chunk(event)
    talk.chunk(b"")


async def began(s: Stage, body: bytes | None = None, **headers: str) -> RawClient:
    """A client whose stream waits, and has had its head."""
    body = chat("m", stream=True) if body is None else body
    client = await s.send(request(CHAT, method="POST", headers=JSON | headers, body=body))
    reply = await client.head()
    assert reply.status == 200
    assert reply.get("content-type") == b"text/event-stream; charset=utf-8"
    assert reply.get("x-accel-buffering") == b"no"
    assert reply.get("transfer-encoding") == b"chunked"
    return client


async def rest(client: RawClient) -> bytes:
    """What comes to the end of the answer."""
    pieces = []
    while piece := await client.chunk():
        pieces.append(piece)
    assert await client.exactly(2) == b"\r\n"
    return b"".join(pieces)


def without_comments(stream: bytes) -> bytes:
    return b"".join(line for line in stream.splitlines(keepends=True) if not line.startswith(b":"))


async def test_comments_come_while_it_waits_and_then_the_stream_as_it_is() -> None:
    async with stage(streams, from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.3
        client = await began(s)

        first, second = await client.chunk(), await client.chunk()
        stream = await rest(client)

        # a colon, text, and one line feed: a blank line would end an event
        assert first.startswith(b": waiting for m, place 1 in line")
        assert first.count(b"\n") == second.count(b"\n") == 1
        assert without_comments(stream) == b"".join(STREAM)
        assert s.replica.requests[0].get_all("accept-encoding") == [b"identity"]


async def test_the_next_request_uses_the_connection() -> None:
    async with stage(streams, from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.15
        client = await began(s)
        await rest(client)

        client.send(request(CHAT, method="POST", headers=JSON, body=chat("m", stream=True)))
        reply = await client.reply()

        assert reply.body == b"".join(STREAM)


async def test_they_go_on_at_the_replica_until_its_first_byte() -> None:
    go = asyncio.Event()

    async def slow(talk: Talk) -> None:
        await talk.body()
        await go.wait()
        await streams(talk)

    async with stage(slow, from_zero=True, **WAITS) as s:
        client = await began(s)
        while not (await client.chunk()).startswith(b": a replica of m has it"):
            pass
        go.set()

        assert without_comments(await rest(client)) == b"".join(STREAM)


@pytest.mark.parametrize(
    ("body", "version"),
    [
        (chat("m"), "1.1"),
        (chat("m", stream=False), "1.1"),
        (chat("m", metadata={"stream": True}), "1.1"),
        (chat("m", stream=True), "1.0"),
    ],
)
async def test_who_has_not_asked_for_a_stream_gets_none(body: bytes, version: str) -> None:
    async with stage(from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.2
        raw = request(CHAT, method="POST", headers=JSON, body=body)

        reply = await s.ask(raw.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))

        assert (reply.status, reply.body) == (200, b"hello")
        assert reply.get("content-type") == b"text/plain"


async def test_a_form_may_ask_for_a_stream_too() -> None:
    field = b'--X\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
    body = field % (b"model", b"m") + field % (b"stream", b"True") + b"--X--\r\n"
    async with stage(streams, from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.15
        form = {"Content-Type": "multipart/form-data; boundary=X"}
        client = await began(s, body, **form)

        assert without_comments(await rest(client)) == b"".join(STREAM)


async def test_what_is_asked_for_may_stand_at_the_end_of_a_large_body() -> None:
    body = json.dumps({"messages": ["A" * (3 << 20)], "model": "m", "stream": True}).encode()
    async with stage(streams, from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.5
        client = await began(s, body)

        assert without_comments(await rest(client)) == b"".join(STREAM)
        assert bytes(s.replica.requests[0].body) == body
        assert s.proxy.spools.used == 0


@pytest.mark.parametrize(
    ("status", "body", "message", "code"),
    [
        (
            b"400 Bad",
            b'{"error":{"message":"too long","type":"x","param":"p","code":"c"}}',
            "too long",
            "c",
        ),
        (b"422 No", b'{"object":"error","message":"no","code":422}', "no", 422),
        (b"500 Oh", b"Internal\nServer Error", "Internal\nServer Error", 500),
        (b"503 Busy", b"", "The replica answered 503", 503),
        (b"200 OK", b"<html>", "<html>", 200),
    ],
)
async def test_an_error_of_the_model_becomes_an_event(
    status: bytes, body: bytes, message: str, code: object
) -> None:
    raw = b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
    async with stage(says(raw), from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.15
        client = await began(s)

        said = without_comments(await rest(client))

        assert said.startswith(b"data: ")
        assert said.endswith(b"}\n\n")
        error = json.loads(said[6:])["error"]
        assert (error["message"], error["code"]) == (message, code)
        assert {"type", "param"} <= error.keys()


async def test_an_answer_that_is_no_stream_becomes_one_event() -> None:
    answer = b'{\r\n  "id": 1,\n  "text": "a\\nb"\n}'
    raw = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    async with stage(says(raw % (len(answer), answer)), from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.15
        client = await began(s)

        said = without_comments(await rest(client))

        event, done, nothing = said.split(b"\n\n")
        assert json.loads(event.removeprefix(b"data: ")) == {"id": 1, "text": "a\nb"}
        assert (done, nothing) == (b"data: [DONE]", b"")


async def test_an_error_of_ours_becomes_an_event() -> None:
    async with stage(from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.2
        s.driver.fail_next(FailedStart("no such image"), times=9)
        client = await began(s, None, **{"X-Request-Id": "mine"})

        said = without_comments(await rest(client))

        error = json.loads(said.removeprefix(b"data: "))["error"]
        assert (error["code"], error["request_id"]) == ("start_failed", "mine")
        assert "no such image" in error["message"]


async def test_one_that_waits_too_long_is_told_so_in_its_stream() -> None:
    async with stage(ready=False, queue={"timeout": "200ms"}, **WAITS) as s:
        client = await began(s)

        said = without_comments(await rest(client))

        assert json.loads(said.removeprefix(b"data: "))["error"]["code"] == "queue_timeout"


@pytest.mark.parametrize("warm", [True, False])
async def test_a_stream_that_breaks_off_between_events_ends_with_an_error(warm: bool) -> None:
    async def breaks(talk: Talk) -> None:
        await talk.body()
        talk.begin_chunks(fields=EVENTS)
        talk.chunk(STREAM[0])
        await talk.drain()
        await asyncio.sleep(0.05)
        talk.reset()

    async with stage(breaks, from_zero=not warm, **WAITS) as s:
        body = chat("m", stream=True)
        client = await s.send(request(CHAT, method="POST", headers=JSON, body=body))
        await client.head()

        said = without_comments(await rest(client))

        first, error, nothing = said.split(b"\n\n")
        assert (first + b"\n\n", nothing) == (STREAM[0], b"")
        code = json.loads(error.removeprefix(b"data: "))["error"]["code"]
        assert code == "upstream_unreachable"


@pytest.mark.parametrize("framing", ["in an event", "with a length"])
async def test_a_stream_that_breaks_off_elsewhere_is_broken_off(framing: str) -> None:
    async def breaks(talk: Talk) -> None:
        await talk.body()
        if framing == "in an event":
            talk.begin_chunks(fields=EVENTS)
            talk.chunk(STREAM[0] + b'data: {"x"')
        else:
            talk.send(b"HTTP/1.1 200 OK\r\n%bContent-Length: 99\r\n\r\n" % EVENTS + STREAM[0])
        await talk.drain()
        await asyncio.sleep(0.05)
        talk.reset()

    async with stage(breaks, **WAITS) as s:
        body = chat("m", stream=True)
        client = await s.send(request(CHAT, method="POST", headers=JSON, body=body))
        await client.head()

        with pytest.raises(Cut) as cut:
            await client.rest()
        assert cut.value.how == "reset"


async def test_a_client_that_leaves_never_reaches_a_model() -> None:
    async with stage(streams, from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.2
        client = await began(s)
        await client.chunk()
        await client.close()
        await s.until_held(0)
        await s.until_warm()

        assert s.replica.requests == []


async def test_white_space_is_sent_where_it_was_asked_for() -> None:
    async with stage(
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}'),
        from_zero=True,
        keepAliveWhitespace=True,
        **WAITS,
    ) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.2
        client = await s.send(request(CHAT, method="POST", headers=JSON, body=chat("m")))
        head = await client.head()

        said = await rest(client)

        assert head.get("content-type") == b"application/json"
        assert said.startswith(b" ")
        assert json.loads(said) == {"a": 1}


async def test_an_answer_that_breaks_off_where_it_became_an_event_is_broken_off() -> None:
    async def breaks(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n")
        await talk.drain()
        await asyncio.sleep(0.05)
        talk.reset()

    async with stage(breaks, from_zero=True, **WAITS) as s:
        assert s.driver is not None
        s.driver.start_delay = 0.15
        client = await began(s)

        with pytest.raises(Cut) as cut:
            await client.rest()
        assert cut.value.how == "reset"


async def test_one_that_a_replica_failed_waits_aloud_too() -> None:
    probe = {"path": PROBE_PATH, "interval": "10ms", "readyInterval": "5s"}
    async with stage(streams, probe=probe, **WAITS) as s:
        await s.replica.refuse()
        client = await began(s)
        assert (await client.chunk()).startswith(b": waiting for m")
        await s.replica.start()

        assert without_comments(await rest(client)) == b"".join(STREAM)


async def test_what_follows_is_not_kept_for_a_client_that_does_not_read_them() -> None:
    written, size = 0, 50_000_000

    async def pours(talk: Talk) -> None:
        nonlocal written
        await talk.body()
        talk.begin_chunks(fields=EVENTS)
        while written < size:
            talk.chunk(b"data: " + b"x" * 100_000 + b"\n\n")
            await talk.drain()
            written += 100_000

    async with stage(pours, **WAITS) as s:
        s.live.gate.pause()
        client = await began(s)
        (connection,) = s.proxy._connections
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.send(b":" * (16 << 20) + b"\n")  # no less than many signs of life
        await eventually(lambda: connection.full)
        s.live.gate.resume()
        await s.replica.heard()
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.2)

        assert written < 20_000_000  # what kernels buffer
        client.reset()


async def test_the_clock_of_silence_is_not_that_of_an_answer_that_has_not_begun() -> None:
    go = asyncio.Event()

    async def slow(talk: Talk) -> None:
        await talk.body()
        await go.wait()
        await streams(talk)

    async with stage(slow, timeouts={"idle": "100ms"}, **WAITS) as s:
        s.live.gate.pause()
        client = await began(s)
        s.live.gate.resume()
        await s.replica.heard()
        (connection,) = s.proxy._connections
        for told in connection.pause_writing, connection.resume_writing:
            told()  # as its transport does
        await asyncio.sleep(
            0.3
        )  # three times `idle`: that nothing is told then has no sign of its own
        go.set()

        assert without_comments(await rest(client)) == b"".join(STREAM)
