"""Calls to the API server: objects, patches, logs, and the lines of a watch.

A refused credential is read again and the call repeated once; everything else that goes wrong is
one of `kube.errors`. When to ask again is the caller's to decide.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from activator.kube.access import Access
from activator.kube.errors import Forbidden, Unauthorized, Unreachable, error_of
from activator.kube.outage import Outage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

PATIENCE: Final = 10.0
"""Seconds for one answer: a server that is well answers in milliseconds, a long list in seconds."""
CONNECT: Final = 5.0
"""Seconds for a connection: a server that is restarted refuses at once, one that is cut off does
not."""
WAKING: Final = 30.0
"""Seconds after a failed connection in which "forbidden" is no verdict: an API server that has just
been started refuses everybody until it has read its roles."""

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"


class KubeClient:
    """Of one cluster. May be used before anything answers."""

    def __init__(
        self,
        access: Access | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._access = access or Access()
        self._clock = clock
        self.outage = Outage(clock=clock, dice=dice)
        self._opening = asyncio.Lock()
        self._away_at = float("-inf")
        """When it last could not be asked."""

    async def get(self, path: str, **params: str) -> dict[str, Any]:
        return await self._object("GET", path, params=params)

    async def patch(self, path: str, body: Any, *, content_type: str) -> dict[str, Any]:
        """The object as it is afterwards. `body`: operations, or what to merge."""
        return await self._object("PATCH", path, body=body, content_type=content_type)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return await self._object("POST", path, body=body)

    async def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Outdated: the object has another `resourceVersion` than `body`."""
        return await self._object("PUT", path, body=body)

    async def text(self, path: str, **params: str) -> str:
        """What is not JSON: logs."""
        return (await self._body("GET", path, params=params)).decode("utf-8", "replace")

    @contextlib.asynccontextmanager
    async def watching(
        self, path: str, *, params: Mapping[str, str], silence: float
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """The events of a watch that has begun. They end when the server ends it; Unreachable:
        the connection broke, or nothing came for `silence` seconds."""
        answer = await self._begun(path, params)
        try:
            yield _events(answer, silence=silence, what=f"GET {path}")
        finally:
            answer.close()

    async def _begun(self, path: str, params: Mapping[str, str]) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._answer("GET", path, params=params, timeout=timeout)
        except TimeoutError:
            raise Unreachable(f"GET {path}: no answer in time") from None

    async def aclose(self) -> None:
        await self._access.aclose()

    async def _object(self, method: str, path: str, **how: Any) -> dict[str, Any]:
        body = await self._body(method, path, **how)
        try:
            told = json.loads(body)
        except ValueError as error:
            raise Unreachable(f"{method} {path}: the answer is not JSON") from error
        if not isinstance(told, dict):
            raise Unreachable(f"{method} {path}: the answer is no object")
        return told

    async def _body(self, method: str, path: str, **how: Any) -> bytes:
        timeout = aiohttp.ClientTimeout(total=PATIENCE, sock_connect=CONNECT)
        answer = await self._answer(method, path, timeout=timeout, **how)
        try:
            return await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{method} {path}: the answer broke off") from error
        finally:
            answer.release()

    async def _answer(self, method: str, path: str, **how: Any) -> aiohttp.ClientResponse:
        await self._open()
        try:
            return await self._checked(method, path, **how)
        except Unauthorized:
            if not await self._renewed():
                raise
        return await self._checked(method, path, **how)

    async def _open(self) -> None:
        async with self._opening:
            if not self._access.is_open:
                await self._access.open(now=self._clock())

    async def _renewed(self) -> bool:
        before = self._access.generation
        async with self._opening:
            # somebody else may have done it while we waited
            if self._access.generation != before:
                return True
            return await self._access.renew(now=self._clock())

    async def _checked(self, method: str, path: str, **how: Any) -> aiohttp.ClientResponse:
        how.setdefault("params", {})
        try:
            answer = await self._access.request(method, path, **how)
        except Unreachable:
            self._away_at = self._clock()
            self.outage.began()
            raise
        if answer.ok:
            self.outage.over()
            return answer
        try:
            body = await answer.read()
        except (aiohttp.ClientError, OSError):
            body = b""
        finally:
            answer.release()
        error = error_of(
            answer.status,
            body,
            what=f"{method} {path}",
            retry_after=answer.headers.get("Retry-After"),
        )
        if type(error) is Forbidden and self._clock() - self._away_at < WAKING:
            raise Unreachable(str(error))
        raise error


async def _events(
    answer: aiohttp.ClientResponse, *, silence: float, what: str
) -> AsyncIterator[dict[str, Any]]:
    while True:
        try:
            async with asyncio.timeout(silence):
                line = await answer.content.readline()
        except TimeoutError:
            raise Unreachable(f"{what}: nothing came for {silence:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unreachable(f"{what}: the watch broke off") from error
        if not line:
            return
        try:
            event = json.loads(line)
        except ValueError as error:
            raise Unreachable(f"{what}: the watch broke off") from error
        if isinstance(event, dict):
            yield event
