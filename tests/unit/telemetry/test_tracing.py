"""Spans of one request as they are recorded: which there are, whose parts they are."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from activator.core.endpoint import Replica
from activator.core.tokens import Tokens
from activator.telemetry.spans import Asked, JobAttempt, valid_traceparent
from activator.telemetry.tracing import Dropping, OtelTracer
from tests.unit.upstream.support import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import ReadableSpan

SAMPLED = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + b"00"
AT = Replica("m-1", "10.0.0.7", 8000)


class Recorder:
    def __init__(self, *, sample: float = 1.0, dice: float = 0.5) -> None:
        self.exporter = InMemorySpanExporter()
        self.clock = Clock()
        self.tracer = OtelTracer(
            self.exporter, sample=sample, clock=self.clock, dice=lambda: dice, at_once=True
        )

    def asked(self, **changed: Any) -> Asked:
        given: dict[str, Any] = {
            "method": b"POST",
            "target": b"/v1/chat/completions?key=hunter2",
            "host": b"llama.example:8080",
            "minor": 1,
            "tls": False,
            "remote": "192.0.2.1",
            "parent": SAMPLED,
            "request_id": b"r-1",
            "arrived": self.clock(),
        }
        return Asked(**(given | changed))

    def span(self, name: str) -> ReadableSpan:
        (found,) = [span for span in self.exporter.get_finished_spans() if span.name == name]
        return found

    def names(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def seconds(span: ReadableSpan) -> float:
    return ((span.end_time or 0) - (span.start_time or 0)) / 1e9


def test_a_request_that_waited_for_a_start_has_all_parts() -> None:
    r = Recorder()
    trace = r.tracer.request(r.asked())
    r.clock.advance(1.0)
    trace.routed("llama", model="llama-8b", key="team")
    r.clock.advance(5.0)
    trace.held(waited=5.0, woken_after=3.0, is_cold=True)
    parent = trace.forward(AT)
    trace.answered(200)
    trace.used(Tokens(prompt=7, answer=5, told=True))
    trace.held(waited=5.0, woken_after=3.0, is_cold=True)
    trace.ended(status=200, reason="", received=10, sent=20)

    server, forward, hold = r.span("POST llama"), r.span("forward"), r.span("hold")
    assert server.kind is SpanKind.SERVER
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}".encode() in SAMPLED
    assert server.context is not None
    assert parent == b"00-%032x-%016x-01" % (server.context.trace_id, forward.context.span_id)
    for part in (r.span("route"), hold, forward):
        assert part.parent == server.context
    assert r.span("activate").parent == hold.context
    assert seconds(r.span("route")) == pytest.approx(1.0, abs=0.2)
    assert seconds(hold) == pytest.approx(5.0, abs=0.2)
    assert seconds(r.span("activate")) == pytest.approx(3.0, abs=0.2)
    assert told(server) == {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "server.address": "llama.example",
        "server.port": 8080,
        "client.address": "192.0.2.1",
        "http.response.status_code": 200,
        "http.request.body.size": 10,
        "http.response.body.size": 20,
        "activator.request_id": "r-1",
        "activator.endpoint": "llama",
        "activator.api_key": "team",
    }
    assert forward.kind is SpanKind.CLIENT
    assert told(forward) == {
        "http.request.method": "POST",
        "url.path": "/v1/chat/completions",
        "server.address": "10.0.0.7",
        "server.port": 8000,
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "llama-8b",
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "activator.endpoint": "llama",
        "activator.replica": "m-1",
    }
    assert "hunter2" not in "".join(span.to_json() for span in r.exporter.get_finished_spans())


def test_each_attempt_and_each_wait_has_a_span_of_its_own() -> None:
    r = Recorder()
    trace = r.tracer.request(r.asked())
    trace.routed("llama")
    r.clock.advance(1.0)
    trace.held(waited=1.0, woken_after=0.0, is_cold=False)
    first = trace.forward(AT)
    trace.failed("refused")
    r.clock.advance(2.0)
    trace.held(waited=3.0, woken_after=0.0, is_cold=False)
    second = trace.forward(AT)
    trace.answered(500)
    trace.ended(status=500, reason="")

    assert first != second
    assert r.names().count("hold") == 2
    assert "activate" not in r.names()
    failed, answered = [span for span in r.exporter.get_finished_spans() if span.name == "forward"]
    assert told(failed)["error.type"] == "no_answer"
    assert failed.status.description == "refused"
    assert told(answered)["error.type"] == "500"
    assert told(answered)["http.request.resend_count"] == 1
    assert r.span("POST llama").status.status_code is StatusCode.ERROR


def test_what_we_refuse_says_why() -> None:
    r = Recorder()
    trace = r.tracer.request(r.asked(method=b"BREW", host=b"[::1]"))
    trace.ended(status=503, reason="queue_full")
    server = r.span("_OTHER")
    assert told(server)["error.type"] == told(server)["activator.reason"] == "queue_full"
    assert told(server)["server.address"] == "[::1]"
    refused = r.tracer.request(r.asked())
    refused.ended(status=404, reason="no_route")
    assert r.span("POST").status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("parent", "sample", "dice", "sampled"),
    [
        (SAMPLED, 0.0, 0.5, True),
        (UNSAMPLED, 1.0, 0.0, False),
        (None, 0.5, 0.4, True),
        (None, 0.5, 0.5, False),
        (None, 0.0, 0.0, False),
        (b"nonsense", 0.5, 0.4, True),
    ],
)
def test_the_caller_decides_otherwise_chance(
    parent: bytes | None, sample: float, dice: float, sampled: bool
) -> None:
    r = Recorder(sample=sample, dice=dice)
    assert r.tracer.wants(parent) is sampled


def test_without_a_caller_a_trace_begins_here() -> None:
    r = Recorder()
    trace = r.tracer.request(r.asked(parent=None))
    trace.ended(status=200, reason="")
    assert r.span("POST").parent is None
    assert valid_traceparent(trace.traceparent) == trace.traceparent


def test_a_job_has_a_trace_of_its_own_that_leads_to_its_request() -> None:
    r = Recorder()
    attempt = JobAttempt(
        id="job_1",
        endpoint="llama",
        attempt=2,
        asked_by=SAMPLED,
        method=b"POST",
        target=b"/v1/embeddings",
        request_id=b"r-1",
        began=r.clock(),
    )
    trace = r.tracer.job(attempt)
    assert trace is not None
    trace.forward(AT)
    trace.ended(status=0, reason="stopped")
    run = r.span("job llama")
    assert run.parent is None
    (link,) = run.links
    assert f"{link.context.trace_id:032x}".encode() in SAMPLED
    assert told(run)["activator.job.id"] == "job_1"
    assert told(run)["activator.job.attempt"] == 2
    assert "http.response.status_code" not in told(run)
    assert told(r.span("forward"))["gen_ai.operation.name"] == "embeddings"
    assert told(r.span("forward"))["error.type"] == "stopped"


class Moody(SpanExporter):
    result: SpanExportResult | Exception = SpanExportResult.FAILURE

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def test_lost_spans_are_said_once_and_so_is_their_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "activator.tracing")
    inner = Moody()
    exporter = Dropping(inner, where="http://otel:4318")
    spans: list[Any] = [object(), object()]
    exporter.export(spans)
    inner.result = ValueError("odd")
    exporter.export(spans)
    inner.result = SpanExportResult.SUCCESS
    exporter.export(spans)
    exporter.export(spans)
    assert [one.__dict__["action"] for one in caplog.records] == ["traces_lost", "traces_taken"]
    assert caplog.records[1].__dict__["lost"] == "4"
