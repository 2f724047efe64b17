"""Events as a stream of server-sent events (WHATWG HTML, section 9.2), resumable by id.

A reader that cannot keep up loses the oldest events and is told so with an event `lost`; one that
has gone, or takes nothing for long, is let go. What is an event is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from activator.admin.answers import Listed, as_json, in_parts, long_answer
from activator.admin.problems import Problem
from activator.aiokit.taking import taken, taken_by

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from activator.telemetry.events import Event, EventLog

    Send = Callable[[bytes], Awaitable[None]]

MAX_READERS = 64
"""Streams open at once: a few operators and dashboards, each a task and a queue."""
STUCK = 30.0
"""Seconds for which a reader may take nothing of what it is told."""


class Follow:
    """The handler of `/api/events`.

    Without an id (`?since=`, or `Last-Event-ID` which wins) the stream begins with what happens
    next, with one it first tells what came after it.
    """

    def __init__(self, events: EventLog, *, keep_alive: float) -> None:
        self._events = events
        self._keep_alive = keep_alive

    async def stream(self, request: web.Request) -> web.StreamResponse:
        after = _after(request)
        accept = request.headers.get("Accept", "").partition(";")[0].strip().lower()
        if accept == "application/json":
            return await long_answer({"events": Listed(self._events.since(after or 0))})
        if self._events.subscribers >= MAX_READERS:
            raise Problem(503, f"{MAX_READERS} readers follow already")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        try:
            await self._tell(request, response, after)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        return response

    async def close(self, app: web.Application) -> None:
        self._events.close()

    async def _tell(
        self, request: web.Request, response: web.StreamResponse, after: int | None
    ) -> None:
        with self._events.subscribe() as subscription:
            # no await between subscribing and reading the past: nothing falls in between
            past: tuple[int, Sequence[Event]] = (0, ())
            if after is not None:
                past = self._events.lost_since(after), self._events.since(after)
            await response.prepare(request)
            send = partial(_send, response, request.transport)
            await send(b"retry: 2000\n\n")
            await _tell_all(send, *past)
            ended = False
            while not ended:
                try:
                    async with asyncio.timeout(self._keep_alive):
                        await subscription.wait()
                except TimeoutError:
                    await send(b": still here\n\n")
                else:
                    ended = subscription.closed
                    await _tell_all(send, *subscription.take())


async def _tell_all(send: Send, lost: int, events: Iterable[Event]) -> None:
    for part in await in_parts(_rendered(lost, events)):
        await send(part)


async def _send(
    response: web.StreamResponse, transport: asyncio.WriteTransport | None, part: bytes
) -> None:
    if transport is None:
        raise ConnectionResetError("nobody is there to read")
    await taken(response.write(part), partial(taken_by, transport), silence=STUCK)


def _rendered(lost: int, events: Iterable[Event]) -> Iterator[str]:
    if lost:
        yield f"event: lost\ndata: {as_json({'lost': lost})}\n\n"
    for event in events:
        yield f"id: {event.id}\ndata: {as_json(event)}\n\n"


def _after(request: web.Request) -> int | None:
    given = request.headers.get("Last-Event-ID") or request.query.get("since")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 20):
        raise Problem(400, f"since is the id of an event, a whole number, not {given!r}")
    return int(given)
