"""What is known of heads spares work and changes nothing: the same traffic, played to an activator
that keeps what it reads and to one that reads everything anew, is answered and passed on alike.
"""

from __future__ import annotations

import asyncio
import json
import re
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from activator.proxy.straight import Straight
from activator.wire.known import KnownAnswers, KnownRequests
from tests.rawclient import Cut
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.rawclient import RawClient, Reply
    from tests.replica import Talk
    from tests.stage import Stage

Fields = list[tuple[bytes, bytes]]
ROUNDS = 30
ID = re.compile(rb"[0-9a-f]{32}")
EVENT = b'data: {"choices":[]}\n\n'
USAGE = json.dumps({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}).encode()
EVENTS = b"Content-Type: text/event-stream\r\n"
MODEL: dict[str, Any] = {"match": {"models": ["chat", "other*"]}, "dialect": "openai"}


def chunked(*pieces: bytes) -> list[bytes]:
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (*pieces, b"")]


def whole(body: bytes, fields: bytes = b"", *, status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, fields, len(body), body)


def answers(number: int) -> list[list[bytes]]:
    """All ways to answer, each in the reads in which it is to come; the `number` is its own."""
    date = b"Date: Thu, 01 Jan 1970 00:00:%02d GMT\r\n" % (number % 60)
    own = date + b"X-Request-Id: theirs-%d\r\nServer-Timing: a;dur=%d\r\n" % (number, number % 7)
    odd = b"Connection: x-a, date\r\nX-A: 1\r\nX-B: 100%b %s\r\nX-Activator-Reason: x\r\n"
    body = b"b" * (number % 50)
    begun = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    return [
        [whole(body)],
        [whole(body, own)],
        [whole(USAGE, b"Content-Type: application/json\r\n" + date)],
        [whole(body, date + odd)],
        [whole(body, b"Keep-Alive: timeout=9\r\n")],
        [whole(body, date + b"Connection: close\r\n")],
        [whole(body, date, status=b"404 Not Found")],
        [whole(b"", status=b"500 Oops")],
        [whole(b"z" * 100_000, date)],
        [whole(EVENT * 2, EVENTS)],
        [b"HTTP/1.1 204 No Content\r\n%b\r\n" % date],
        [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n%b\r\n" % date],
        [b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"],
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole(body)],
        [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", whole(body, date)],
        [whole(b"hello")[:9], whole(b"hello")[9:-2], b"lo"],
        [whole(body) + whole(b"nobody has asked for this")],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\nhello"],
        [begun + date + b"\r\n" + b"".join(chunked(b"hello", body or b"x"))],
        [
            begun + b"\r\n",
            b"5;x=y\r\nhello\r\n",
            b"5\r\nhello\r\n5\r\nhel",
            b"lo\r\n",
            *chunked(b"x"),
        ],
        [
            begun + EVENTS + b"\r\n",
            *chunked(EVENT, EVENT, EVENT[:9], EVENT[9:], b"data: [DONE]\n\n"),
        ],
    ]


WAYS = len(answers(0))


def requests(number: int) -> list[bytes]:
    """All kinds of them; the `number` is what each has of its own."""
    own = {"X-Request-Id": f"mine-{number}"}
    trace = {"traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01", "baggage": f"n={number}"}
    usual = {"Content-Type": "application/json"}
    chat = b'{"model":"chat","messages":[{"role":"user","content":"%b"}]}' % (b"u" * (number % 9))
    late = b'{"stream":false,"x":{"model":"no"},"messages":[], "model" : "other%d"}' % (number % 2)
    hidden = b'{"x":1,"\\u006dodel":"chat"}'
    at = "/v1/chat/completions"
    return [
        request("/x?model=chat"),
        request(f"/x?model=chat&n={number}", headers=own),
        request("/x?model=chat", headers={"Connection": "baggage, close", **trace}),
        request("/x?model=chat", method="DELETE", headers=trace),
        request("/x?model=chat", method="HEAD"),
        request("/x?model=chat", method="POST", headers=own, body=b""),
        request(at, method="POST", headers=usual, body=chat),
        request(at, method="POST", headers=usual | own | trace, body=chat),
        request(at, method="POST", headers=usual, body=late),
        request(at, method="POST", headers=usual, body=hidden),
        request(at, method="POST", headers=usual | {"Expect": "100-continue"}, body=chat),
        request(at, method="PUT", headers=usual, body=chat),
        request("/x?model=chat").replace(b"HTTP/1.1", b"HTTP/1.0"),
        request("/%2", headers=own),
    ]


def is_last(raw: bytes) -> bool:
    """Of its connection."""
    return b"HTTP/1.0\r\n" in raw or b"close\r\n" in raw


USUAL = {False: (0, 1, 2, 3, 6, 7, 8), True: (6, 7)}
"""Those that go straight where a model is asked for (True), or by their heads."""


def alike(fields: Sequence[tuple[bytes, bytes]], s: Stage) -> Fields:
    """Without ids of ours, times, names of the process and ports."""
    told: Fields = []
    for name, value in fields:
        match name.lower():
            case b"x-request-id" if ID.fullmatch(value):
                told.append((name, b"ours"))
            case b"traceparent" if value.endswith(b"-00"):
                told.append((name, b"ours"))
            case b"server-timing":
                told.append((name, re.sub(rb"dur=[0-9.]+", b"dur=", value)))
            case b"content-length" if value in (b"%d" % n for n in range(200, 400)):
                told.append((name, b"an error's"))  # which names a port
            case _:
                told.append((name, value.replace(s.proxy.via, b"us")))
    return told


class Course:
    """One course of traffic, played as often as one likes."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.replies: list[object] = []
        self.heard: list[object] = []
        self.counted: list[object] = []

    async def play(self, **endpoint: Any) -> None:
        dice = Random(self._seed)
        ways = 0, self._seed
        kinds = [dice.choice(USUAL[bool(endpoint)]), dice.randrange(len(requests(0)))]
        answered = 0

        async def behave(talk: Talk) -> None:
            nonlocal answered
            answered += 1
            await talk.body()
            if talk.heard.method == b"HEAD":
                talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
                return
            for piece in answers(answered)[ways[answered // 3 % 2]]:
                talk.send(piece)
                await talk.drain()
                await asyncio.sleep(0.001)

        async with stage(behave, **endpoint) as s:
            client = await s.connect()
            for number in range(ROUNDS):
                raw = [requests(number)[kinds[dice.random() < 0.3]]]
                if not number % 4 and not is_last(raw[0]):
                    raw.append(requests(number)[kinds[0]])
                at = dice.choice((0, 0, 0, 0, raw[0].index(b"\r\n\r\n") + 4, 30))
                joined = b"".join(raw)
                for piece in filter(None, (joined[:at], joined[at:])):
                    client.send(piece)
                    await client.drain()
                    await asyncio.sleep(0.001)
                client = await self._read(s, client, raw)
            await eventually(lambda: not s.proxy.busy)
            metrics = s.live.metrics
            self.counted += [dict(metrics.requests), metrics.tokens, s.replica.connections]
            for each in s.replica.requests:
                fields = alike(each.fields, s)
                self.heard.append((each.method, each.target, fields[1:], bytes(each.body)))

    async def _read(self, s: Stage, client: RawClient, raw: list[bytes]) -> RawClient:
        """The answers; returns the connection for what follows."""
        try:
            for each in raw:
                reply = await client.reply(method=each.partition(b" ")[0])
                self.replies.append(self._told(reply, s))
                if reply.get("connection") == b"close" or is_last(each):
                    raise Cut("eof", b"")
        except Cut:
            await client.close()
            return await s.connect()
        return client

    def _told(self, reply: Reply, s: Stage) -> object:
        body = reply.body if reply.why == "" else b"one of ours"
        hints = [(each.status, each.fields) for each in reply.interim]
        return reply.status, reply.reason, alike(reply.fields, s), body, hints


@pytest.mark.parametrize("seed", range(WAYS))
async def test_what_is_known_changes_nothing(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    straight: list[Straight] = []
    is_answered = Straight.whole

    def noted(self: Straight, *args: Any) -> None:
        straight.append(self)
        is_answered(self, *args)

    monkeypatch.setattr(Straight, "whole", noted)
    endpoint: dict[str, Any] = MODEL if seed % 2 else {}
    known = Course(seed)
    await known.play(**endpoint)
    went = len(straight)
    assert went
    for heads in (KnownRequests, KnownAnswers):
        monkeypatch.setattr(heads, "learn", lambda *args: None)
    anew = Course(seed)
    await anew.play(**endpoint)

    assert len(straight) == went
    assert known.replies == anew.replies
    assert known.heard == anew.heard
    assert known.counted == anew.counted
