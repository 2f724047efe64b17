"""A whole activator in front of a scripted cluster: API server and controllers over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from tests.kube_controllers import Controllers, running_cluster, workload
from tests.kube_server import KubeServer, kubeconfig
from tests.replica import Replica, hello
from tests.support import eventually
from tests.town import endpoint, town

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

BACKEND = {"type": "kubernetes", "namespace": "models", "target": "Deployment/m", "port": "http"}


@contextlib.asynccontextmanager
async def cluster(
    monkeypatch: pytest.MonkeyPatch, folder: Path, *, replicas: int = 0
) -> AsyncIterator[tuple[KubeServer, Controllers]]:
    """With one Deployment, whose pods are replicas in this process."""
    running: list[Replica] = []

    async def serve(_: str) -> tuple[str, int]:
        running.append(Replica(hello))
        await running[-1].start()
        return running[-1].host, running[-1].port

    async with running_cluster() as (server, controllers):
        controllers.serve = serve
        server.put("deployments", workload("m", replicas=replicas))
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(folder, server.port)))
        try:
            yield server, controllers
        finally:
            for each in running:
                await each.stop()


def at_kubernetes(**scale: Any) -> list[dict[str, Any]]:
    return [endpoint("a", backend=BACKEND, scale=scale)]


def count(server: KubeServer) -> int:
    found = server.get("deployments", "m")["spec"]["replicas"]
    assert isinstance(found, int)
    return found


async def test_from_zero_to_an_answer_and_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        town(endpoints=at_kubernetes(idleTimeout="300ms"), scripted=False, checked=False) as t,
    ):
        replies = await asyncio.gather(*(t.get() for _ in range(5)))
        assert {reply.status for reply in replies} == {200}
        assert len(server.patches("deployments/scale")) == 1

        await t.until_zero("a")

        assert count(server) == 0
        annotations = server.get("deployments", "m")["metadata"]["annotations"]
        assert annotations["activator.dev/replicas"] == "1"
        (ready,) = [each for each in t.app.events.since(0) if each.action == "replica_ready"]
        assert {"requested", "started", "ready"} <= ready.fields.keys()


async def test_what_runs_is_taken_over_and_stays_when_the_activator_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path, replicas=1) as (server, _):
        await eventually(lambda: server.names("pods") == ["m-1"])
        for _ in range(2):
            async with town(endpoints=at_kubernetes(), scripted=False, checked=False) as t:
                assert (await t.get()).status == 200
                assert "activating" not in t.actions("a")
        assert server.names("pods") == ["m-1"]
        assert server.patches("deployments/scale") == []


async def test_a_model_that_crashes_is_told_with_its_code_and_last_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, controllers),
        town(endpoints=at_kubernetes(), scripted=False, checked=False) as t,
    ):
        controllers.exit_code, controllers.serve = 3, None
        server.logs["m-1"] = server.logs["m-1/previous"] = "loading\nno such device: cuda:7\n"
        monkeypatch.setattr("activator.core.failed_starts.TELL_WITHIN", 1.0)

        reply = await t.get(within=11.0)

        assert (reply.status, reply.why) == (503, "start_failed")
        assert b"exited with code 3" in reply.body
        assert b"no such device: cuda:7" in reply.body
        await eventually(lambda: count(server) == 0)


async def test_a_workload_that_does_not_exist_is_told_and_found_once_it_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        town(endpoints=at_kubernetes(), scripted=False, checked=False) as t,
    ):
        server.delete("deployments", "m")
        reply = await t.get(within=11.0)
        assert (reply.status, reply.why) == (503, "start_failed")
        assert b"Deployment/m does not exist in namespace models" in reply.body
        assert "does not exist" in (t.status_of("a").trouble or "")

        server.put("deployments", workload("m"))
        await eventually(lambda: t.status_of("a").trouble is None)
        t.control_of("a").verbs.activate()
        await t.until_state("active")

        assert (await t.get()).status == 200


async def test_while_the_api_is_away_warm_requests_go_on_and_starts_wait_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        town(endpoints=at_kubernetes(idleTimeout="400ms"), scripted=False, checked=False) as t,
    ):
        assert (await t.get()).status == 200
        server.is_away = True
        server.cut_watches()
        await eventually(lambda: t.status_of("a").trouble)
        assert (await t.get()).status == 200
        await asyncio.sleep(1.0)  # idle for longer than it may: nothing can be scaled down
        assert count(server) == 1
        assert (await t.get()).status == 200

        server.is_away = False
        await t.until_zero("a", within=10.0)
        server.is_away = True
        held = asyncio.ensure_future(t.get(within=15.0))  # noqa: TID251 - a client at work
        await asyncio.sleep(0.3)
        server.is_away = False

        assert (await held).status == 200


async def test_what_becomes_of_an_endpoint_is_told_on_its_workload(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told() -> list[tuple[str, str, str]]:
        return [
            (each["involvedObject"]["kind"], each["involvedObject"]["uid"], each["reason"])
            for each in server.objects["events", "models"].values()
            if each["source"]["component"] == "activator"
        ]

    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        town(endpoints=at_kubernetes(idleTimeout="300ms"), scripted=False, checked=False) as t,
    ):
        assert (await t.get()).status == 200
        await t.until_zero("a")
        uid = server.get("deployments", "m")["metadata"]["uid"]
        wanted = {("Deployment", uid, "Activated"), ("Deployment", uid, "Deactivated")}
        await eventually(lambda: wanted <= set(told()))
        assert len(told()) == len(set(told()))


async def test_who_may_write_no_events_is_told_so_once_and_scales_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.forbidden = {("create", "events")}
        keys = at_kubernetes(idleTimeout="300ms")
        async with town(endpoints=keys, scripted=False, checked=False) as t:
            assert (await t.get()).status == 200
            await t.until_zero("a")

            def mute() -> int:
                return len([one for one in t.app.events.since(0) if one.action == "cluster_mute"])

            await eventually(mute)
            assert (await t.get()).status == 200
            await t.until_zero("a")
            assert mute() == 1
