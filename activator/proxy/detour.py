"""A request that nothing is ready for, on its way to the endpoint's fallback instead of in line.

Its body is collected and kept until an answer begins, so that it can be held as usual if there is
none. Whether the fallback is worth a try is decided in `core.fallback`; the bytes are relayed by
`handler`, to whom the request belongs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from activator.core.dispatch import Ticket
from activator.core.durations import in_words
from activator.core.endpoint import Dialect, Service
from activator.core.fallback import (
    Outcome,
    is_answer,
    is_its_own_trouble,
    may_answer,
    model_there,
)
from activator.core.routing import is_blocked, normal_path
from activator.core.usage import day_of
from activator.errors import ActivatorError, StoreUnavailable
from activator.proxy.edits import Edit
from activator.proxy.foreign import of_service, outbound_to_service
from activator.proxy.headers import resized
from activator.proxy.openai.peeking import written
from activator.proxy.outbound import outbound_to
from activator.upstream.forward import Answer, Attempt
from activator.upstream.guest import Guest
from activator.wire.heads import CHUNKED

if TYPE_CHECKING:
    import asyncio

    from activator.proxy.admission import Peeked
    from activator.proxy.admitted import Admitted
    from activator.proxy.body import Body
    from activator.proxy.listener import Proxy
    from activator.telemetry.spans import Trace
    from activator.upstream.forward import Failure, Outbound
    from activator.upstream.registry import LiveEndpoint, LiveFallback, LiveReplica
    from activator.wire.heads import RequestHead, ResponseHead
    from activator.wire.server import ServerConnection


class Traveller(Protocol):
    """Whose request it is. One of the first two is called, once, and after it perhaps the third."""

    def set_out(self) -> None:
        """It may go: `attempt` makes the attempt."""

    def turned_back(self) -> None:
        """It is to be held as usual; its body is as it was."""

    def broken(self, error: ActivatorError) -> None:
        """Its body could not be kept."""


class Detour:
    """See the module. After `turned_back` or `end` it has given everything back."""

    __slots__ = (
        "_admitted", "_arrived", "_attempt", "_body", "_connection", "_fallback", "_guest", "_head",
        "_id", "_live", "_model", "_over", "_peeked", "_proxy", "_replica", "_reserved", "_task",
        "_traveller", "_written", "whole_at",
    )  # fmt: skip

    def __init__(
        self,
        proxy: Proxy,
        live: LiveEndpoint,
        fallback: LiveFallback,
        traveller: Traveller,
        *,
        connection: ServerConnection,
        head: RequestHead,
        body: Body,
        admitted: Admitted,
        peeked: Peeked | None,
        request_id: bytes,
        arrived: float,
        model: str | None,
    ) -> None:
        """`arrived`: monotonic seconds. `model`: what the body's `model` is to be there; None: it
        stays."""
        self._proxy = proxy
        self._live = live
        self._fallback = fallback
        self._traveller = traveller
        self._connection = connection
        self._head = head
        self._body = body
        self._admitted = admitted
        self._peeked = peeked
        self._id = request_id
        self._arrived = arrived
        self._model = model
        self._guest: Guest | None = None
        """At another endpoint."""
        self._replica: LiveReplica | None = None
        self._attempt: Attempt | None = None
        self._reserved = 0
        self._task: asyncio.Task[None] | None = None
        self._written: bytes | None = None
        """What stands in the body instead of its model."""
        self._over = False
        self.whole_at = 0.0
        """When the body was complete."""

    @property
    def name(self) -> str:
        """Whose answer it gets."""
        return self._fallback.fallback.name

    # --- the body

    def begin(self) -> None:
        length, most = self._head.length, self._most
        if length > most or self._body.size > most:
            self._turn_back(Outcome.TOO_LARGE)
        elif self._body.complete:
            self.whole()
        elif self._proxy.intake.enter(self, most if length == CHUNKED else length):
            self.may_read()
        else:
            self._connection.pause_body()

    @property
    def _most(self) -> int:
        """Bytes of a body that are kept: what has been put into a file may grow there."""
        if self._body.spool is not None:
            return self._proxy.openai.peek_bytes
        return self._live.endpoint.queue.buffer_bytes

    @property
    def held_bytes(self) -> int:
        return self._body.size

    def may_read(self) -> None:
        self._connection.send_continue()
        self._connection.resume_body()

    def more(self, data: bytes) -> None:
        try:
            self._body.add(data)
        except ActivatorError as error:
            self._traveller.broken(error)
            return
        if self._task is None and self._body.size > self._most:
            self._turn_back(Outcome.TOO_LARGE)

    def whole(self) -> None:
        """The body is complete."""
        self.whole_at = self._proxy.clock()
        self._proxy.intake.leave(self)
        if self._body.spool is None and self._body.size:
            if not self._proxy.held_memory.reserve(self._body.size):
                self._turn_back(Outcome.TOO_LARGE)
                return
            self._reserved = self._body.size
        self._task = self._live.tasks.spawn(self._depart(), name="detour")

    # --- there

    async def _depart(self) -> None:
        try:
            why = await self._why_not()
        except Exception:
            self._task = None
            self._turn_back(Outcome.UNAVAILABLE)
            raise  # the end of the task tells it
        self._task = None
        if why is None:
            self._traveller.set_out()
        else:
            self._turn_back(why)

    async def _why_not(self) -> Outcome | None:
        """None: it has a place there, and is counted."""
        fallback = self._fallback.fallback
        if isinstance(fallback.to, Service):
            self._replica = self._fallback.server
        else:
            host = self._proxy.registry.get(fallback.to)
            if host is not None and not self._is_blocked_at(host):
                admitted = self._admitted
                ticket = Ticket(
                    urgency=admitted.urgency, affinity=admitted.affinity, arrived=self._arrived
                )
                self._guest = Guest(host, ticket, key=self._admitted.owner)
                self._replica = await self._guest.enter()
        if self._replica is None:
            return Outcome.UNAVAILABLE
        return await self._count(most=fallback.max_per_day)

    def _is_blocked_at(self, host: LiveEndpoint) -> bool:
        path = self._admitted.path.decode("ascii")
        return path.startswith("/") and is_blocked(host.endpoint, normal_path(path))

    async def _count(self, *, most: int) -> Outcome | None:
        if not most:
            return None
        endpoint, day = self._live.endpoint.name, day_of(self._proxy.wall())
        try:
            taken = await self._proxy.quotas.take(endpoint, day, most=most)
        except StoreUnavailable:
            return Outcome.UNAVAILABLE
        if taken is not None:
            self._fallback.conduct.counted(taken, day=day)
            return None
        if self._fallback.conduct.used_up(day=day, most=most):
            words = f"{self.name} has had its {most} requests of {day} (UTC)"
            self._live.record("fallback_used_up", words)
        return Outcome.CAPPED

    def attempt(self, answer: Answer, *, identity: bool, trace: Trace | None) -> Attempt:
        """`answer`: who is told of it. `identity`: the answer is not to be compressed."""
        assert self._replica is not None
        parent = None if trace is None else trace.forward(self._replica.replica)
        head = self._rewritten()
        guest, to = self._guest, self._fallback.fallback.to
        if guest is not None or not isinstance(to, Service):
            assert guest is not None
            outbound: Outbound = outbound_to(
                self._replica.replica,
                self._proxy,
                self._connection,
                head,
                self._admitted,
                request_id=self._id,
                identity=identity,
                parent=parent,
            )
            self._attempt = Attempt(guest.host, self._replica, outbound, answer)
            return self._attempt
        outbound = outbound_to_service(
            to,
            head,
            target=self._admitted.target(head),
            size=self._body.size,
            via=self._proxy.via,
            request_id=self._id,
            identity=identity,
        )
        self._attempt = Attempt(self._live, self._replica, outbound, answer)
        return self._attempt

    def _rewritten(self) -> RequestHead:
        """The head for the body as it is sent there."""
        if self._model is None or self._peeked is None or self._peeked.value is None:
            return self._head
        value = self._peeked.value
        self._written = written(self._model, value)
        self._body.change([Edit(value.start, value.end, self._written)])
        return self._head if self._head.length == CHUNKED else resized(self._head, self._body.size)

    def _restore(self) -> None:
        if self._written is not None:
            assert self._peeked is not None
            value = self._peeked.value
            assert value is not None
            self._body.change([Edit(value.start, value.start + len(self._written), value.raw)])
            self._written = None

    # --- how it ends

    def answered(self, head: ResponseHead) -> ResponseHead | None:
        """The head as it is passed on; None: it is no answer, and `turned_back` was called."""
        fallback = self._fallback
        if not is_answer(head.status):
            why = f"{self.name} answered {head.status}"
            if is_its_own_trouble(head.status):
                self._leave_alone(why, retry_after=_seconds(head.get(b"retry-after")))
            else:
                self._tell("fallback_refused", f"{why} to {self._head.method.decode('ascii')}")
            self._turn_back(Outcome.REFUSED)
            return None
        fallback.conduct.answered()
        self._live.metrics.fell_back(Outcome.SERVED)
        self._tell("fell_back", f"{self.name} answers until a replica is ready")
        self._free()
        if self._guest is not None:
            self._guest.answered()
            return head
        return of_service(head)

    def failed(self, failure: Failure) -> None:
        """There is no answer; `turned_back` is called."""
        if self._guest is not None and failure.unreachable:
            self._guest.unreachable(failure.detail)
        self._leave_alone(failure.detail)
        self._turn_back(Outcome.FAILED)

    def broke_off(self, failure: Failure) -> None:
        """In the middle of its answer."""
        if self._guest is not None and failure.unreachable:
            self._guest.unreachable(failure.detail)

    def _leave_alone(self, why: str, *, retry_after: float | None = None) -> None:
        conduct, now = self._fallback.conduct, self._proxy.clock()
        rest = conduct.failed(now=now, retry_after=retry_after)
        if rest is not None:
            self._live.record("fallback_failed", f"{why}; not asked for {in_words(rest)}")

    def _tell(self, action: str, words: str) -> None:
        """Once while nothing is ready."""
        if self._fallback.is_news(words, since=self._live.warm_since):
            self._live.record(action, words)

    def _turn_back(self, why: Outcome) -> None:
        self._live.metrics.fell_back(why)
        if self._attempt is not None:
            self._attempt.abort()
        self.end()
        self._restore()
        self._traveller.turned_back()

    def _free(self) -> None:
        if self._reserved:
            self._proxy.held_memory.free(self._reserved)
            self._reserved = 0

    def end(self) -> None:
        """Everything is given back; the body is left to its owner."""
        if self._over:
            return
        self._over = True
        self._proxy.intake.leave(self)
        self._free()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if self._guest is not None:
            self._guest.leave()


def detour_of(
    proxy: Proxy,
    live: LiveEndpoint,
    traveller: Traveller,
    *,
    connection: ServerConnection,
    head: RequestHead,
    body: Body,
    admitted: Admitted,
    peeked: Peeked | None,
    request_id: bytes,
    arrived: float,
) -> Detour | None:
    """For a request that would be held; None: it is. `arrived`: monotonic seconds."""
    fallback = live.fallback
    if fallback is None or not may_answer(
        cold=live.cold, paused=live.gate.paused, tunnel=head.websocket
    ):
        return None
    most = fallback.fallback.max_per_day
    why = fallback.conduct.why_not(day=day_of(proxy.wall()), most=most, now=proxy.clock())
    model = None
    if why is None and head.length and live.endpoint.dialect is Dialect.OPENAI:
        to = fallback.fallback.to
        other = proxy.registry.get(to) if isinstance(to, str) else None
        model = model_there(fallback.fallback, None if other is None else other.endpoint)
        if model is not None and (peeked is None or peeked.model is None):
            # it names none that could be changed, or nobody has read it since it was warm then
            why = Outcome.UNREADABLE
    if why is not None:
        live.metrics.fell_back(why)
        return None
    return Detour(
        proxy,
        live,
        fallback,
        traveller,
        connection=connection,
        head=head,
        body=body,
        admitted=admitted,
        peeked=peeked,
        request_id=request_id,
        arrived=arrived,
        model=model,
    )


def _seconds(retry_after: bytes | None) -> float | None:
    """Of a `Retry-After` in seconds; a date is not worth reading."""
    if retry_after is None or not retry_after.isdigit():
        return None
    return float(retry_after[:9])
