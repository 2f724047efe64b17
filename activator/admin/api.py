"""The admin port's calls: what an operator sees and does, as HTTP.

Decides shapes and status codes. Who may call is `guard`'s, what happens is behind `Operations`.
"""

from __future__ import annotations

import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.admin.answers import answer
from activator.admin.costs import CostCalls
from activator.admin.dashboard import add_dashboard
from activator.admin.follow import Follow
from activator.admin.guard import COOKIE, SESSION_SECONDS, Hosts, Sessions, guard
from activator.admin.held import HeldCalls
from activator.admin.jobs import JobCalls
from activator.admin.lists import ListCalls
from activator.admin.ports import Conflict, Unavailable, UnknownEndpoint
from activator.admin.problems import Problem, problems, unknown_endpoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from activator.admin.ports import JobOperations, Operations
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics

MAX_BODY = 64 << 10
"""Bytes; the longest sensible body is a token."""
KEEP_ALIVE = 15.0
"""Seconds of silence after which an event stream says that it still lives: below the idle
timeouts of common proxies (60 s), and when it is noticed that a reader has gone."""


def make_app(
    operations: Operations,
    metrics: Metrics,
    events: EventLog,
    *,
    token: str | None,
    hosts: Collection[str],
    jobs: JobOperations | None = None,
    keep_alive: float = KEEP_ALIVE,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """The application of the admin port.

    `token`: what callers must present; None: nothing (for loopback only; the caller sees to
    that). `hosts`: the addresses this port listens on and the names it is known by, with or
    without port. `clock` (monotonic seconds) ends sessions. Closing the app ends event streams.
    """
    sessions = Sessions(token, clock=clock) if token is not None else None
    app = web.Application(
        middlewares=[problems, guard(hosts=Hosts(hosts), sessions=sessions)],
        client_max_size=MAX_BODY,
    )
    CostCalls(operations).add_to(app)
    follow = Follow(events, keep_alive=keep_alive)
    _add_reading(app, operations)
    _add_changing(app, operations)
    ListCalls(operations, metrics).add_to(app)
    HeldCalls(operations).add_to(app)
    JobCalls(jobs).add_to(app)
    add_dashboard(app)
    app.router.add_post("/api/login", _Login(sessions).trade)
    # no HEAD: the stream is endless
    app.router.add_get("/api/events", follow.stream, allow_head=False)
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(follow.close)
    return app


def _add_reading(app: web.Application, operations: Operations) -> None:
    @cache
    def description() -> Any:
        # when somebody asks for it: few do, and it takes a fiftieth of a start
        from activator.admin.openapi import describe  # noqa: PLC0415

        return describe()

    async def livez(request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def readyz(request: web.Request) -> web.Response:
        if (why_not := operations.ready()) is not None:
            raise Problem(503, why_not)
        return web.Response(text="ready\n")

    async def openapi(request: web.Request) -> web.Response:
        return web.json_response(description())

    async def endpoint(request: web.Request) -> web.Response:
        return await _status(operations, request.match_info["name"])

    async def history(request: web.Request) -> web.Response:
        found = operations.history(request.match_info["name"])
        if found is None:
            raise await unknown_endpoint(operations, request.match_info["name"])
        return answer(found)

    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/api/endpoints/{name}", endpoint)
    app.router.add_get("/api/endpoints/{name}/history", history)


def _add_changing(app: web.Application, operations: Operations) -> None:
    async def change(
        request: web.Request, carry_out: Callable[..., Awaitable[None]], **arguments: Any
    ) -> web.Response:
        name = request.match_info["name"]
        try:
            await carry_out(name, **arguments)
        except UnknownEndpoint:
            raise await unknown_endpoint(operations, name) from None
        except Conflict as conflict:
            raise Problem(409, str(conflict)) from conflict
        except Unavailable as away:
            raise Problem(503, str(away)) from away
        return await _status(operations, name)

    async def activate(request: web.Request) -> web.Response:
        await _arguments(request)
        return await change(request, operations.activate)

    async def deactivate(request: web.Request) -> web.Response:
        force = (await _arguments(request, force=bool)).get("force", False)
        return await change(request, operations.deactivate, force=force)

    async def pause(request: web.Request) -> web.Response:
        await _arguments(request)
        return await change(request, operations.pause)

    async def resume(request: web.Request) -> web.Response:
        await _arguments(request)
        return await change(request, operations.resume)

    for verb in (activate, deactivate, pause, resume):
        app.router.add_post(f"/api/endpoints/{{name}}/{verb.__name__}", verb)


class _Login:
    def __init__(self, sessions: Sessions | None) -> None:
        self._sessions = sessions

    async def trade(self, request: web.Request) -> web.Response:
        token = (await _arguments(request, token=str)).get("token")
        if self._sessions is None:
            raise Problem(409, "no admin token is configured, so nothing here needs a login")
        if token is None:
            raise Problem(400, 'a login is {"token": "…"}')
        if not self._sessions.is_token(token):
            raise Problem(401, "this is not the admin token")
        response = web.Response(status=204)
        response.set_cookie(
            COOKIE,
            self._sessions.open(),
            max_age=int(SESSION_SECONDS),
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response


async def _arguments(request: web.Request, **known: type) -> dict[str, Any]:
    """The body as an object with at most the known keys, each of its type; no body is `{}`."""
    raw = await request.read()
    try:
        arguments = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError) as broken:
        raise Problem(400, f"the body is not JSON: {broken}") from broken
    if not isinstance(arguments, dict):
        raise Problem(400, "the body is a JSON object, {} at least")
    for key, value in arguments.items():
        if key not in known:
            names = " and ".join(known) or "nothing"
            raise Problem(400, f"{key!r} means nothing here; {names} may be given")
        if not isinstance(value, known[key]):
            raise Problem(400, f"{key} is a {known[key].__name__}, not {value!r}")
    return arguments


async def _status(operations: Operations, name: str) -> web.Response:
    status = operations.endpoint(name)
    if status is None:
        raise await unknown_endpoint(operations, name)
    return answer(status)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "no-referrer"
