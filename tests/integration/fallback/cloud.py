"""A service over TLS, and an endpoint whose fallback it is."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Any

from tests.redis_server import CERTIFICATES
from tests.replica import Behaviour, Replica, Talk, says
from tests.stage import Stage, request, stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rawclient import Reply

POST = request("/v1/chat?x=1", method="POST", body=b"x" * 1000)
answers = says(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nfrom far")


def status(code: int, fields: bytes = b"") -> Behaviour:
    return says(b"HTTP/1.1 %d Whatever\r\nContent-Length: 4\r\n%b\r\nsad!" % (code, fields))


async def resets(talk: Talk) -> None:
    await talk.body()
    talk.reset()


def outcomes(s: Stage) -> dict[str, int]:
    return s.live.metrics.fallbacks


def told(s: Stage, action: str) -> list[str]:
    return [event.reason for event in s.app.events.since(0) if event.action == action]


def later(s: Stage, seconds: float) -> None:
    """So much time has passed for requests."""
    clock = s.proxy.clock
    s.proxy.clock = lambda: clock() + seconds


def served_by(reply: Reply) -> bytes | None:
    return reply.get("x-activator-served-by")


@contextlib.asynccontextmanager
async def cloud(behave: Behaviour = answers) -> AsyncIterator[Replica]:
    """A service over TLS, at `localhost`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
    service = Replica(behave, tls=context)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()
        assert not service.failures


@contextlib.asynccontextmanager
async def cold(
    service: Replica, *, path: str = "", fallback: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Stage]:
    """An endpoint whose replica is not ready until it is started."""
    to = {"url": f"https://localhost:{service.port}{path}", **(fallback or {})}
    async with stage(ready=False, fallback=to, **options) as s:
        yield s
