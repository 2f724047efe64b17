"""One probe: what counts as an answer, and how everything else is told apart."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import ProbePolicy
from activator.core.endpoint import Replica as Address
from activator.core.readiness import Answer
from activator.upstream.probe import ProbeClient
from tests.replica import Behaviour, Replica, Talk, hello, says, says_and_closes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEALTH = ProbePolicy(path="/health", timeout=0.2)
TCP = ProbePolicy(path=None, timeout=0.2)


@contextlib.asynccontextmanager
async def probing(behave: Behaviour = hello) -> AsyncIterator[tuple[ProbeClient, Replica, Address]]:
    client, replica = ProbeClient(), Replica(behave)
    await replica.start()
    try:
        yield client, replica, Address("m-1", replica.host, replica.port)
    finally:
        await client.aclose()
        await replica.stop()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (b"200 OK", Answer.ANSWERED),
        (b"204 No Content", Answer.ANSWERED),
        (b"302 Found\r\nLocation: /elsewhere", Answer.ANSWERED),
        (b"404 Not Found", Answer.ERROR),
        (b"503 Loading", Answer.ERROR),
    ],
)
async def test_2xx_and_3xx_are_answers_and_redirects_are_not_followed(
    status: bytes, kind: Answer
) -> None:
    raw = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status
    async with probing(says(raw)) as (client, replica, address):
        outcome = await client.probe(address, HEALTH)

        assert outcome.kind is kind
        assert status[:3].decode() in outcome.detail
        assert [heard.target for heard in replica.requests] == [b"/health"]


async def test_each_probe_has_a_connection_of_its_own() -> None:
    async with probing() as (client, replica, address):
        for _ in range(3):
            await client.probe(address, HEALTH)

        assert replica.connections == 3


async def test_a_refused_connection_is_told_apart() -> None:
    async with probing() as (client, replica, address):
        await replica.refuse()

        for policy in (HEALTH, TCP):
            assert (await client.probe(address, policy)).kind is Answer.REFUSED


async def test_silence_is_told_apart() -> None:
    async def silent(talk: Talk) -> None:
        await talk.gone()

    async with probing(silent) as (client, _, address):
        outcome = await client.probe(address, HEALTH)

        assert outcome.kind is Answer.TIMEOUT
        assert "0.2 s" in outcome.detail


async def test_nonsense_is_an_error() -> None:
    async with probing(says_and_closes(b"SSH-2.0\r\n\r\n")) as (client, _, address):
        assert (await client.probe(address, HEALTH)).kind is Answer.ERROR


async def test_without_a_path_an_accepted_connection_is_an_answer() -> None:
    async with probing() as (client, replica, address):
        assert (await client.probe(address, TCP)).kind is Answer.ANSWERED
        assert replica.requests == []


async def test_another_port_may_be_probed() -> None:
    async with probing() as (client, replica, address):
        elsewhere = Address("m-1", address.host, 1)
        policy = ProbePolicy(path="/health", timeout=0.2, port=replica.port)

        assert (await client.probe(elsewhere, policy)).kind is Answer.ANSWERED
