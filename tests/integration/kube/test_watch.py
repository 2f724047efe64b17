"""Lists, watches and credentials over real HTTP, against an API server that is told how to fail."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.backoff import Backoff
from activator.kube.access import Access
from activator.kube.client import JSON_PATCH, KubeClient
from activator.kube.cluster import PODS, Cluster, Resource
from activator.kube.errors import Forbidden, Missing, Outdated, Unreachable
from activator.kube.outage import SCOUT, SPREAD
from activator.kube.watch import WatchTimes
from tests.faults import Faulty, failures
from tests.kube_server import KubeServer, kube_server, kubeconfig
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.kube.cluster import Following
    from activator.kube.errors import KubeError

CERTIFICATE = Path(__file__).parents[1] / "wire" / "localhost.pem"
CONFIGMAPS = Resource("v1", "configmaps", "ConfigMap")
QUICK = WatchTimes(
    lasts=2.0,
    grace=0.3,
    retry=Backoff(first=0.02, cap=0.1),
    mend=Backoff(first=0.2, cap=0.4),
    short=0.1,
)


@pytest.fixture
async def server() -> AsyncIterator[KubeServer]:
    async with kube_server() as running:
        yield running


class Seen:
    """A reader of config maps, by name their `data.x`."""

    def __init__(self, cluster: Cluster) -> None:
        self.changes = 0
        self.following: Following[tuple[str, str]] = cluster.follow(
            CONFIGMAPS, "models", read=_read, changed=self._changed
        )

    @property
    def now(self) -> dict[str, str]:
        return dict(self.following.watch.items.values())

    @property
    def trouble(self) -> KubeError | None:
        return self.following.watch.trouble

    def _changed(self) -> None:
        self.changes += 1

    async def until(self, expected: dict[str, str], *, within: float = 5.0) -> None:
        await eventually(lambda: self.now == expected, within=within)


def _read(raw: dict[str, Any]) -> tuple[str, str]:
    return raw["metadata"]["name"], raw["data"]["x"]


def config_map(name: str, x: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"x": x}}


@contextlib.asynccontextmanager
async def following(
    server: KubeServer, directory: Path, times: WatchTimes = QUICK
) -> AsyncIterator[tuple[Cluster, Seen]]:
    access = Access({"KUBECONFIG": str(kubeconfig(directory, server.port))})
    cluster = Cluster(KubeClient(access), times=times, dice=lambda: 0.5)
    try:
        seen = Seen(cluster)
        await eventually(lambda: seen.following.watch.is_known or seen.trouble)
        yield cluster, seen
    finally:
        await cluster.aclose()


async def test_what_is_there_and_what_happens_is_seen(server: KubeServer, tmp_path: Path) -> None:
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (_, seen):
        await seen.until({"a": "1"})

        server.put("configmaps", config_map("b", "1"))
        server.put("configmaps", config_map("a", "2"))
        await seen.until({"a": "2", "b": "1"})
        server.delete("configmaps", "a")
        await seen.until({"b": "1"})


async def test_a_long_list_comes_in_pages(server: KubeServer, tmp_path: Path) -> None:
    server.page = 3
    for number in range(8):
        server.put("configmaps", config_map(f"c{number}", "1"))

    async with following(server, tmp_path) as (_, seen):
        await seen.until({f"c{number}": "1" for number in range(8)})
        assert len(server.lists()) == 3


async def test_a_watch_that_ended_goes_on_where_it_was(server: KubeServer, tmp_path: Path) -> None:
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (_, seen):
        await seen.until({"a": "1"})
        for _ in range(3):
            await eventually(server.watches)
            server.cut_watches()
            server.put("configmaps", config_map("a", seen.now["a"] + "1"))
            await seen.until({"a": server.get("configmaps", "a")["data"]["x"]})

        assert len(server.lists()) == 1


async def test_a_bookmark_moves_the_watch_on_though_nothing_happens(
    server: KubeServer, tmp_path: Path
) -> None:
    server.put("configmaps", config_map("a", "1"))
    times = WatchTimes(lasts=1.0, grace=1.0, retry=QUICK.retry, short=0.1)
    async with following(server, tmp_path, times) as (_, seen):
        await seen.until({"a": "1"})
        server.put("secrets", config_map("other", "1"))

        await eventually(lambda: len(server.watches()) > 1)

        versions = [int(each.query["resourceVersion"]) for each in server.watches()]
        assert versions[1] > versions[0]
        assert len(server.lists()) == 1


async def test_what_the_server_has_forgotten_is_listed_again(
    server: KubeServer, tmp_path: Path
) -> None:
    server.put("configmaps", config_map("a", "1"))
    server.put("configmaps", config_map("gone", "1"))
    async with following(server, tmp_path) as (_, seen):
        await seen.until({"a": "1", "gone": "1"})
        await eventually(server.watches)
        server.is_mute = True
        server.delete("configmaps", "gone")
        server.forget()
        server.is_mute = False

        server.cut_watches()

        await seen.until({"a": "1"})
        assert len(server.lists()) == 2


async def test_a_silent_watch_is_renewed(server: KubeServer, tmp_path: Path) -> None:
    server.put("configmaps", config_map("a", "1"))
    server.is_mute = True
    times = WatchTimes(lasts=80.0, grace=-89.5, retry=QUICK.retry, short=0.1)
    async with following(server, tmp_path, times) as (_, seen):
        await eventually(server.watches)
        server.put("configmaps", config_map("a", "2"))
        await asyncio.sleep(0.1)  # nothing is told: there is nothing to wait for
        assert seen.now == {"a": "1"}

        server.is_mute = False

        await seen.until({"a": "2"}, within=5.0)
        assert len(server.lists()) == 1


async def test_a_server_that_asks_for_patience_gets_it(server: KubeServer, tmp_path: Path) -> None:
    server.busy = 1
    began = time.monotonic()
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (_, seen):
        await seen.until({"a": "1"})

    assert time.monotonic() - began >= 1.0


async def test_watches_that_end_at_once_do_not_spin(server: KubeServer, tmp_path: Path) -> None:
    server.is_short = True
    async with following(server, tmp_path) as (_, seen):
        await eventually(lambda: seen.trouble)
        before, began = len(server.watches()), time.monotonic()
        await eventually(lambda: len(server.watches()) >= before + 6)
        rate = (len(server.watches()) - before) / (time.monotonic() - began)

        assert rate < 1 / QUICK.retry.delay(9, dice=0.0) + 2


async def test_what_rbac_denies_is_told_and_asked_for_seldom(
    server: KubeServer, tmp_path: Path
) -> None:
    server.forbidden.add(("list", "configmaps"))
    began = time.monotonic()
    async with following(server, tmp_path) as (_, seen):
        await eventually(lambda: len(server.lists()) >= 3)
        pauses = [QUICK.mend.delay(attempt, dice=0.5) for attempt in (1, 2)]
        assert time.monotonic() - began >= sum(pauses)
        assert isinstance(seen.trouble, Forbidden)
        assert "cannot list resource" in str(seen.trouble)

        server.forbidden.clear()
        server.put("configmaps", config_map("a", "1"))

        await seen.until({"a": "1"})
        assert seen.trouble is None


async def test_while_the_server_is_away_the_last_state_stays(
    server: KubeServer, tmp_path: Path
) -> None:
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (_, seen):
        await seen.until({"a": "1"})
        server.is_away = True
        server.cut_watches()
        await eventually(lambda: isinstance(seen.trouble, Unreachable))
        assert seen.now == {"a": "1"}

        server.is_away = False
        server.put("configmaps", config_map("a", "2"))

        await seen.until({"a": "2"})
        assert seen.trouble is None


async def test_all_that_follow_a_server_that_was_away_for_long_do_so_again_soon(
    server: KubeServer, tmp_path: Path
) -> None:
    server.put("configmaps", config_map("a", "1"))
    times = WatchTimes(retry=Backoff(first=0.02, factor=1000.0, cap=600.0))
    async with following(server, tmp_path, times) as (cluster, seen):
        all_ = [seen.following]
        for number in range(20):
            other = Resource("v1", f"others{number}", "Other")
            all_.append(cluster.follow(other, "models", read=_read, changed=lambda: None))
        await eventually(lambda: len(server.watches()) == 21)
        server.is_away = True
        server.cut_watches()
        await eventually(lambda: all(each.watch.trouble for each in all_))

        server.put("configmaps", config_map("a", "2"))
        server.is_away = False

        await seen.until({"a": "2"}, within=SCOUT + SPREAD + 1.0)
        await eventually(lambda: len(server.watches()) == 42, within=SPREAD + 1.0)


async def test_a_restarted_server_whose_lists_are_too_old_for_its_watches_is_asked_again_soon(
    server: KubeServer, tmp_path: Path
) -> None:
    server.put("configmaps", config_map("a", "1"))
    times = WatchTimes(retry=Backoff(first=0.1, factor=1000.0, cap=600.0))
    async with following(server, tmp_path, times) as (_, seen):
        await seen.until({"a": "1"})
        server.is_away = True
        server.cut_watches()
        await eventually(lambda: server.refused >= 3)  # one may be tried anew by the client itself
        server.oldest = 10_000
        server.is_away = False
        await eventually(lambda: len(server.lists()) == 2)
        await eventually(lambda: server.watches()[-1].query["resourceVersion"] == "101")
        server.oldest = 0
        server.put("configmaps", config_map("a", "2"))

        await seen.until({"a": "2"}, within=2.0)
        assert seen.trouble is None


async def test_a_server_that_was_restarted_is_followed_at_once(
    server: KubeServer, tmp_path: Path
) -> None:
    """It remembers nothing of before, and for a moment it knows no rights either."""
    server.put("configmaps", config_map("a", "1"))
    times = WatchTimes(retry=Backoff(first=0.02, cap=0.1), mend=Backoff(first=60.0, cap=60.0))
    async with following(server, tmp_path, times) as (_, seen):
        await seen.until({"a": "1"})
        server.is_away = True
        server.cut_watches()
        await eventually(lambda: server.refused >= 3)  # one may be tried anew by the client itself
        server.forbidden.add(("watch", "configmaps"))
        server.is_away = False
        refused = len(server.watches())
        await eventually(lambda: len(server.watches()) > refused)
        assert isinstance(seen.trouble, Unreachable)
        server.put("configmaps", config_map("a", "2"))
        server.forget()
        server.forbidden.clear()

        await seen.until({"a": "2"}, within=2.0)
        assert seen.trouble is None


async def test_a_token_that_was_replaced_is_read_again(server: KubeServer, tmp_path: Path) -> None:
    server.token = "t0"
    server.put("configmaps", config_map("a", "1"))
    clock = iter(range(0, 10_000, 100))
    path = kubeconfig(tmp_path, server.port)
    client = KubeClient(Access({"KUBECONFIG": str(path)}), clock=lambda: float(next(clock)))
    cluster = Cluster(client, times=QUICK)
    try:
        seen = Seen(cluster)
        await seen.until({"a": "1"})

        server.token = "t1"
        (tmp_path / "token").write_text("t1")
        server.cut_watches()
        server.put("configmaps", config_map("a", "2"))

        await seen.until({"a": "2"})
    finally:
        await cluster.aclose()


async def test_credentials_that_stay_refused_are_told(server: KubeServer, tmp_path: Path) -> None:
    server.token = "another"
    client = KubeClient(Access({"KUBECONFIG": str(kubeconfig(tmp_path, server.port))}))
    try:
        with pytest.raises(Forbidden, match="Unauthorized"):
            await client.get(PODS.path("models"))
    finally:
        await client.aclose()


async def test_without_any_access_it_is_said_where_it_was_looked_for(tmp_path: Path) -> None:
    client = KubeClient(Access({"KUBECONFIG": str(tmp_path / "nothing")}))

    with pytest.raises(Forbidden, match="nothing is no file"):
        await client.get(PODS.path("models"))


async def test_in_a_pod_the_service_account_is_used_and_its_token_rotates(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0")
    (tmp_path / "ca.crt").write_text(CERTIFICATE.read_text())
    async with kube_server(certificate=CERTIFICATE) as server:
        server.token = "t0"
        environ = {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.port),
        }
        clock = iter(range(0, 10_000, 100))
        access = Access(environ, service_account=tmp_path)
        client = KubeClient(access, clock=lambda: float(next(clock)))
        try:
            assert (await client.get(PODS.path("models")))["items"] == []
            server.token = "t1"
            (tmp_path / "token").write_text("t1")

            assert (await client.get(PODS.path("models")))["items"] == []
        finally:
            await client.aclose()


async def test_an_object_that_cannot_be_read_is_left_out_and_the_rest_is_followed(
    server: KubeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.put("configmaps", {"metadata": {"name": "odd"}, "data": None})
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (_, seen):
        await seen.until({"a": "1"})
        server.put("configmaps", {"metadata": {"name": "a"}, "data": ["x"]})
        await seen.until({})
        server.put("configmaps", config_map("a", "2"))
        await seen.until({"a": "2"})
    assert "object not understood" in caplog.text


async def test_many_readers_share_one_watch_and_the_last_one_ends_it(
    server: KubeServer, tmp_path: Path
) -> None:
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (cluster, first):
        others = [Seen(cluster) for _ in range(50)]
        await eventually(server.watches)
        server.put("configmaps", config_map("a", "2"))
        await eventually(lambda: all(each.changes for each in others))
        assert {(len(server.lists()), len(server.watches()))} == {(1, 1)}

        for each in (first, *others):
            each.following.close()
        asked = len(server.asked)
        again = Seen(cluster)

        await again.until({"a": "2"})
        assert len(server.asked) > asked


async def test_errors_are_told_by_what_can_be_done(server: KubeServer, tmp_path: Path) -> None:
    server.put("configmaps", config_map("a", "1"))
    path = CONFIGMAPS.path("models", "a")
    async with following(server, tmp_path) as (cluster, _):
        client = cluster.client
        with pytest.raises(Missing, match="not found"):
            await client.get(CONFIGMAPS.path("models", "b"))
        with pytest.raises(Outdated):
            await client.patch(
                path,
                [{"op": "test", "path": "/data/x", "value": "2"}],
                content_type=JSON_PATCH,
            )
        with pytest.raises(Missing, match="no Model in serving"):
            await cluster.resource("serving.example.com/v1", "Model")


async def test_a_fault_of_ours_is_trouble_until_all_is_listed_anew(
    server: KubeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.put("configmaps", config_map("a", "1"))
    async with following(server, tmp_path) as (_, seen):
        await eventually(server.watches)
        Faulty(monkeypatch, seen.following.watch, "_take", times=1)
        server.put("configmaps", config_map("b", "1"))
        await eventually(lambda: "an error of its own" in str(seen.trouble))
        await seen.until({"a": "1", "b": "1"})
        await eventually(lambda: seen.trouble is None)
        server.put("configmaps", config_map("a", "2"))
        await seen.until({"a": "2", "b": "1"})
        assert len(failures(caplog)) == 1
