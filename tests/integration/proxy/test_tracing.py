"""What is told of real requests while they are traced, and what a replica is told of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from activator.telemetry import tracing
from activator.telemetry.tracing import OtelTracer
from tests.collector import collector
from tests.integration.proxy.test_retries import dies_at_first
from tests.replica import Talk, says
from tests.stage import request, stage
from tests.support import eventually

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.stage import Stage

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
UNSAMPLED = {"traceparent": f"00-{TRACE}-{CALLER}-00"}


class Spans:
    """Traces whatever a stage does from now on."""

    def __init__(self, s: Stage, *, sample: float = 0.0) -> None:
        self._exporter = InMemorySpanExporter()
        s.proxy.tracer = OtelTracer(
            self._exporter, sample=sample, clock=time.monotonic, at_once=True
        )

    def all(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    async def one(self, name: str) -> ReadableSpan:
        (found,) = await eventually(lambda: [span for span in self.all() if span.name == name])
        return found


def span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def told(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_the_replica_is_told_whose_part_it_is() -> None:
    async with stage() as s:
        spans = Spans(s)
        await s.post(b"in", headers=SAMPLED)
        forward, server = await spans.one("forward"), await spans.one("POST m")
        assert s.replica.requests[0].get_all("traceparent") == [
            f"00-{TRACE}-{span_id(forward)}-01".encode()
        ]
        assert forward.parent == server.context
        assert told(server)["http.request.body.size"] == 2
        assert told(server)["http.response.body.size"] == len(b"hello")


async def test_what_is_not_sampled_passes_as_it_came() -> None:
    async with stage() as s:
        spans = Spans(s, sample=1.0)
        await s.get(headers=UNSAMPLED)
        assert s.replica.requests[0].get("traceparent") == UNSAMPLED["traceparent"].encode()
        assert spans.all() == []


async def test_a_request_at_another_replica_is_another_part() -> None:
    async with stage(dies_at_first(), replicas=2) as s:
        spans = Spans(s)
        await s.get(headers=SAMPLED)
        await spans.one("GET m")
        forwards = [span for span in spans.all() if span.name == "forward"]
        assert [told(span).get("error.type") for span in forwards] == ["no_answer", None]


@pytest.mark.parametrize("path", ["/x", "/.activator/jobs/none"])
async def test_what_is_refused_is_traced_too(path: str) -> None:
    async with stage(match={"hosts": ["m.example"]}) as s:
        spans = Spans(s)
        host = "other.example" if path == "/x" else "m.example"
        reply = await s.ask(request(path, headers=SAMPLED, host=host))
        assert told(await spans.one("GET"))["activator.reason"] == reply.why


async def test_who_leaves_ends_their_trace() -> None:
    async def waits(talk: Talk) -> None:
        await talk.gone()

    async with stage(waits) as s:
        spans = Spans(s)
        async with await s.send(request(headers=SAMPLED)):
            await s.replica.heard(1)
        assert told(await spans.one("GET m"))["activator.reason"] == "client_left"
        assert told(await spans.one("forward"))["error.type"] == "client_left"


async def test_model_and_tokens_are_told_where_the_dialect_has_them() -> None:
    answer = b'{"usage": {"prompt_tokens": 3, "completion_tokens": 4}}'
    reply = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
        len(answer),
        answer,
    )
    async with stage(says(reply), dialect="openai", match={"models": ["llama"]}) as s:
        spans = Spans(s)
        body = b'{"model": "llama", "messages": []}'
        json = {**SAMPLED, "Content-Type": "application/json"}
        await s.post(body, "/v1/chat/completions", headers=json)
        forward = told(await spans.one("forward"))
        assert forward["gen_ai.request.model"] == "llama"
        assert forward["gen_ai.operation.name"] == "chat"
        assert forward["gen_ai.usage.input_tokens"] == 3
        assert forward["gen_ai.usage.output_tokens"] == 4


async def test_a_job_leads_to_the_request_that_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "GATHER", 0.02)
    with collector() as c:
        to_it = {"tracing": {"endpoint": c.url, "sample": 0}}
        async with stage(config=to_it) as s:
            job = (await s.post(b"in", headers={**SAMPLED, "Prefer": "respond-async"})).json()
            while (await s.get(job["links"]["self"])).json()["state"] != "succeeded":
                await asyncio.sleep(0.01)
            await eventually(lambda: {"POST m", "job m"} <= {span.name for span in c.spans})
        run, asked, forward = c.one("job m"), c.one("POST m"), c.one("forward")
        (link,) = run.links
        assert (link.trace_id.hex(), link.span_id) == (TRACE, asked.span_id)
        assert asked.trace_id.hex() == TRACE
        assert run.trace_id.hex() != TRACE
        assert forward.parent_span_id == run.span_id
        (parent,) = s.replica.requests[0].get_all("traceparent")
        assert parent.startswith(f"00-{run.trace_id.hex()}-{forward.span_id.hex()}-".encode())
