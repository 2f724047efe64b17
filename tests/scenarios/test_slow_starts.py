"""Processes that run and never become ready: clients and operators are told what was seen."""

from __future__ import annotations

import sys

import pytest

from tests.town import endpoint, town

SAYS_AND_SLEEPS = "print('loading shard 3 of 7', flush=True); import time; time.sleep(60)"
ANSWERS_404 = """
import http.server, sys
http.server.BaseHTTPRequestHandler.log_message = lambda *said: None
print('serving under another path', flush=True)
http.server.HTTPServer(
    ('127.0.0.1', int(sys.argv[1])), http.server.BaseHTTPRequestHandler
).serve_forever()
"""


@pytest.mark.parametrize(
    ("program", "probe", "line"),
    [
        (SAYS_AND_SLEEPS, "last probe: no connection", "loading shard 3 of 7"),
        (ANSWERS_404, "last probe: answers 501", "serving under another path"),
    ],
)
async def test_why_a_process_did_not_become_ready_is_told(
    program: str, probe: str, line: str
) -> None:
    backend = {
        "type": "process",
        "command": [sys.executable, "-S", "-c", program, "{port}"],
        "stopGrace": "0s",
    }
    slow = endpoint("a", backend=backend, scale={"startTimeout": "800ms"})
    async with town(endpoints=[slow], scripted=False) as t:
        reply = await t.get()
        failure = t.status_of("a").failure
        events = [each for each in t.app.events.since(0) if each.action == "failed"]

        assert (reply.status, reply.why) == (503, "start_failed")
        assert failure is not None
        for told in (reply.body.decode(), failure):
            assert "did not become ready within" in told
            assert probe in told
            assert line in told
        assert probe in events[0].reason
