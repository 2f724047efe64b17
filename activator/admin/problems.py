"""Errors of the admin port: each an `application/problem+json` (RFC 9457), none a traceback."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from aiohttp import web

from activator.aiokit.slices import Slices

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

    from activator.admin.ports import Operations

_log = logging.getLogger("activator.admin")

COMPARED: Final = 10
"""Names at once: some tenths of a millisecond."""


class Problem(Exception):
    """An answer that says what is wrong and what would be right."""

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}

    def response(self) -> web.Response:
        title = HTTPStatus(self.status).phrase
        return web.json_response(
            {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail},
            status=self.status,
            headers=self.headers,
            content_type="application/problem+json",
        )


async def unknown_endpoint(operations: Operations, name: str) -> Problem:
    slices = Slices()
    names = operations.names()
    close: list[str] = []
    for first in range(0, len(names), COMPARED):
        close = get_close_matches(name, [*close, *names[first : first + COMPARED]], n=1)
        await slices.turn()
    hint = f"did you mean {close[0]!r}?" if close else "GET /api/endpoints lists them"
    return Problem(404, f"no endpoint is called {name!r}; {hint}")


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Outermost: whatever is raised below becomes a problem."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPMethodNotAllowed as refused:
        allowed = ", ".join(sorted(refused.allowed_methods))
        detail = f"{refused.method} is not possible at {request.path}; {allowed} is"
        return Problem(405, detail, headers={"Allow": allowed}).response()
    except web.HTTPNotFound:
        detail = f"there is nothing at {request.path}; /openapi.json tells what there is"
        return Problem(404, detail).response()
    except web.HTTPRequestEntityTooLarge:
        return Problem(413, "the body of such a call is a few bytes of JSON").response()
    except web.HTTPException as refused:
        return Problem(refused.status, refused.reason or refused.text or "refused").response()
    except Exception:
        _log.exception("admin call failed", extra={"action": "admin_failed", "path": request.path})
        return Problem(500, "this call failed inside the activator; its log tells why").response()
