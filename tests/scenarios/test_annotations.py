"""Objects of a scripted cluster that say they are endpoints: taken up, changed, refused, told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.kube_controllers import workload
from tests.replica import PROBE_PATH
from tests.scenarios.test_kubernetes import cluster
from tests.support import eventually
from tests.town import endpoint, town

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tests.kube_server import KubeServer, Object
    from tests.town import Town

ALLOW = {"hosts": ["*.example"], "models": ["*"]}
ROOT = {"sources": {"kubernetes": {"namespaces": ["models"], "allow": {"models": ALLOW}}}}
STATIC = {"type": "static", "urls": ["http://127.0.0.1:1"]}


def annotated(name: str, *, host: str = "a.example", created: int = 1, **words: str) -> Object:
    """A Deployment whose endpoint is `models.NAME`."""
    obj = workload(name)
    said = {"enabled": "true", "port": "http", "hosts": host, "probe-path": PROBE_PATH, **words}
    obj["metadata"]["annotations"] = {
        f"activator.dev/{key.replace('_', '-')}": text for key, text in said.items()
    }
    obj["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:{created:02}Z"
    return obj


def saying(**words: str) -> Callable[[Object], None]:
    def change(obj: Object) -> None:
        for key, text in words.items():
            obj["metadata"]["annotations"][f"activator.dev/{key.replace('_', '-')}"] = text

    return change


def names(t: Town) -> list[str]:
    return [status.name for status in t.app.operations.endpoints()]


def problems(t: Town) -> tuple[str, ...]:
    return t.app.operations.config_status().problems


def told(server: KubeServer, name: str) -> list[tuple[str, str]]:
    """Of the object: reason and message of its events."""
    events = server.objects["events", "models"].values()
    return [
        (each["reason"], each["message"])
        for each in events
        if each["involvedObject"]["name"] == name
    ]


async def test_an_annotated_deployment_is_served_from_zero_and_follows_its_annotations(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        town(endpoints=[], scripted=False, checked=False, root=ROOT) as t,
    ):
        server.put("deployments", annotated("llama"))
        await eventually(lambda: names(t) == ["models.llama"])
        assert (await t.get()).status == 200
        assert server.get("deployments", "llama")["spec"]["replicas"] == 1

        server.change("deployments", "llama", saying(idle_timeout="200ms", hosts="b.example"))
        await eventually(lambda: "reconfigured" in t.actions("models.llama"))
        assert (await t.get(at="b")).status == 200
        assert (await t.get(at="a")).why == "no_route"
        await t.until_zero("models.llama")
        await eventually(
            lambda: [reason for reason, _ in told(server, "llama")] == ["Activated", "Deactivated"]
        )

        server.change("deployments", "llama", saying(enabled="false"))
        await eventually(lambda: names(t) == [])
        assert (await t.get(at="b")).why == "no_route"
        watched = [each.resource for each in server.watches()]
        assert watched.count("deployments") == 1  # the driver reads the source's


async def test_a_wrong_change_is_told_on_the_object_and_what_was_said_before_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.put("deployments", annotated("llama"))
        server.put("deployments", annotated("other", host="b.example"))
        async with town(endpoints=[], scripted=False, checked=False, root=ROOT) as t:
            await eventually(lambda: len(names(t)) == 2)
            server.change("deployments", "llama", saying(concurrency="many"))
            await eventually(lambda: problems(t))
            said = "activator.dev/concurrency: must be a whole number"

            (problem,) = problems(t)
            assert problem.startswith(f"Deployment/llama in namespace models: {said}")
            assert (await t.get(at="a")).status == (await t.get(at="b")).status == 200
            await eventually(lambda: told(server, "llama"))
            ((reason, message),) = told(server, "llama")
            assert reason == "EndpointRefused"
            assert message.startswith(said)
            assert told(server, "other") == []

            server.change("deployments", "llama", saying(concurrency="2"))
            await eventually(lambda: not problems(t))
            assert t.live_of("models.llama").endpoint.concurrency == 2
            await eventually(lambda: len(told(server, "llama")) == 2)


async def test_a_refusal_is_told_once_however_often_it_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.put("deployments", annotated("llama", host="elsewhere.org"))
        async with town(endpoints=[], scripted=False, checked=False, root=ROOT) as t:
            await eventually(lambda: told(server, "llama"))
            assert "may not claim host elsewhere.org" in problems(t)[0]
            assert names(t) == []
        async with town(endpoints=[], scripted=False, checked=False, root=ROOT):
            await eventually(lambda: server.patches("events"))
        ((reason, message),) = told(server, "llama")
        assert (reason, "may not claim" in message) == ("EndpointRefused", True)


async def test_of_two_the_oldest_wins_the_file_wins_over_both_and_the_next_takes_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.put("deployments", annotated("young", created=2))
        server.put("deployments", annotated("old", created=1))
        async with town(endpoints=[], scripted=False, checked=False, root=ROOT) as t:
            await eventually(lambda: names(t) == ["models.old"] and problems(t))
            assert "host a.example is endpoint `models.old`" in problems(t)[0]

            mine = endpoint("a", backend=STATIC)
            await t.reloaded({**t.config, "endpoints": [mine]})
            await eventually(lambda: len(problems(t)) == 2)
            assert names(t) == ["a"]

            await t.reloaded({**t.config, "endpoints": []})
            await eventually(lambda: names(t) == ["models.old"])
            server.delete("deployments", "old")
            await eventually(lambda: names(t) == ["models.young"] and problems(t) == ())


async def test_it_is_not_ready_before_it_knows_what_the_cluster_declares(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.put("deployments", annotated("llama"))
        server.is_away = True
        mine = endpoint("b", backend=STATIC)
        async with town(endpoints=[mine], scripted=False, checked=False, root=ROOT) as t:
            await eventually(lambda: "cluster_trouble" in t.actions(""))
            assert t.app.operations.ready() == "what the cluster declares is not known yet"
            assert names(t) == ["b"]
            server.is_away = False
            await eventually(lambda: t.app.operations.ready() is None, within=10.0)
            assert names(t) == ["b", "models.llama"]


async def test_without_the_rights_it_says_so_and_serves_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with cluster(monkeypatch, tmp_path) as (server, _):
        server.forbidden = {("list", "services"), ("create", "events")}
        server.put("deployments", annotated("llama"))
        server.put("deployments", annotated("wrong", port="0"))
        mine = endpoint("b", backend=STATIC)
        async with town(endpoints=[mine], scripted=False, checked=False, root=ROOT) as t:
            await eventually(lambda: names(t) == ["b", "models.llama"])
            assert t.app.operations.ready() is None
            await eventually(lambda: {"cluster_trouble", "cluster_mute"} <= set(t.actions("")))
            (trouble,) = [it for it in t.app.events.since(0) if it.action == "cluster_trouble"]
            assert "services is forbidden" in trouble.reason


async def test_what_a_namespace_may_claim_can_be_changed_while_it_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with (
        cluster(monkeypatch, tmp_path) as (server, _),
        town(endpoints=[], scripted=False, checked=False) as t,
    ):
        server.put("deployments", annotated("llama"))
        assert names(t) == []
        await t.reloaded({**t.config, **ROOT})
        await eventually(lambda: names(t) == ["models.llama"])
        narrow: dict[str, Any] = {"namespaces": ["models"], "allow": {"models": {"hosts": []}}}
        await t.reloaded({**t.config, "sources": {"kubernetes": narrow}})
        await eventually(lambda: names(t) == [])
        await t.reloaded({**t.config, "sources": {}})
        await eventually(lambda: problems(t) == ())
        assert names(t) == []
