"""Who plays a request to its end, by what comes in; and what is told of one that nobody plays."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.aiokit.tasks import Tasks
from activator.config.settings import OpenAI
from activator.coordination.memory_quotas import MemoryQuotas
from activator.core.endpoint import Balance, Dialect, Match, NeverWake
from activator.core.job_ids import RANDOM, new_id
from activator.core.routing import RouteTable
from activator.errors import ShuttingDown
from activator.proxy.asking import Asking
from activator.proxy.body import HeldMemory
from activator.proxy.door import Door
from activator.proxy.handler import Exchange
from activator.proxy.job_pages import JobPage
from activator.proxy.listener import Proxy
from activator.proxy.openai.background import BackgroundAsking
from activator.proxy.openai.peeking import Peeking
from activator.proxy.openai.response_pages import ResponsePage
from activator.queueing.memory import MemoryStore
from activator.telemetry.metrics import Metrics
from activator.upstream.pool import UpstreamKit
from activator.upstream.registry import LiveEndpoint, Registry
from activator.wire.hangup import HangupWatch
from activator.wire.server import ServerConnection, ServerLimits
from tests.support import eventually
from tests.unit.upstream.support import a_gate, an_endpoint
from tests.unit.wire.paper import PaperTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
JSON = {"Content-Type": "application/json", "Content-Length": "200"}
WEBSOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}


JOB = new_id("m", owner="", random=bytes(RANDOM))


class Hall:
    """A proxy that no socket leads to, in front of `m`, which has no replica."""

    def __init__(self, **changed: Any) -> None:
        loop = asyncio.get_running_loop()
        self.deadlines, self.hangups = Deadlines(loop), HangupWatch(loop)
        outbox = Outbox()
        endpoint, self.metrics, registry = an_endpoint(**changed), Metrics(), Registry()
        self.live = LiveEndpoint(
            endpoint,
            gate=a_gate(endpoint, clock=loop.time),
            metrics=self.metrics.endpoint("m"),
            kit=UpstreamKit(loop=loop, deadlines=self.deadlines, outbox=outbox, clock=loop.time),
            tasks=Tasks("test"),
        )
        registry.add(self.live)
        registry.route(RouteTable([endpoint]))
        self.proxy = Proxy(
            loop=loop,
            clock=loop.time,
            wall=time.time,
            registry=registry,
            door=Door(),
            store=MemoryStore(max_bytes=1 << 20),
            quotas=MemoryQuotas(),
            held_memory=HeldMemory(1 << 20),
            metrics=self.metrics,
            deadlines=self.deadlines,
            hangups=self.hangups,
            outbox=outbox,
            limits=ServerLimits(),
            openai=OpenAI(),
        )
        self.transports: list[PaperTransport] = []

    def comes(self, raw: bytes) -> ServerConnection:
        """On a connection of its own."""
        transport = PaperTransport()
        self.transports.append(transport)
        connection = ServerConnection(self.proxy._kit)
        transport.set_protocol(connection)
        connection.connection_made(transport)
        connection.data_received(raw)
        return connection

    @property
    def answers(self) -> list[bytes]:
        """On each connection so far."""
        return [bytes(transport.written) for transport in self.transports]

    async def close(self) -> None:
        for transport in self.transports:
            transport.abort()
        await self.proxy.tasks.aclose()
        self.hangups.close()
        self.deadlines.close()


@asynccontextmanager
async def hall(**changed: Any) -> AsyncIterator[Hall]:
    made = Hall(**changed)
    try:
        yield made
    finally:
        await made.close()


def message(line: str, fields: dict[str, str] | None = None, body: bytes = b"") -> bytes:
    lines = [
        line,
        "Host: m.example",
        *(f"{name}: {value}" for name, value in (fields or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("raw", "player"),
    [
        (message("GET / HTTP/1.1"), Exchange),
        (message("GET / HTTP/1.1", WEBSOCKET), Exchange),
        (message("GET / HTTP/1.1", {"Prefer": "respond-async"} | WEBSOCKET), Exchange),
        (message("GET / HTTP/1.1", {"Prefer": "handling=lenient"}), Exchange),
        (message("GET / HTTP/1.1", PAGE), Exchange),
        (message("POST / HTTP/1.1", {"Prefer": "respond-async"} | JSON), Asking),
        (message("POST / HTTP/1.1", {"Prefer": "wait=30"} | JSON), Asking),
        (message("POST / HTTP/1.1", {"Idempotency-Key": "k"} | JSON), Asking),
        (message("GET /.activator/jobs/m.x HTTP/1.1"), JobPage),
    ],
    ids=[
        "an ordinary one",
        "a tunnel",
        "which is no job",
        "another preference",
        "a browser without waiting page",
        "a job at once",
        "a job later",
        "a key",
        "a page of ours",
    ],
)
async def test_who_plays_it_follows_from_its_head(raw: bytes, player: type) -> None:
    async with hall() as h:
        assert type(h.comes(raw).receiver) is player


async def test_what_never_wakes_is_no_job_either() -> None:
    async with hall(never_wake=(NeverWake("/health", 418),)) as h:
        at = h.comes(message("GET /health HTTP/1.1", {"Prefer": "respond-async"}))

        assert h.answers[-1].startswith(b"HTTP/1.1 418")
        assert at.receiver is None


async def test_a_browser_sees_the_waiting_page_which_is_demand_and_no_success() -> None:
    async with hall(waiting_page=True) as h:
        h.comes(message("GET / HTTP/1.1", PAGE))

        assert h.answers[-1].startswith(b"HTTP/1.1 503")
        assert b"<html" in h.answers[-1]
        assert h.live in h.proxy.visits
        assert [code for code, _ in h.live.metrics.requests] == [503]
        assert type(h.comes(message("GET / HTTP/1.1")).receiver) is Exchange, "a program waits"


async def test_what_nobody_plays_is_counted_where_it_belongs() -> None:
    async with hall(match=Match(hosts=("m.example",))) as h:
        h.comes(message("GET / HTTP/1.1").replace(b"m.example", b"other.example"))
        h.comes(message("POST / HTTP/1.1", {"Idempotency-Key": "k" * 256} | JSON))

        assert [answer[:12] for answer in h.answers] == [b"HTTP/1.1 404", b"HTTP/1.1 400"]
        assert h.metrics.unrouted.requests == {(404, "no_route"): 1}
        assert h.live.metrics.requests == {(400, "bad_request"): 1}


async def test_nothing_comes_in_while_the_door_is_shut() -> None:
    async with hall() as h:
        h.proxy.shut = ShuttingDown

        at = h.comes(message("GET / HTTP/1.1"))

        assert at.receiver is None
        assert h.answers[-1].startswith(b"HTTP/1.1 503")
        assert h.metrics.unrouted.requests == {(503, "shutting_down"): 1}
        assert not h.live.gate.demand


NAMED = {"X-Request-Id": "one"}


@pytest.mark.parametrize(
    ("changed", "is_once"),
    [
        pytest.param({}, True, id="nothing but what is its own differs"),
        pytest.param({"match": Match(headers=(("x-request-id", "one"),))}, False, id="a route's"),
        pytest.param({"affinity_header": "x-request-id"}, False, id="it decides who is liked"),
        pytest.param({"match": Match(models=("*",))}, False, id="a query may name a model"),
    ],
)
async def test_what_heads_of_one_outline_lead_to_is_found_out_once(
    changed: dict[str, Any], is_once: bool
) -> None:
    async with hall(**changed) as h:
        lines = [f"GET /?model={each} HTTP/1.1" for each in "aabccc"]
        played: list[Any] = [h.comes(message(line, NAMED)).receiver for line in lines]

        assert [type(each) for each in played] == [Exchange] * 6
        assert [each.id for each in played] == [b"one"] * 6
        played = played[1:]  # what comes only once is not kept
        for each in played[1:]:
            assert (each.admitted is played[0].admitted) == is_once


async def test_what_a_head_led_to_holds_as_long_as_the_routes() -> None:
    async with hall() as h:
        line = "GET /?a HTTP/1.1"
        for _ in range(3):  # by then it is known byte for byte
            before: Any = h.comes(message(line)).receiver
        h.proxy.registry.route(RouteTable([h.live.endpoint]))
        after: Any = h.comes(message(line)).receiver
        again: Any = h.comes(message(line)).receiver

        assert after.admitted is not before.admitted
        assert again.admitted is after.admitted


OPENAI: dict[str, Any] = {"dialect": Dialect.OPENAI, "match": Match(models=("llama",))}


def chat(path: str = "/v1/chat/completions", **said: object) -> bytes:
    body = json.dumps({"model": "llama", **said}).encode()
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    return message(f"POST {path} HTTP/1.1", fields, body)


async def test_a_model_is_looked_for_in_the_body_before_anybody_plays_it() -> None:
    async with hall(**OPENAI) as h:
        whole = chat()
        at = h.comes(whole[:-1])
        assert type(at.receiver) is Peeking

        at.data_received(whole[-1:])

        await eventually(lambda: type(at.receiver) is Exchange)


async def test_the_length_of_a_body_with_another_model_in_it_is_told_anew() -> None:
    async with hall(upstream_model="meta/llama", **OPENAI) as h:
        whole = chat()
        at = h.comes(whole)

        await eventually(lambda: type(at.receiver) is Exchange)
        played: Any = at.receiver
        length = len(whole.partition(b"\r\n\r\n")[2]) + len("meta/")
        assert played.head.length == length
        assert played.head.get(b"content-length") == b"%d" % length
        assert played.kept.size == length


async def test_a_model_that_nobody_serves_is_unknown_and_its_body_forgotten() -> None:
    async with hall(**OPENAI) as h:
        h.comes(chat(model="mistral"))

        await eventually(lambda: h.answers[-1])
        assert h.answers[-1].startswith(b"HTTP/1.1 404")
        assert b"model_not_found" in h.answers[-1]
        assert h.metrics.unrouted.requests == {(404, "no_route"): 1}
        assert h.proxy.held_memory.used == 0


@pytest.mark.parametrize(
    ("changed", "path", "is_once"),
    [
        pytest.param({}, "/v1/chat/completions", True, id="nothing but the model counts"),
        pytest.param({"balance": Balance.PREFIX_HASH}, "/v1/completions", False, id="its prompt"),
        pytest.param({}, "/v1/responses", False, id="anything in it"),
        pytest.param({"match": Match(), "upstream_model": "x"}, "/v1/completions", True, id="name"),
    ],
)
async def test_what_a_model_leads_to_is_found_out_once(
    changed: dict[str, Any], path: str, is_once: bool
) -> None:
    async with hall(**OPENAI | changed) as h:
        played: list[Any] = []
        for prompt in ("once", "hi", "hello there"):  # what comes only once is not kept
            at = h.comes(chat(path, prompt=prompt))
            await eventually(lambda at=at: type(at.receiver) is Exchange)  # type: ignore[misc]
            played.append(at.receiver)
            assert played[-1].head.length == played[-1].kept.size

        assert (played[2].admitted is played[1].admitted) == is_once
        h.comes(chat(path, model="mistral"))
        await eventually(lambda: h.answers[-1] or "match" in changed)
        assert h.answers[-1].startswith(b"HTTP/1.1 404") == ("match" not in changed)


async def test_a_body_of_no_bytes_leads_where_none_does() -> None:
    async with hall(**OPENAI) as h:
        at = h.comes(chat())
        await eventually(lambda: type(at.receiver) is Exchange)

        for length in ("0", "00"):
            h.comes(
                message("POST /v1/chat/completions HTTP/1.1", JSON | {"Content-Length": length})
            )
        await eventually(lambda: h.answers[-1])
        assert h.answers[1].startswith(b"HTTP/1.1 404")
        assert h.answers[2].startswith(b"HTTP/1.1 400")


async def test_a_response_in_the_background_is_a_job() -> None:
    async with hall(**OPENAI) as h:
        at = h.comes(chat("/v1/responses", background=True, input="hi"))
        await eventually(lambda: type(at.receiver) is BackgroundAsking)

        now = h.comes(chat("/v1/responses", background=False, input="hi"))
        await eventually(lambda: type(now.receiver) is Exchange)

        later = h.comes(message(f"GET /v1/responses/resp_{JOB} HTTP/1.1"))
        assert type(later.receiver) is ResponsePage
