"""Answers of our own: their form, whom they are for, and what they leave usable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.replica import says
from tests.stage import request, stage

if TYPE_CHECKING:
    from tests.rawclient import Reply

HOST = {"hosts": ["m.example"]}


def assert_problem(reply: Reply, status: int, reason: str) -> None:
    """RFC 9457, with what CONTRACT adds."""
    assert (reply.status, reply.why) == (status, reason)
    assert reply.get("content-type") == b"application/problem+json"
    assert reply.get("cache-control") == b"no-store"
    problem = reply.json()
    assert (problem["status"], problem["reason"]) == (status, reason)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == (reply.get("x-request-id") or b"").decode() != ""
    retry = reply.get("retry-after")
    assert problem.get("retry_after") == (int(retry) if retry else None)
    assert retry is None or 1 <= int(retry) <= 60


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (request(host="other.example"), 404, "no_route"),
        (request("/.activator/jobs/1"), 404, "no_route"),
        (request("/.activator"), 404, "no_route"),
        (request("/%2eactivator/x"), 404, "no_route"),
        (request("/a%2fb"), 400, "bad_request"),
        (request("/a%00b"), 400, "bad_request"),
        (request(method="TRACE"), 405, "method_not_allowed"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost: m.example\r\nHost: m.example\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/3\r\nHost: m.example\r\n\r\n", 400, "bad_request"),
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.1\r\nHost : m.example\r\n\r\n", 400, "bad_request"),
    ],
)
async def test_every_error_is_a_problem_with_a_reason(raw: bytes, status: int, reason: str) -> None:
    async with stage(match=HOST) as s:
        reply = await s.ask(raw)

        assert_problem(reply, status, reason)
        assert s.replica.requests == []


async def test_a_replica_that_talks_nonsense_makes_a_problem_too() -> None:
    async with stage(says(b"what?\r\n\r\n")) as s:
        reply = await s.get(headers={"X-Request-Id": "mine"})

        assert_problem(reply, 502, "upstream_unreachable")
        assert reply.get("x-request-id") == b"mine"


async def test_an_error_of_the_model_is_the_models() -> None:
    raw = b"HTTP/1.1 503 Overloaded\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nbusy"
    async with stage(says(raw)) as s:
        reply = await s.get()

        assert (reply.status, reply.why, reply.body) == (503, "", b"busy")


async def test_an_error_to_a_head_request_has_no_body_and_keeps_the_connection() -> None:
    async with stage(match=HOST) as s:
        client = await s.send(request("/.activator/x", method="HEAD") + request())
        refused = await client.reply(method=b"HEAD")
        reply = await client.reply()

        assert (refused.status, refused.why) == (404, "no_route")
        assert int(refused.get("content-length") or 0) > 0
        assert reply.body == b"hello"


async def test_a_refused_request_leaves_the_connection_usable() -> None:
    async with stage(match=HOST) as s:
        client = await s.send(request(method="POST", body=b"abc", host="x") + request())

        assert (await client.reply()).status == 404
        assert (await client.reply()).status == 200


async def test_a_refused_request_may_still_be_sending() -> None:
    async with stage(match=HOST) as s:
        client = await s.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
        reply = await client.reply()
        client.send(b"x" * 200_000)
        await client.drain()

        assert_problem(reply, 404, "no_route")
        assert reply.get("connection") == b"close"
        assert await client.ended() == "eof"


async def test_malformed_input_closes_the_connection() -> None:
    async with stage() as s:
        client = await s.send(b"GET / HTTP/1.1\r\nHost: m\r\nA : b\r\n\r\n" + request())
        reply = await client.reply()

        assert_problem(reply, 400, "bad_request")
        assert reply.get("connection") == b"close"
        assert await client.ended() == "eof"
        assert s.replica.requests == []


@pytest.mark.parametrize(
    "head", [b"GET /a%2fb HTTP/1.1\r\nHost: m", b"GET / HTTP/1.1\r\nHost: m:x"]
)
async def test_an_ambiguous_path_or_host_closes_the_connection(head: bytes) -> None:
    async with stage() as s:
        client = await s.send(head + b"\r\n\r\n" + request())
        reply = await client.reply()

        assert_problem(reply, 400, "bad_request")
        assert reply.get("connection") == b"close"
        assert await client.ended() == "eof"
        assert s.replica.requests == []


async def test_a_known_endpoint_at_zero_is_never_a_404() -> None:
    async with stage(match=HOST, from_zero=True) as s:
        assert (await s.get()).status == 200


async def test_an_unknown_host_wakes_nothing() -> None:
    async with stage(match=HOST, from_zero=True) as s:
        reply = await s.ask(request(host="other.example"))

        assert_problem(reply, 404, "no_route")
        assert s.driver is not None
        assert s.driver.calls == []
