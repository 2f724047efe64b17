"""A fallback that cannot be reached, fails, is silent or breaks off."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.fallback.cloud import (
    POST,
    answers,
    cloud,
    cold,
    later,
    outcomes,
    resets,
    served_by,
    status,
    told,
)
from tests.rawclient import Cut
from tests.replica import Behaviour, Talk, says, says_and_closes
from tests.stage import request
from tests.support import eventually


@pytest.mark.parametrize(
    ("behave", "outcome"),
    [
        pytest.param(status(503), "refused", id="busy"),
        pytest.param(status(429, b"Retry-After: 7\r\n"), "refused", id="too many"),
        pytest.param(status(401), "refused", id="wrong key"),
        pytest.param(status(404), "refused", id="unknown model"),
        pytest.param(status(307, b"Location: https://x.example/\r\n"), "refused", id="elsewhere"),
        pytest.param(resets, "failed", id="reset"),
        pytest.param(says_and_closes(b""), "failed", id="closed"),
        pytest.param(says(b"SSH-2.0\r\n\r\n"), "failed", id="no http"),
    ],
)
async def test_then_the_request_is_held_as_ever_with_its_body(
    behave: Behaviour, outcome: str
) -> None:
    async with cloud(behave) as service, cold(service) as s:
        client = await s.send(POST)
        await s.until_in_line(1)
        assert len(service.requests) == 1
        assert s.proxy.store.bytes_kept == 1000
        await s.replica.start()

        reply = await client.reply()
        assert (reply.body, served_by(reply)) == (b"hello", None)
        assert bytes(s.replica.requests[0].body) == b"x" * 1000
        assert s.replica.requests[0].target == b"/v1/chat?x=1"
        assert outcomes(s) == {outcome: 1}


async def test_nothing_of_it_reaches_the_client_before_that_is_known() -> None:
    async def hints(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        await talk.answer(503)

    async with cloud(hints) as service, cold(service) as s:
        client = await s.send(POST)
        await s.until_in_line(1)
        await s.replica.start()
        assert (await client.head()).status == 200


@pytest.mark.parametrize("code", [400, 422])
async def test_that_the_request_is_wrong_is_an_answer(code: int) -> None:
    async with cloud(status(code)) as service, cold(service) as s:
        reply = await s.ask(POST)
        assert (reply.status, reply.body) == (code, b"sad!")
        assert served_by(reply) is not None


async def test_one_that_cannot_be_reached_is_left_alone_for_a_while() -> None:
    async with cloud() as service, cold(service) as s:
        await service.refuse()
        clients = [await s.send(POST)]
        await s.until_in_line(1)
        clients.append(await s.send(POST))
        await s.until_in_line(2)
        assert outcomes(s) == {"failed": 1, "resting": 1}
        (why,) = told(s, "fallback_failed")
        assert f"localhost:{service.port}" in why
        assert why.endswith("; not asked for 1 s")

        await service.start()
        later(s, 1.0)
        assert (await s.ask(POST)).body == b"from far"
        await s.replica.start()
        for client in clients:
            assert (await client.reply()).body == b"hello"


async def test_it_is_left_alone_for_as_long_as_it_asks() -> None:
    async with cloud(status(429, b"Retry-After: 30\r\n")) as service, cold(service) as s:
        await s.send(POST)
        await s.until_in_line(1)
        service.behave = answers
        later(s, 29.0)
        await s.send(POST)
        await s.until_in_line(2)
        later(s, 1.0)
        assert (await s.ask(POST)).body == b"from far"


async def test_what_it_only_cannot_do_for_one_request_is_no_reason_to_leave_it_alone() -> None:
    async with cloud(status(404)) as service, cold(service) as s:
        for count in (1, 2):
            await s.send(POST)
            await s.until_in_line(count)
        assert len(service.requests) == 2
        assert told(s, "fallback_refused") == [f"localhost:{service.port} answered 404 to POST"]


async def test_a_stranger_at_its_address_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    async with cloud() as service, cold(service) as s:
        await s.send(POST)
        await s.until_in_line(1)
        assert service.requests == []
        (why,) = told(s, "fallback_failed")
        assert "certificate verify failed" in why


async def test_one_that_is_silent_for_too_long_has_failed() -> None:
    async def hangs(talk: Talk) -> None:
        await talk.gone()

    timeouts = {"firstByte": "100ms"}
    async with cloud(hangs) as service, cold(service, timeouts=timeouts) as s:
        client = await s.send(POST)
        await s.until_in_line(1)
        assert outcomes(s) == {"failed": 1}
        await s.replica.start()
        assert (await client.reply()).body == b"hello"


async def test_an_answer_that_breaks_off_is_broken_off() -> None:
    async def breaks(talk: Talk) -> None:
        await talk.body()
        talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await talk.drain()
        await seen.wait()
        talk.reset()

    seen = asyncio.Event()
    async with cloud(breaks) as service, cold(service) as s:
        client = await s.send(POST)
        await client.head()
        assert await client.exactly(4) == b"half"
        seen.set()
        with pytest.raises(Cut):
            await client.rest()
        await eventually(lambda: s.live.metrics.requests == {(200, "broken_off"): 1})


async def test_a_client_that_leaves_ends_it_there_too() -> None:
    async def hangs(talk: Talk) -> None:
        await talk.gone()

    async with cloud(hangs) as service, cold(service) as s:
        client = await s.send(POST)
        await service.heard()
        client.reset()
        await eventually(lambda: service.open == 0)
        assert s.live.metrics.requests == {(499, "client_left"): 1}


async def test_a_deadline_counts_what_was_lost_there() -> None:
    async def fails_late(talk: Talk) -> None:
        await go_on.wait()
        await talk.answer(503)

    go_on = asyncio.Event()
    headers = {"X-Activator-Deadline": "5s"}
    async with cloud(fails_late) as service, cold(service) as s:
        later(s, -6.0)
        client = await s.send(request(headers=headers))
        await service.heard()
        later(s, 6.0)
        go_on.set()
        reply = await client.reply()
        assert (reply.status, reply.why) == (503, "deadline")
        assert s.live.metrics.overheads.total < 5.0  # the six were not spent here
