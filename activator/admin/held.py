"""Requests that are held, one by one: listed by the page, and cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from activator.admin.answers import answer
from activator.admin.ports import UnknownEndpoint
from activator.admin.problems import Problem, unknown_endpoint

if TYPE_CHECKING:
    from activator.admin.ports import Operations

MOST: int = 500
"""Requests in one answer."""


class HeldCalls:
    """`/api/endpoints/NAME/held`."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/api/endpoints/{name}/held", self._list)
        app.router.add_delete("/api/endpoints/{name}/held/{id:.+}", self._cancel)

    async def _list(self, request: web.Request) -> web.Response:
        first = _number(request, "first", default=0, least=0)
        most = _number(request, "limit", default=100, least=1)
        if most > MOST:
            raise Problem(400, f"limit is a number from 1 to {MOST}")
        name = request.match_info["name"]
        found = self._operations.held(name, first=first, most=most)
        if found is None:
            raise await unknown_endpoint(self._operations, name)
        return answer(found)

    async def _cancel(self, request: web.Request) -> web.Response:
        name, request_id = request.match_info["name"], request.match_info["id"]
        try:
            cancelled = self._operations.cancel_held(name, request_id)
        except UnknownEndpoint:
            raise await unknown_endpoint(self._operations, name) from None
        if not cancelled:
            raise Problem(404, f"no request with the id {request_id!r} waits here (any more)")
        return web.json_response({"cancelled": cancelled})


def _number(request: web.Request, name: str, *, default: int, least: int) -> int:
    given = request.query.get(name, str(default))
    if not given.isdecimal() or len(given) > 9 or int(given) < least:
        raise Problem(400, f"{name} is a number from {least}")
    return int(given)
