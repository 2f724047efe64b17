"""Heads and the order of messages: what a client and a replica see of each other."""

from __future__ import annotations

import asyncio

import pytest

from tests.replica import Talk, hello, says
from tests.stage import request, stage

pytestmark = pytest.mark.usefixtures("each_write")


async def test_a_head_answer_has_its_length_and_no_body() -> None:
    async with stage(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")) as s:
        client = await s.send(request(method="HEAD") + request(method="HEAD"))

        for _ in range(2):
            reply = await client.reply(method=b"HEAD")
            assert reply.get("content-length") == b"1234"
        assert s.replica.connections == 1


async def test_a_head_answer_that_would_be_chunked_is_followed_by_the_next() -> None:
    async def behave(talk: Talk) -> None:
        if talk.heard.method == b"HEAD":
            talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        else:
            await hello(talk)

    async with stage(behave) as s:
        client = await s.send(request(method="HEAD") + request())

        assert (await client.reply(method=b"HEAD")).status == 200
        assert (await client.reply()).body == b"hello"


@pytest.mark.parametrize(
    ("status", "field"),
    [("204 No Content", ""), ("304 Not Modified", "ETag: x\r\nContent-Length: 99\r\n")],
)
async def test_answers_without_a_body_leave_the_connection_usable(status: str, field: str) -> None:
    async with stage(says(f"HTTP/1.1 {status}\r\n{field}\r\n".encode())) as s:
        client = await s.send(request() + request())

        for _ in range(2):
            reply = await client.reply()
            assert b"%d %b" % (reply.status, reply.reason) == status.encode()
        assert s.replica.connections == 1


async def test_early_hints_are_relayed_before_the_answer_comes() -> None:
    go = asyncio.Event()

    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        await go.wait()
        await talk.answer(200, b"x")

    async with stage(behave) as s:
        client = await s.send(request())
        hint = await client.head()
        go.set()
        final = await client.reply()

        assert (hint.status, hint.get("link")) == (103, b"</style.css>; rel=preload")
        assert (final.status, final.body) == (200, b"x")


async def test_an_old_client_gets_no_interim_answers() -> None:
    raw = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with stage(says(raw)) as s:
        reply = await s.ask(b"GET / HTTP/1.0\r\nHost: m\r\n\r\n")

        assert (reply.interim, reply.body) == ([], b"ok")


async def test_a_100_comes_from_the_replica_when_one_is_ready() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await talk.answer(200, await talk.body())

    async with stage(behave) as s:
        client = await s.send(
            b"POST / HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert (await client.head()).status == 100
        client.send(b"abc")
        reply = await client.reply()

        assert (reply.interim, reply.body) == ([], b"abc")
        assert s.replica.requests[0].get("expect") == b"100-continue"


async def test_a_replica_may_refuse_a_body_that_was_only_announced() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 417 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await talk.close()

    async with stage(behave) as s:
        client = await s.send(
            b"POST / HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        reply = await client.reply()

        assert (reply.status, reply.interim) == (417, [])
        assert await client.ended() == "eof"


async def test_a_held_request_gets_its_100_from_us_when_its_body_is_about_to_be_kept() -> None:
    async with stage(ready=False) as s:
        client = await s.send(
            b"POST / HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        )
        assert (await client.head()).status == 100
        client.send(b"abc")
        await s.until_in_line(1)
        await s.replica.start()
        reply = await client.reply()

        assert (reply.status, reply.interim) == (200, [])
        assert s.replica.requests[0].get("expect") is None
        assert bytes(s.replica.requests[0].body) == b"abc"


async def test_a_held_body_too_large_to_keep_is_asked_for_by_the_replica_only() -> None:
    async def behave(talk: Talk) -> None:
        talk.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await talk.answer(200, b"%d" % len(await talk.body()))

    async with stage(behave, ready=False, queue={"bufferBytes": "1KiB"}) as s:
        client = await s.send(
            b"POST / HTTP/1.1\r\nHost: m\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n"
        )
        await s.until_in_line(1)
        await s.replica.start()
        assert (await client.head()).status == 100
        client.send(b"x" * 5000)

        assert (await client.reply()).body == b"5000"


async def test_pipelined_requests_are_answered_in_order() -> None:
    go = asyncio.Event()

    async def behave(talk: Talk) -> None:
        if talk.heard.target == b"/0":
            await go.wait()
        await talk.answer(200, talk.heard.target + b":" + await talk.body())

    async with stage(behave) as s:
        client = await s.send(
            b"".join(request(f"/{n}", method="POST", body=b"b%d" % n) for n in range(8))
        )
        await s.replica.heard(1)
        go.set()
        replies = [await client.reply() for _ in range(8)]

        assert [reply.body for reply in replies] == [b"/%d:b%d" % (n, n) for n in range(8)]


async def test_pipelined_requests_that_are_held_are_answered_in_order() -> None:
    async def behave(talk: Talk) -> None:
        await talk.answer(200, talk.heard.target)

    async with stage(behave, from_zero=True) as s:
        client = await s.send(b"".join(request(f"/{n}") for n in range(4)))

        assert [(await client.reply()).body for _ in range(4)] == [b"/0", b"/1", b"/2", b"/3"]


async def test_redirects_and_cookies_are_the_clients_own_business() -> None:
    raw = (
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nSet-Cookie: a=1; Path=/\r\n"
        b"Set-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
    )
    async with stage(says(raw)) as s:
        reply = await s.get(headers={"Cookie": "c=3"})
        await s.get()

        assert (reply.status, reply.get("location")) == (302, b"http://elsewhere/")
        assert reply.get_all("set-cookie") == [b"a=1; Path=/", b"b=2"]
        first, second = s.replica.requests
        assert first.get("cookie") == b"c=3"
        assert second.get("cookie") is None


async def test_the_order_and_case_of_fields_are_kept_both_ways() -> None:
    raw = b"HTTP/1.1 200 Fine By Me\r\nX-b: 1\r\nX-A:2\r\nx-B: 3\r\nContent-Length: 0\r\n\r\n"
    async with stage(says(raw)) as s:
        reply = await s.ask(b"GET / HTTP/1.1\r\nZ-one: 1\r\nHost: m\r\nA-Two:2\r\nz-ONE: 3\r\n\r\n")

        sent = [
            name for name, _ in s.replica.requests[0].fields if name.lower() in (b"z-one", b"a-two")
        ]
        assert sent == [b"Z-one", b"A-Two", b"z-ONE"]
        assert [name for name, _ in reply.fields][:3] == [b"X-b", b"X-A", b"x-B"]
        assert reply.reason == b"Fine By Me"


async def test_an_absolute_target_replaces_the_host_for_routing_and_for_the_replica() -> None:
    async with stage(match={"hosts": ["real.example"]}) as s:
        reply = await s.ask(b"GET http://real.example:8080/x?y HTTP/1.1\r\nHost: other\r\n\r\n")

        assert reply.status == 200
        heard = s.replica.requests[0]
        assert (heard.target, heard.get_all("host")) == (b"/x?y", [b"real.example:8080"])


async def test_the_host_is_kept_as_the_client_wrote_it() -> None:
    async with stage() as s:
        await s.ask(b"GET / HTTP/1.1\r\nhOsT: Some.Example:1234\r\n\r\n")

        assert s.replica.requests[0].get_all("host") == [b"Some.Example:1234"]


@pytest.mark.parametrize(
    ("target", "forwarded"),
    [("/llama/v1/x?q=1", b"/v1/x?q=1"), ("/llama", b"/"), ("/llama?a", b"/?a"),
     ("/llama/a%20b//c", b"/a%20b//c"), ("/%6clama/x", b"/x")],
)  # fmt: skip
async def test_a_prefix_is_stripped_and_the_rest_left_as_it_came(
    target: str, forwarded: bytes
) -> None:
    async with stage(match={"paths": ["/llama"]}, stripPrefix=True) as s:
        await s.get(target)

        assert s.replica.requests[0].target == forwarded


async def test_without_stripping_the_target_is_the_clients() -> None:
    async with stage(match={"paths": ["/llama"]}) as s:
        await s.get("/llama//a%20b/./c?x=%2F")

        assert s.replica.requests[0].target == b"/llama//a%20b/./c?x=%2F"


async def test_who_asked_is_told_to_the_replica_and_what_happened_to_the_client() -> None:
    async with stage() as s:
        reply = await s.get(headers={"X-Forwarded-For": "6.6.6.6", "X-Request-Id": "mine"})

        heard = s.replica.requests[0]
        assert heard.get_all("x-forwarded-for") == [b"127.0.0.1"]
        assert heard.get("x-forwarded-proto") == b"http"
        assert heard.get("x-forwarded-host") == b"m.example"
        assert heard.get("x-request-id") == reply.get("x-request-id") == b"mine"
        assert heard.get_all("via") == [b"1.1 " + s.proxy.via]
        assert reply.get_all("via") == [b"1.1 " + s.proxy.via]
        assert len(heard.get_all("traceparent")) == 1
        assert reply.get("x-activator-cold-start") == b"false"
        assert reply.get("server-timing") is not None


async def test_a_trusted_proxys_word_is_passed_on() -> None:
    async with stage(server={"trustedProxies": ["127.0.0.0/8"]}) as s:
        await s.get(headers={"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})

        heard = s.replica.requests[0]
        assert heard.get_all("x-forwarded-for") == [b"6.6.6.6, 127.0.0.1"]
        assert heard.get("x-forwarded-proto") == b"https"


async def test_our_own_via_is_a_loop() -> None:
    async with stage() as s:
        reply = await s.get(headers={"Via": f"1.1 {s.proxy.via.decode()}, 1.1 nginx"})

        assert (reply.status, reply.why) == (508, "loop")
        assert s.replica.requests == []


async def test_a_loop_is_said_to_be_ours_by_every_pass_of_it() -> None:
    async def sends_it_back(talk: Talk) -> None:
        via = talk.heard.get("via")
        assert via is not None
        inner = await s.get(headers={"Via": via.decode()})
        fields = b"".join(
            b"%b: %b\r\n" % field for field in inner.fields if field[0] != b"Content-Length"
        )
        await talk.answer(inner.status, inner.body, fields=fields)

    async with stage(sends_it_back) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == (508, "loop")
        assert len(s.replica.requests) == 1


async def test_a_508_of_a_model_is_the_models() -> None:
    async def pretends(talk: Talk) -> None:
        await talk.answer(508, fields=b"X-Activator-Reason: loop\r\nVia: 1.1 another\r\n")

    async with stage(pretends) as s:
        reply = await s.get()

        assert (reply.status, reply.why) == (508, "")


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_connect_and_trace_are_not_served(method: str) -> None:
    async with stage() as s:
        target = "m.example:443" if method == "CONNECT" else "/"
        reply = await s.get(target, method=method)

        assert (reply.status, reply.why) == (405, "method_not_allowed")
        assert reply.get("allow") is not None
        assert s.replica.requests == []
