"""`activator serve` with a fallback, as its clients see it: from the first request to the bound."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from tests.redis_server import CERTIFICATES
from tests.replica import Replica, says
from tests.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.rawclient import Reply


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Replica:
    """Over TLS, with a certificate that what is started from here trusts."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "localhost.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    return Replica(says(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nfar"), tls=context)


def told(reply: Reply) -> tuple[bytes, bytes | None]:
    return reply.body, reply.get("x-activator-served-by")


async def test_it_answers_while_the_model_starts_and_not_beyond_its_bound(
    tmp_path: Path, service: Replica
) -> None:
    await service.start()
    far = (b"far", f"localhost:{service.port}".encode())
    fallback = {"url": f"https://localhost:{service.port}", "maxPerDay": 2}
    try:
        async with serving(tmp_path, fresh=False, fallback=fallback) as running:
            for _ in range(2):
                assert told(await running.get("/x")) == far
                await running.until_logged("activated")
                assert told(await running.get()) == (b"hello", None)
                await running.ask_admin("/api/endpoints/m/deactivate", method="POST")
                await running.until_logged("deactivated")

            held = await running.get()
            assert told(held) == (b"hello", None)
            assert held.get("x-activator-cold-start") == b"true"
            assert [heard.target for heard in service.requests] == [b"/x", b"/x"]
            events = [line.get("action") for line in running.log]
            assert events.count("fell_back") == 2
            metrics = (await running.ask_admin("/metrics")).body.decode()
            assert 'activator_fallback_requests_total{endpoint="m",outcome="served"} 2' in metrics
            assert 'activator_fallback_requests_total{endpoint="m",outcome="capped"} 1' in metrics
    finally:
        await service.stop()


async def test_one_that_is_down_costs_nobody_an_answer(tmp_path: Path, service: Replica) -> None:
    await service.start()
    await service.refuse()
    fallback = {"url": f"https://localhost:{service.port}"}
    try:
        async with serving(tmp_path, fresh=False, fallback=fallback) as running:
            reply = await running.get()
            assert told(reply) == (b"hello", None)
            assert reply.get("x-activator-cold-start") == b"true"
            metrics = (await running.ask_admin("/metrics")).body.decode()
            assert 'activator_fallback_requests_total{endpoint="m",outcome="failed"} 1' in metrics
    finally:
        await service.stop()
