"""One probe of one replica: does it answer? What follows from it is `core.readiness`'s."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import aiohttp

from activator.core.readiness import Answer, ProbeOutcome

if TYPE_CHECKING:
    from activator.core.endpoint import ProbePolicy, Replica


MOST_FETCHED: Final = 1 << 20
"""Bytes."""
FETCHED_WITHIN: Final = 10.0
"""Seconds: a server that has just become ready may be busy with its first requests."""


class ProbeClient:
    """Asks replicas whether they answer, each time over a connection of its own: a server that
    still starts must not be asked through a socket that it has half accepted."""

    def __init__(self) -> None:
        self.crowd = 0
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def probe(self, replica: Replica, policy: ProbePolicy) -> ProbeOutcome:
        """GET `path` (2xx and 3xx are an answer), or a TCP connection where there is no path."""
        port = policy.port or replica.port
        try:
            async with asyncio.timeout(policy.timeout or None):
                if policy.path is None:
                    await self._connect(replica.host, port)
                    return ProbeOutcome(Answer.ANSWERED, "accepts connections")
                return await self._get(replica.host, port, policy.path)
        except TimeoutError:
            return ProbeOutcome(Answer.TIMEOUT, f"no answer within {policy.timeout:g} s")
        except (ConnectionRefusedError, aiohttp.ClientConnectorError) as error:
            return ProbeOutcome(Answer.REFUSED, f"no connection: {error}")
        except (OSError, aiohttp.ClientError) as error:
            return ProbeOutcome(Answer.ERROR, f"{type(error).__name__}: {error}")

    async def _get(self, host: str, port: int, path: str) -> ProbeOutcome:
        authority = f"[{host}]" if ":" in host else host
        async with self._session.get(
            f"http://{authority}:{port}{path}", allow_redirects=False
        ) as answer:
            if 200 <= answer.status < 400:
                return ProbeOutcome(Answer.ANSWERED, f"answers {answer.status}")
            return ProbeOutcome(Answer.ERROR, f"answers {answer.status} at {path}")

    async def fetch(self, replica: Replica, path: str) -> bytes | None:
        """What a replica answers to GET with 200, up to MOST_FETCHED; None: nothing of the kind."""
        authority = f"[{replica.host}]" if ":" in replica.host else replica.host
        url = f"http://{authority}:{replica.port}{path}"
        try:
            async with (
                asyncio.timeout(FETCHED_WITHIN),
                self._session.get(url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:
                    return None
                body = await answer.content.read(MOST_FETCHED + 1)
                while len(body) <= MOST_FETCHED and (more := await answer.content.readany()):
                    body += more
                return body if len(body) <= MOST_FETCHED else None
        except (TimeoutError, OSError, aiohttp.ClientError):
            return None

    async def _connect(self, host: str, port: int) -> None:
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()

    async def aclose(self) -> None:
        await self._session.close()
