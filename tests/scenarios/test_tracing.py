"""Traces of `activator serve`, as a collector gets them; and without one."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.collector import attributes_of, collector
from tests.serving import serving
from tests.stage import request

if TYPE_CHECKING:
    from pathlib import Path

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_a_cold_request_is_told_to_a_collector_part_by_part(tmp_path: Path) -> None:
    with collector() as c:
        async with serving(tmp_path, root={"tracing": {"endpoint": c.url, "sample": 0}}) as s:
            client = await s.connect()
            traced = {"traceparent": f"00-{TRACE}-{CALLER}-01", "x-request-id": "r-1"}
            client.send(request("/hello?secret=1", headers=traced))
            assert (await client.reply()).body == b"hello"
            client.send(request("/untraced"))
            assert (await client.reply()).body == b"hello"
            await client.close()
            s.tell(signal.SIGTERM)
            assert await s.ended() == 0

        assert c.services == {"activator"}
        assert {span.trace_id.hex() for span in c.spans} == {TRACE}
        server = c.one("GET m")
        assert server.parent_span_id.hex() == CALLER
        parts = {span.name: span for span in c.spans if span.parent_span_id == server.span_id}
        assert set(parts) == {"route", "hold", "forward"}
        assert c.one("activate").parent_span_id == parts["hold"].span_id
        told = attributes_of(server.attributes)
        assert told["http.response.status_code"] == 200
        assert told["url.path"] == "/hello"
        assert told["activator.request_id"] == "r-1"
        assert attributes_of(parts["hold"].attributes)["activator.cold_start"] is True
        order = [server, parts["route"], parts["hold"], parts["forward"]]
        starts = [span.start_time_unix_nano for span in order]
        assert starts == sorted(starts)
        assert max(span.end_time_unix_nano for span in c.spans) == server.end_time_unix_nano
        assert "secret" not in str(c.spans)


async def test_a_collector_that_is_away_costs_nothing_but_its_traces(tmp_path: Path) -> None:
    away = {"tracing": {"endpoint": "http://127.0.0.1:9", "sample": 1}}
    async with serving(tmp_path, root=away) as s:
        for _ in range(3):
            assert (await s.get()).body == b"hello"
        began = time.monotonic()
        s.tell(signal.SIGTERM)
        assert await s.ended() == 0
        assert time.monotonic() - began < 6.0
        assert len([one for one in s.log if one.get("action") == "traces_lost"]) <= 1
        assert not [one for one in s.log if one["logger"].startswith("opentelemetry")]
