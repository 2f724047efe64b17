"""What there is of all endpoints: their status, their last day, the configuration."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.admin.answers import Listed, Named, Together, pieces, sent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aiohttp import web

    from activator.admin.ports import Operations


class ListCalls:
    """`GET /api/endpoints`, `/api/history` and `/api/config`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations
        self._lock = asyncio.Lock()

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/endpoints", self._call(self._endpoints))
        app.router.add_get("/api/history", self._call(self._days))
        app.router.add_get("/api/config", self._call(self._config))

    def _call(
        self, told: Callable[[], Iterator[str]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        together = Together(told, lock=self._lock)

        async def call(request: web.Request) -> web.Response:
            return sent(await together.parts())

        return call

    def _endpoints(self) -> Iterator[str]:
        listed = Listed(self._operations.endpoints())
        return pieces({"endpoints": listed, "configuration": self._operations.config_status()})

    def _days(self) -> Iterator[str]:
        return pieces({"endpoints": Named(self._operations.days())})

    def _config(self) -> Iterator[str]:
        keys, endpoints = self._operations.config(), self._operations.declared()
        config = {**keys, "endpoints": Listed(endpoints)}
        return pieces({"config": config, "status": self._operations.config_status()})
