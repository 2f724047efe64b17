"""Traces in OpenTelemetry's form, sent to a collector by OTLP over HTTP. The only module that
imports OpenTelemetry, and imported only where tracing is on.

A request is a server's span with parts below it: `route`, `hold` (and in it `activate`, while no
replica was ready), and `forward` for each replica it was sent to, whose span the replica's own are
below. Names and attributes follow the semantic conventions for HTTP and for generative AI; what
only the activator knows is `activator.*`. An attempt at a job is a trace of its own that links to
the request that made it.

Whether a request is traced is decided once, before anything is spent on it: as its caller has, if
there is a valid `traceparent`, otherwise by chance. Export is a thread's; what a collector does not
take is dropped, and said once.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as api
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
)

import activator
from activator.telemetry.spans import valid_traceparent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span

    from activator.core.endpoint import Replica
    from activator.core.tokens import Tokens
    from activator.telemetry.spans import Asked, JobAttempt

_log = logging.getLogger("activator.tracing")

EXPORT_WITHIN: Final = 5.0
"""Seconds that a collector may take for a batch; nobody waits for it but the thread."""
GATHER: Final = 1
"""Seconds in which spans come together before they are exported."""
LEAVE: Final = 1.5
"""Seconds that the last spans may take at the end."""
LONGEST: Final = 512
"""Characters of a path."""
_NO_FAILURE: Final = frozenset({"", "fallback"})
"""Reasons of answers that are a model's."""
_METHODS: Final = frozenset(
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
)
_OPERATIONS: Final = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}
"""`gen_ai.operation.name` by the end of a path; the longest first."""


class OtelTracer:
    """Implements `spans.Tracer`. `aclose` in the end."""

    def __init__(
        self,
        exporter: SpanExporter,
        *,
        sample: float,
        clock: Callable[[], float],
        dice: Callable[[], float] = random.random,
        at_once: bool = False,
    ) -> None:
        """`sample`: share of the requests whose callers have not decided. `dice`: from 0 to 1.
        `at_once`: each span is exported where it ends (tests)."""
        resource = Resource.create(
            {SERVICE_NAME: "activator", SERVICE_VERSION: activator.__version__}
        )
        # whatever is begun here is sampled: the decision has been made before
        self._provider = TracerProvider(
            sampler=ALWAYS_ON, resource=resource, shutdown_on_exit=False
        )
        self._provider.add_span_processor(
            SimpleSpanProcessor(exporter)
            if at_once
            else BatchSpanProcessor(exporter, schedule_delay_millis=GATHER * 1000)
        )
        self.spans = self._provider.get_tracer("activator", activator.__version__)
        self.clock = clock
        self._sample = sample
        self._dice = dice

    def wants(self, parent: bytes | None) -> bool:
        caller = _context(parent)
        if caller is not None:
            return caller.trace_flags.sampled
        return self._dice() < self._sample

    def request(self, asked: Asked) -> OtelTrace:
        parent = _context(asked.parent)
        method, path = _method(asked.method), _path(asked.target)
        whole = asked.host.decode("latin-1")
        host, _, port = whole.rpartition(":")
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": path,
            "url.scheme": "https" if asked.tls else "http",
            "network.protocol.version": f"1.{asked.minor}",
            "server.address": host if port.isdecimal() else whole,
            "client.address": asked.remote,
            "activator.request_id": asked.request_id.decode("latin-1"),
        }
        if port.isdecimal():
            attributes["server.port"] = int(port)
        return OtelTrace(
            self,
            name=method,
            method=method,
            path=path,
            attributes=attributes,
            kind=SpanKind.SERVER,
            parent=parent,
            began=asked.arrived,
        )

    def job(self, attempt: JobAttempt) -> OtelTrace | None:
        if not self.wants(attempt.asked_by):
            return None
        asker = _context(attempt.asked_by)
        made = OtelTrace(
            self,
            name="job",
            method=_method(attempt.method),
            path=_path(attempt.target),
            attributes={
                "activator.job.id": attempt.id,
                "activator.job.attempt": attempt.attempt,
                "activator.request_id": attempt.request_id.decode("latin-1"),
            },
            kind=SpanKind.CONSUMER,
            parent=None,
            link=asker,
            began=attempt.began,
        )
        made.routed(attempt.endpoint)
        return made

    def wall(self, moment: float) -> int:
        """Nanoseconds of Unix time, of a moment on the monotonic clock."""
        return time.time_ns() - int((self.clock() - moment) * 1e9)

    def close(self, *, within: float = LEAVE) -> None:
        """Blocks until the last spans are exported, or the time is up."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(within)


class OtelTrace:
    """Implements `spans.Trace`."""

    def __init__(
        self,
        tracer: OtelTracer,
        *,
        name: str,
        method: str,
        path: str,
        attributes: Mapping[str, Any],
        kind: SpanKind,
        parent: SpanContext | None,
        began: float,
        link: SpanContext | None = None,
    ) -> None:
        self._tracer = tracer
        self._name = name
        self._method = method
        self._path = path
        self._began = began
        self._model: str | None = None
        self._endpoint = ""
        self._waited = self._woken_after = 0.0
        self._attempts = 0
        self._forward: Span | None = None
        self._status = 0
        self._span = tracer.spans.start_span(
            name,
            context=None if parent is None else api.set_span_in_context(NonRecordingSpan(parent)),
            kind=kind,
            attributes=attributes,
            links=() if link is None else (Link(link),),
            start_time=tracer.wall(began),
        )
        self._context = api.set_span_in_context(self._span)

    @property
    def traceparent(self) -> bytes:
        return _traceparent(self._span)

    def routed(self, endpoint: str, *, model: str | None = None, key: str = "") -> None:
        self._endpoint, self._model = endpoint, model
        self._span.update_name(f"{self._name} {endpoint}")
        self._span.set_attribute("activator.endpoint", endpoint)
        if key:
            self._span.set_attribute("activator.api_key", key)
        self._part("route", since=self._began)

    def held(self, *, waited: float, woken_after: float, is_cold: bool) -> None:
        seconds, self._waited = waited - self._waited, waited
        woken, self._woken_after = woken_after - self._woken_after, woken_after
        if seconds <= 0.0:
            return
        until = self._tracer.clock()
        since = until - seconds
        hold = self._part("hold", since=since, attributes={"activator.cold_start": is_cold})
        if is_cold:
            context = api.set_span_in_context(hold)
            ready = since + woken if woken > 0.0 else until
            self._part("activate", since=since, until=ready, context=context)

    def forward(self, replica: Replica) -> bytes:
        attributes: dict[str, Any] = {
            "http.request.method": self._method,
            "url.path": self._path,
            "server.address": replica.host,
            "server.port": replica.port,
            "activator.endpoint": self._endpoint,
            "activator.replica": replica.id,
        }
        if self._attempts:
            attributes["http.request.resend_count"] = self._attempts
        if self._model is not None:
            attributes["gen_ai.request.model"] = self._model
        operation = next((op for end, op in _OPERATIONS.items() if self._path.endswith(end)), None)
        if operation is not None:
            attributes["gen_ai.operation.name"] = operation
        self._attempts += 1
        self._status = 0
        self._forward = self._tracer.spans.start_span(
            "forward", context=self._context, kind=SpanKind.CLIENT, attributes=attributes
        )
        return _traceparent(self._forward)

    def answered(self, status: int) -> None:
        self._status = status
        if self._forward is not None:
            self._forward.add_event("first_byte")
            self._forward.set_attribute("http.response.status_code", status)
            if status >= 400:
                _err(self._forward, str(status))

    def failed(self, detail: str) -> None:
        forward, self._forward = self._forward, None
        if forward is not None:
            _err(forward, "broken_off" if self._status else "no_answer", detail)
            forward.end()

    def used(self, tokens: Tokens) -> None:
        if self._forward is not None:
            self._forward.set_attribute("gen_ai.usage.input_tokens", tokens.prompt)
            self._forward.set_attribute("gen_ai.usage.output_tokens", tokens.answer)

    def ended(self, *, status: int, reason: str, received: int = 0, sent: int = 0) -> None:
        if self._forward is not None:
            if reason not in _NO_FAILURE:
                _err(self._forward, reason)
            self._forward.end()
        span = self._span
        if status:
            span.set_attribute("http.response.status_code", status)
        span.set_attribute("http.request.body.size", received)
        span.set_attribute("http.response.body.size", sent)
        if reason:
            span.set_attribute("activator.reason", reason)
        if status >= 500 or reason == "broken_off":
            _err(span, reason or str(status))
        span.end()

    def _part(
        self,
        name: str,
        *,
        since: float,
        until: float | None = None,
        attributes: Mapping[str, Any] | None = None,
        context: Any = None,
    ) -> Span:
        span = self._tracer.spans.start_span(
            name,
            context=context or self._context,
            attributes=attributes,
            start_time=self._tracer.wall(since),
        )
        span.end(None if until is None else self._tracer.wall(until))
        return span


class Dropping(SpanExporter):
    """Says once that spans are lost, and once that they are taken again."""

    def __init__(self, exporter: SpanExporter, *, where: str) -> None:
        self._exporter = exporter
        self._where = where
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # whatever a foreign library meets in its thread
            _log.debug("export failed: %s", error)
            result = SpanExportResult.FAILURE
        extra = {"action": "traces_lost", "collector": self._where}
        if result is not SpanExportResult.SUCCESS:
            if not self._lost:
                _log.warning("the collector takes no traces, they are lost", extra=extra)
            self._lost += len(spans)
        elif self._lost:
            extra |= {"action": "traces_taken", "lost": str(self._lost)}
            _log.info("the collector takes traces again", extra=extra)
            self._lost = 0
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def to_collector(endpoint: str, *, sample: float, clock: Callable[[], float]) -> OtelTracer:
    """`endpoint`: the collector's address, without the path of traces."""
    # it has words for each batch and each attempt; `Dropping` says what there is to say
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_WITHIN)
    return OtelTracer(Dropping(exporter, where=endpoint), sample=sample, clock=clock)


def _context(traceparent: bytes | None) -> SpanContext | None:
    given = valid_traceparent(traceparent)
    if given is None:
        return None
    _, trace_id, span_id, flags = given[:55].decode("ascii").split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _traceparent(span: Span) -> bytes:
    context = span.get_span_context()
    return b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)


def _err(span: Span, kind: str, detail: str | None = None) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR, detail)


def _method(method: bytes) -> str:
    said = method.decode("latin-1")
    return said if said in _METHODS else "_OTHER"


def _path(target: bytes) -> str:
    return target.partition(b"?")[0][:LONGEST].decode("latin-1")
