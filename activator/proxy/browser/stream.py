"""`/.activator/waiting?at=TARGET`: what changes, told to the waiting page of one visitor.

While it is open its visitor stands in line like any request, which is demand. At the visitor's
turn the place is given up and the page told to ask again; it ends as every wait does, so that a tab
that nobody looks at keeps nothing awake.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from activator.errors import (
    ActivatorError,
    MethodNotAllowed,
    NoCapacity,
    NotFound,
    QueueFull,
    ShuttingDown,
    StartFailed,
)
from activator.proxy.admission import BodyNeeded, ModelsAsked, OwnPath, ResponseAsked, admit
from activator.proxy.body import NO_BODY
from activator.proxy.browser.page import described
from activator.proxy.headers import retargeted
from activator.proxy.holding import Holding
from activator.proxy.replies import status_line
from activator.proxy.talk import Talk
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.proxy.admitted import Admitted
    from activator.proxy.listener import Proxy
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

MOST: Final = 2000
"""Streams of one activator: each costs a task and a look a second. Pages beyond ask again by
themselves."""
LOOK: Final = 1.0
"""Seconds between two looks at how far the start is; more, if there are many streams."""
CROWD: Final = 200
"""Looks a second, all streams together."""
SILENCE: Final = 10.0
"""Seconds after which it is told again although nothing has changed: the page hears that the
stream lives."""
RECONNECT: Final = 1000
"""Milliseconds after which a browser that loses the stream asks for it again."""
_TARGET: Final = re.compile(r"/[\x21-\x7e]*")


def watched(proxy: Proxy, head: RequestHead) -> Admitted:
    """Whose page asks for its stream: it must be let in exactly as the page was. Raises the
    ActivatorError that says why not."""
    if head.method != b"GET":
        raise MethodNotAllowed("GET is served here")
    query = head.target.partition(b"?")[2].decode("ascii")
    target = parse_qs(query).get("at", [""])[0]
    if not _TARGET.fullmatch(target):
        raise NotFound("`at` is the path of the page that waits")
    try:
        admitted = admit(
            retargeted(head, target.encode("ascii")),
            door=proxy.door,
            registry=proxy.registry,
            via=proxy.via,
            default_model=proxy.openai.default_model,
        )
    except (OwnPath, ModelsAsked, ResponseAsked, BodyNeeded) as nothing:
        raise NotFound("There is no waiting page at this path") from nothing
    if admitted.passive is not None or not admitted.live.endpoint.waiting_page:
        raise NotFound("There is no waiting page at this path")
    return admitted


class PageStream(Talk):
    """One visitor's stream; implements `holding.Waiter`."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        admitted: Admitted,
        *,
        request_id: bytes,
    ) -> None:
        super().__init__(proxy, connection, head, request_id=request_id)
        self._live = admitted.live
        self.endpoint = admitted.live.endpoint.name
        self._ticket = admitted.ticket(arrived=self.arrived)
        self.owner = admitted.owner
        self._holding: Holding | None = None
        self._ready = False
        self._why: ActivatorError | None = None
        """Why it stands in line no longer, or not now."""
        self._again_at = 0.0
        self._parting = False
        self._happened = asyncio.Event()

    async def work(self) -> None:
        streams = self.proxy.streams
        if len(streams) >= MOST:
            raise QueueFull("Too many pages wait here already", retry_after=5)
        self.connection.begin_answer(
            status_line(200) + b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\n"
            b"X-Accel-Buffering: no\r\nX-Robots-Tag: noindex\r\nX-Request-Id: %b\r\n" % self.id,
            length=CHUNKED,
        )
        streams.add(self)
        try:
            await self._tell()
        finally:
            streams.discard(self)
            self._step_out()
        self.finish()

    def ended(self, *, code: int, reason: str) -> None:
        self.proxy.metrics.unrouted.request(code=code, reason=reason, duration=0.0, overhead=0.0)

    def part(self) -> None:
        """This activator ends: the browser asks another."""
        self._parting = True
        self._happened.set()

    # --- in line

    def _line_up(self) -> None:
        """At the old place, if it has had one."""
        self._why = None
        self._live.gate.arrive()
        holding = self._holding = Holding(
            self.proxy,
            self._live,
            self._ticket,
            connection=self.connection,
            head=self.head,
            body=NO_BODY,
            request_id=self.id,
            owner=self.owner,
            within=None,
            waiter=self,
        )
        holding.waited = self.waited
        try:
            holding.begin()
        except ActivatorError as error:
            self.refused(error)

    def _step_out(self) -> None:
        holding, self._holding = self._holding, None
        if holding is None:
            return
        holding.end()
        self.waited = holding.waited
        self._live.gate.withdraw(self._ticket)
        self._live.gate.leave(served=False)

    def granted(self, replica: Replica) -> None:
        self._ready = True
        self._step_out()
        self._happened.set()

    def refused(self, error: ActivatorError) -> None:
        self._why = error
        self._again_at = self.proxy.clock() + max(1.0, error.retry_after or 0.0)
        self._step_out()
        self._happened.set()

    # --- what is told

    async def _tell(self) -> None:
        await self.send(b"retry: %d\n\n" % RECONNECT)
        last, told_at = "", 0.0
        while True:
            self._happened.clear()
            if self._is_due:
                self._line_up()
            if self._ready:
                await self.send(_event("ready", {}))
                return
            if self._parting or isinstance(self._why, ShuttingDown):
                return
            if self._why is not None and not self._tries_again:
                await self.send(_event("over", {"problem": self._why.detail}))
                return
            told, now = self._now(), self.proxy.clock()
            steady = json.dumps(told | {"elapsed": None, "share": None, "retry": None})
            if steady != last or now - told_at >= SILENCE:
                last, told_at = steady, now
                await self.send(_event("progress", told))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(LOOK, len(self.proxy.streams) / CROWD)):
                    await self._happened.wait()

    @property
    def _is_due(self) -> bool:
        if self._holding is not None or self._ready or self._parting:
            return False
        if self._why is None:
            return True
        is_over = self.proxy.clock() >= self._again_at or not self._live.cold
        return self._tries_again and is_over

    @property
    def _tries_again(self) -> bool:
        """What stood in its way passes by itself."""
        return isinstance(self._why, StartFailed | NoCapacity | QueueFull)

    def _now(self) -> dict[str, Any]:
        place = self._live.gate.place(self._ticket) if self._holding is not None else None
        told = described(self._live, self._live.outlook(), place=place)
        if isinstance(self._why, QueueFull):
            told["problem"] = self._why.detail
        return told


def _event(name: str, told: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(told)}\n\n".encode()
