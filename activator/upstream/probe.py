"""One probe of one replica: does it answer? What follows from it is `core.readiness`'s."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from activator.core.readiness import Answer, ProbeOutcome

if TYPE_CHECKING:
    from activator.core.endpoint import ProbePolicy, Replica


class ProbeClient:
    """Asks replicas whether they answer, each time over a connection of its own: a server that
    still starts must not be asked through a socket that it has half accepted."""

    def __init__(self) -> None:
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

    async def _connect(self, host: str, port: int) -> None:
        _, writer = await asyncio.open_connection(host, port)
        writer.close()
        await writer.wait_closed()

    async def aclose(self) -> None:
        await self._session.close()
