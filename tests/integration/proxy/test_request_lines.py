"""Each request ends in one log line, whichever way it ends."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from activator.telemetry import logs
from activator.telemetry.requests import RequestRecord
from tests.integration.proxy.test_retries import dies_at_first
from tests.replica import Talk, says
from tests.stage import NAME, request, stage
from tests.support import eventually
from tests.town import UPGRADE, echo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHAT = {"x-request-id": "r-1"}


class Lines:
    """Of the requests that have ended."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    async def __call__(self, count: int) -> list[Any]:
        await eventually(lambda: len(self.now()) >= count)
        assert len(self.now()) == count
        return self.now()

    async def one(self) -> Any:
        return (await self(1))[0]

    def now(self) -> list[Any]:
        return [one for one in self._caplog.records if isinstance(one, RequestRecord)]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    caplog.set_level(logging.INFO, "activator.requests")
    return Lines(caplog)


async def test_lines_of_a_pipeline_are_in_its_order(lines: Lines) -> None:
    async with stage() as s:
        client = await s.connect()
        client.send(request("/first") + request("/refused", method="TRACE") + request("/third"))
        statuses = [(await client.reply()).status for _ in range(3)]

        assert statuses == [200, 405, 200]
        assert [line.path for line in await lines(3)] == ["/first", "/refused", "/third"]


async def test_what_a_model_answered(lines: Lines) -> None:
    async with stage() as s:
        await s.post(b"12345", "/v1/chat?secret=1", headers=CHAT)
        line = await lines.one()

        assert (line.request_id, line.endpoint, line.method) == ("r-1", NAME, "POST")
        assert (line.path, line.status, line.reason) == ("/v1/chat", 200, "")
        assert (line.bytes_in, line.bytes_out) == (5, len(b"hello"))
        assert (line.held, line.cold, line.attempts) == (0.0, False, 1)
        assert line.replica
        assert 0 < line.seconds < 5
        assert line.remote == "127.0.0.1"


@contextmanager
def written() -> Iterator[io.StringIO]:
    """Lines of JSON, as they are while nobody else listens; pytest does, when a test begins."""
    root, own = logging.getLogger(), logging.getLogger(logs.REQUESTS)
    others, level, straight = root.handlers[:], root.level, logs.straight
    root.handlers[:] = []
    logs.configure("json", stream=(stream := io.StringIO()))
    try:
        yield stream
    finally:
        for one in root.handlers:
            one.close()
        root.handlers[:], logs.straight = others, straight
        root.setLevel(level)
        own.setLevel(logging.NOTSET)


async def test_what_is_written_of_the_usual_and_of_others() -> None:
    with written() as stream:
        async with stage(dies_at_first(), replicas=2) as s:
            await s.get(headers=CHAT)
            await s.post(b"12345", "/v1/chat?secret=1", headers=CHAT)
            await s.get("/.activator/jobs/none")
        logs.flush()
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    again, usual, other = (one for one in told if one["logger"] == logs.REQUESTS)

    assert (again["attempts"], usual["attempts"], other["attempts"]) == (2, 1, 0)
    assert (other["status"], other["replica"]) == (404, "")
    assert usual.pop("replica")
    assert 0 < usual.pop("seconds") < 5
    assert usual.pop("ts").endswith("Z")
    assert usual == {
        "level": "info",
        "logger": "activator.requests",
        "message": "request",
        "action": "request",
        "request_id": "r-1",
        "endpoint": NAME,
        "method": "POST",
        "path": "/v1/chat",
        "key": "",
        "status": 200,
        "reason": "",
        "cold": False,
        "held": 0.0,
        "job": "",
        "bytes_in": 5,
        "bytes_out": len(b"hello"),
        "attempts": 1,
        "remote": "127.0.0.1",
    }


async def test_what_waited_for_a_start_which_says_on_whose_behalf_it_was(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.events")
    async with stage(from_zero=True) as s:
        await s.get(headers=CHAT)
        line = await lines.one()

        assert line.cold is True
        assert 0 < line.held <= line.seconds
        (started,) = [one for one in caplog.records if one.msg == "scaling_up"]
        assert started.__dict__["request_id"] == "r-1"


async def test_each_request_of_a_connection_has_its_own_bytes(lines: Lines) -> None:
    async def echo(talk: Talk) -> None:
        await talk.answer(200, await talk.body())

    async with stage(echo) as s:
        client = await s.connect()
        for body in (b"123", b"1", b""):
            client.send(request(method="POST", body=body))
        for _ in range(3):
            await client.reply()
        told = await lines(3)
        assert [(line.bytes_in, line.bytes_out) for line in told] == [(3, 3), (1, 1), (0, 0)]


@pytest.mark.parametrize("dialect", ["plain", "openai"])
async def test_a_stream_has_the_bytes_of_its_body(lines: Lines, dialect: str) -> None:
    events = [b"data: %d\n\n" % number for number in (1, 22, 333)]
    taken: asyncio.Queue[None] = asyncio.Queue()

    async def behave(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        talk.send(b"Transfer-Encoding: chunked\r\n\r\n")
        for event in events:
            talk.send(b"%x\r\n%b\r\n" % (len(event), event))
            await taken.get()
        talk.send(b"0\r\n\r\n")

    async with stage(behave, dialect=dialect) as s:
        client = await s.send(request("/v1/chat/completions", method="POST", body=b"{}"))
        await client.head()
        for event in events:
            assert await client.chunk() == event
            taken.put_nowait(None)
        assert await client.chunk() == b""
        assert (await lines.one()).bytes_out == sum(map(len, events))


async def test_errors_of_our_own_count_their_bytes(lines: Lines) -> None:
    replies = []
    async with stage(dies_at_first(), match={"hosts": ["m.example"]}) as s:
        client = await s.connect()
        for sent, method in (
            (request(), b"GET"),
            (request(host="elsewhere.example"), b"GET"),
            (request(method="HEAD", host="elsewhere.example"), b"HEAD"),
            (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET"),
        ):
            client.send(sent)
            replies.append(await client.reply(method=method))
        told = await lines(4)

        assert [line.status for line in told] == [502, 404, 404, 400]
        assert [line.bytes_out for line in told] == [len(reply.body) for reply in replies]
        assert [bool(line.bytes_out) for line in told] == [True, True, False, True]


async def test_what_was_sent_again_says_how_often(lines: Lines) -> None:
    async with stage(dies_at_first(), replicas=2) as s:
        await s.get()
        line = await lines.one()
        assert (line.status, line.attempts) == (200, 2)


async def test_what_nobody_answers_to_is_logged_with_its_reason(lines: Lines) -> None:
    async with stage(match={"hosts": ["m.example"]}) as s:
        await s.ask(request("/x", host="other.example"))
        line = await lines.one()
        assert (line.endpoint, line.status, line.reason) == ("", 404, "no_route")


async def test_what_is_no_request_has_a_line_too(lines: Lines) -> None:
    async with stage() as s:
        reply = await s.ask(b"GET / HTTP/9.9\r\n\r\n")
        line = await lines.one()
        assert (line.status, line.reason) == (400, "bad_request")
        assert line.request_id == (reply.get("x-request-id") or b"").decode()


async def test_who_left_and_what_was_broken_off(lines: Lines) -> None:
    async def breaks(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await talk.drain()
        talk.reset()

    async def waits(talk: Talk) -> None:
        await talk.gone()

    async with stage(breaks) as s:
        async with await s.send(request()) as client:
            await client.ended()
        broken = await lines.one()
        assert (broken.status, broken.reason, broken.levelname) == (200, "broken_off", "WARNING")
        assert broken.bytes_out <= 4

        s.replica.behave = waits
        async with await s.send(request()):
            await s.replica.heard(2)
        _, left = await lines(2)
        assert (left.status, left.reason) == (499, "client_left")


async def test_the_name_of_the_key_and_never_the_key(lines: Lines, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text(f"team:{sha256(b'hunter2').hexdigest()}\n")
    async with stage(config={"auth": {"apiKeysFile": str(keys)}}) as s:
        await s.get(headers={"Authorization": "Bearer hunter2"})
        await s.get(headers={"Authorization": "Bearer hunter3"})
        known, unknown = await lines(2)
        assert (known.key, known.status) == ("team", 200)
        assert (unknown.key, unknown.reason) == ("", "unauthorized")
        assert not [one for one in lines.now() if "hunter" in one.as_json()]


async def test_whom_a_trusted_proxy_names_is_who_asked(lines: Lines) -> None:
    headers = {"X-Forwarded-For": "192.0.2.9, 198.51.100.7, 127.0.0.9"}
    async with stage(server={"trustedProxies": ["127.0.0.0/8"]}) as s:
        await s.get(headers=headers)
        assert (await lines.one()).remote == "198.51.100.7"


async def test_a_tunnel_ends_in_a_line_with_what_went_through(lines: Lines) -> None:
    async with stage(echo) as s:
        async with await s.send(UPGRADE) as client:
            assert (await client.head()).status == 101
            client.send(b"123")
            assert await client.exactly(3) == b"123"
            client.send(b"4")
            assert await client.exactly(1) == b"4"
        line = await lines.one()
        assert (line.status, line.bytes_in, line.bytes_out) == (101, 4, 4)


async def test_a_request_that_is_answered_by_a_job_and_the_run_of_it(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "activator.jobs")
    async with stage(says(b"HTTP/1.1 201 Made\r\nContent-Length: 3\r\n\r\nout")) as s:
        job = (await s.post(b"in", headers={**CHAT, "Prefer": "respond-async"})).json()
        asked = await lines.one()
        assert (asked.status, asked.job, asked.endpoint) == (202, job["id"], NAME)
        assert (asked.bytes_in, asked.request_id) == (2, "r-1")

        runs = await eventually(lambda: [one for one in caplog.records if one.msg == "job_run"])
        run = runs[0].__dict__
        assert (run["job"], run["request_id"], run["outcome"]) == (job["id"], "r-1", "succeeded")
        assert (run["status"], run["bytes_out"], run["attempt"]) == (201, 3, 1)

        while (await s.get(job["links"]["self"])).json()["state"] != "succeeded":
            await asyncio.sleep(0.01)
        assert {one.job for one in lines.now()} == {job["id"]}
