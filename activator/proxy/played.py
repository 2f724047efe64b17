"""A request that is being played: what it is, where it stands, and what is told of it in the end.

Traces, metrics, tokens and its line in the log; what becomes of it is `handler`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from activator.core.endpoint import Dialect
from activator.core.tokens import tokens_of
from activator.proxy.stencils import is_stream_of_tokens
from activator.proxy.timing import overhead
from activator.proxy.traced import begin_trace
from activator.telemetry.requests import Subject, answered, is_logged, request_ended

if TYPE_CHECKING:
    from activator.proxy.admission import Peeked
    from activator.proxy.admitted import Admitted
    from activator.proxy.aside import Aside
    from activator.proxy.detour import Detour
    from activator.proxy.holding import Holding
    from activator.proxy.listener import Proxy
    from activator.proxy.openai.early import EarlyAnswer
    from activator.telemetry.spans import Trace
    from activator.upstream.registry import LiveEndpoint, LiveReplica
    from activator.wire.heads import RequestHead, ResponseHead
    from activator.wire.server import ServerConnection


# The states: plain numbers of the module, for they are compared several times a request.
NEW: Final = 0
ASKING: Final = 1
"""Whoever keeps the slots is asked whether it must wait."""
WAITING: Final = 2
"""It is in line, or gets ready to go to the fallback: `aside` knows more."""
FORWARDING: Final = 3
TUNNEL: Final = 4
OVER: Final = 5


class Played(ABC):
    """Whoever plays it fills this in: an `__init__` here would be one more call a request."""

    __slots__ = (
        "_answered_at",
        "_aside",
        "_attempts",
        "_dispatched_at",
        "_replica",
        "admitted",
        "arrived",
        "connection",
        "head",
        "id",
        "live",
        "peeked",
        "proxy",
    )  # fmt: skip

    proxy: Proxy
    connection: ServerConnection
    head: RequestHead
    admitted: Admitted
    live: LiveEndpoint
    id: bytes
    peeked: Peeked | None
    """What was read of its body to admit it."""
    arrived: float
    """When its head came; these are monotonic seconds."""
    _dispatched_at: float
    """When it was sent off last; 0: it was not."""
    _answered_at: float
    """When its answer began."""
    _attempts: int
    _replica: LiveReplica | None
    """The last one that it was sent to."""
    _aside: Aside | None

    @property
    @abstractmethod
    def _beside(self) -> Aside:
        """Made if there is none."""

    @property
    def _early(self) -> EarlyAnswer | None:
        return None if self._aside is None else self._aside.early

    @property
    def _holding(self) -> Holding | None:
        return None if self._aside is None else self._aside.holding

    @property
    def _detour(self) -> Detour | None:
        return None if self._aside is None else self._aside.detour

    @property
    def _trace(self) -> Trace | None:
        return None if self._aside is None else self._aside.trace

    @property
    def _pays(self) -> bool:
        """What it takes at the endpoint's own replicas is its key's."""
        admitted = self.admitted
        return bool(admitted.owner) and admitted.passive is None and self._detour is None

    def _begin_trace(self) -> None:
        trace = begin_trace(
            self.proxy, self.connection, self.head, request_id=self.id, arrived=self.arrived
        )
        if trace is not None:
            model = None if self.peeked is None else self.peeked.model
            trace.routed(self.live.endpoint.name, model=model, key=self.admitted.owner)
            self._beside.trace = trace

    def _tell_held(self, trace: Trace) -> None:
        holding = self._holding
        if holding is not None:
            trace.held(waited=holding.waited, woken_after=holding.woken_after, is_cold=holding.cold)

    def _tell_aside(
        self, aside: Aside, code: int, reason: str, *, sent: int, until: float
    ) -> float:
        """To its trace and the metrics; returns the seconds that it spent in the proxy itself, of
        those `until` it was sent off."""
        if aside.holding is not None:
            self.live.metrics.waited(aside.holding.waited)
        trace = aside.trace
        if trace is not None:
            self._tell_held(trace)
            if aside.early is not None and aside.early.used is not None:
                trace.used(aside.early.used)
            received = self.connection.received
            trace.ended(status=code, reason=reason, received=received, sent=sent)
        return overhead(
            since=self.arrived,
            until=until,
            holding=aside.holding,
            failures=aside.failures,
            elsewhere=aside.elsewhere,
        )

    def _tell(
        self, code: int, reason: str, now: float, *, received: int, sent: int, in_proxy: float
    ) -> None:
        """To the metrics and in its line of the log."""
        seconds = now - self.arrived
        self.live.metrics.request(code, reason, seconds, in_proxy)
        admitted, remote, replica = self.admitted, self.connection.peer, self._replica
        subject = admitted.subject or subject_of(admitted, self.head)
        if self.proxy.door.trusted:
            remote = self.proxy.door.client(self.head, remote)
        if self._aside is None and self._attempts == 1 and replica is not None and not reason:
            answered(subject, self.id, code, seconds, received, sent, replica.replica.id, remote)
        elif is_logged(code, reason):
            self._tell_more(
                subject,
                code,
                reason,
                seconds=seconds,
                received=received,
                sent=sent,
                remote=remote,
            )

    def _tell_more(
        self,
        subject: Subject,
        code: int,
        reason: str,
        *,
        seconds: float,
        received: int,
        sent: int,
        remote: str,
    ) -> None:
        """In its line, whatever became of it."""
        aside, replica, held, cold = self._aside, "", 0.0, False
        if self._replica is not None:
            replica = self._replica.replica.id
        if aside is not None:
            if aside.detour is not None:
                replica = aside.detour.name
            if aside.holding is not None:
                held, cold = aside.holding.waited, aside.holding.cold
        request_ended(
            subject,
            request_id=self.id,
            status=code,
            reason=reason,
            seconds=seconds,
            bytes_in=received,
            bytes_out=sent,
            remote=remote,
            held=held,
            cold=cold,
            replica=replica,
            attempts=self._attempts,
        )


def subject_of(admitted: Admitted, head: RequestHead) -> Subject:
    """Made once; kept for the lines of all requests that are admitted with it."""
    subject = admitted.subject = Subject(
        endpoint=admitted.live.endpoint.name,
        method=head.method,
        target=head.target,
        key=admitted.owner,
    )
    return subject


def count_tokens(admitted: Admitted, asked: RequestHead, head: ResponseHead, body: bytes) -> None:
    """Of an answer that is here as a whole."""
    live = admitted.live
    if live.endpoint.dialect is not Dialect.OPENAI or asked.method != b"POST":
        return
    is_stream = is_stream_of_tokens(head)
    if is_stream is not None:
        live.metrics.used(tokens_of(body, is_stream=is_stream), key=admitted.owner)
