"""What there is of all endpoints: status, last day, configuration, metrics."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from activator.admin.answers import Listed, Named, Together, pieces, sent
from activator.telemetry.exposition import Format

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from aiohttp import web

    from activator.admin.ports import Operations
    from activator.telemetry.metrics import Metrics


class ListCalls:
    """`GET /api/endpoints`, `/api/history`, `/api/config` and `/metrics`."""

    def __init__(self, operations: Operations, metrics: Metrics) -> None:
        self._operations = operations
        self._lock = asyncio.Lock()
        self._expositions = {
            form: Together(partial(metrics.render, form), lock=self._lock) for form in Format
        }

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/endpoints", self._call(self._endpoints))
        app.router.add_get("/api/history", self._call(self._days))
        app.router.add_get("/api/config", self._call(self._config))
        app.router.add_get("/metrics", self._expose)

    def _call(
        self, told: Callable[[], Iterator[str]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        together = Together(told, lock=self._lock)

        async def call(request: web.Request) -> web.Response:
            return sent(await together.parts())

        return call

    async def _expose(self, request: web.Request) -> web.Response:
        form = Format.wanted(request.headers.get("Accept", ""))
        return sent(await self._expositions[form].parts(), content_type=form.value)

    def _endpoints(self) -> Iterator[str]:
        listed = Listed(self._operations.endpoints())
        return pieces({"endpoints": listed, "configuration": self._operations.config_status()})

    def _days(self) -> Iterator[str]:
        return pieces({"endpoints": Named(self._operations.days())})

    def _config(self) -> Iterator[str]:
        keys, endpoints = self._operations.config(), self._operations.declared()
        config = {**keys, "endpoints": Listed(endpoints)}
        return pieces({"config": config, "status": self._operations.config_status()})
