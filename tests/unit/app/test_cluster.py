"""The cluster's client is imported where it is used, and its troubles are told once."""

from __future__ import annotations

import subprocess
import sys

from activator.app.cluster import OneCluster
from activator.kube.errors import Forbidden, Unreachable
from activator.telemetry.events import EventLog


def test_the_heavy_client_is_imported_with_the_first_endpoint_that_needs_it() -> None:
    script = (
        "import asyncio, sys\n"
        "from activator.app.app import App, OneCluster\n"
        "assert 'kubernetes_asyncio' not in sys.modules\n"
        "async def main(): OneCluster(None)\n"
        "asyncio.run(main())\n"
        "assert 'kubernetes_asyncio' in sys.modules\n"
    )
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


async def test_an_outage_is_one_event_and_its_end_another() -> None:
    events = EventLog()
    cluster = OneCluster(events)
    told = cluster._on_trouble

    def actions() -> list[str]:
        return [each.action for each in events.since(0)]

    for what in ("pods", "events"):
        told(what, Unreachable("connection refused"))
    assert actions() == ["cluster_trouble"]
    told("pods", Forbidden("cannot list pods"))
    assert actions() == ["cluster_trouble"] * 2
    told("pods", None)
    assert actions() == ["cluster_trouble"] * 2
    told("events", None)
    assert actions() == ["cluster_trouble", "cluster_trouble", "cluster_followed"]
    told("events", None)
    assert len(actions()) == 3
    await cluster.aclose()
