"""The cluster's client is imported where it is used, and its troubles are told once."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

from activator.app.cluster import OneCluster
from activator.core.endpoint import KubernetesBackend
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


async def test_a_driver_is_kept_no_longer_than_its_endpoint() -> None:
    cluster = OneCluster(EventLog())
    backend = KubernetesBackend("ns", "apps/v1", "Deployment", "m", 80)
    driver = cluster.make_driver("m", backend)
    kept = weakref.ref(driver)
    del driver
    gc.collect()

    assert kept() is None
    cluster.tell("m", reason="Removed", message="gone", is_warning=False, told="")
    await cluster.aclose()
