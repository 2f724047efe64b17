"""The Kubernetes driver over real HTTP, against a cluster that is told what to do."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.endpoint import KubernetesBackend
from activator.drivers.base import DriverError, Phase
from tests.driving import driving
from tests.integration.kube.place import M, Place, standing
from tests.kube_controllers import container, workload
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with standing(tmp_path) as made:
        yield made


async def test_however_many_activators_ask_one_patch_is_taken(place: Place) -> None:
    place.server.put("deployments", workload("m"))
    async with contextlib.AsyncExitStack() as stack:
        drivers = [place.driver() for _ in range(4)]
        driven = [await stack.enter_async_context(driving(each)) for each in drivers]
        generation = place.server.get("deployments", "m")["metadata"]["generation"]

        await asyncio.gather(*(each.scale(2, before=0) for each in drivers))

        assert [each.now.wanted for each in driven] == [2] * 4
        after = place.server.get("deployments", "m")["metadata"]["generation"]
        assert after == generation + 1
        assert {len(await each.until_started(2)) for each in driven} == {2}


async def test_pods_that_run_are_told_in_the_first_report(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=2))
    await eventually(lambda: len(place.server.names("pods")) == 2)
    await asyncio.sleep(0.05)
    async with driving(place.driver()) as driven:
        first = driven.seen[0]
        assert (first.wanted, [each.id for each in first.replicas]) == (2, ["m-1", "m-2"])
        assert {each.phase for each in first.replicas} == {Phase.STARTED}


async def test_pods_that_come_and_go_do_not_outdate_an_order(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    async with driving(place.driver()) as driven:
        await driven.until_started(1)
        prepared = driven.now.fence

        def busy(_: Any) -> None:
            place.server.change("deployments", "m", lambda it: it["status"].update(readyReplicas=1))

        place.server.before_patch += [lambda _: None, busy]
        await driven.driver.scale(0, victims=("m-1",), fence=prepared)

        assert place.count() == 0
        assert driven.now.remembered == 1


async def test_what_somebody_else_wants_outdates_an_order(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=2))
    async with driving(place.driver()) as driven:
        await driven.until_started(2)

        def rescale(_: Any) -> None:
            place.server.change("deployments", "m", lambda it: it["spec"].update(replicas=5))

        place.server.before_patch += [lambda _: None, rescale]
        with pytest.raises(DriverError, match="rescaled"):
            await driven.driver.scale(0, victims=("m-1", "m-2"), fence=driven.now.fence)
        assert place.count() == 5


async def test_a_revival_elsewhere_is_seen_by_the_server_itself(place: Place) -> None:
    """Even if the watch of the one that gives the order has stood still since."""
    place.server.put("deployments", workload("m", replicas=1))
    async with driving(place.driver()) as leader, driving(place.driver()) as other:
        await leader.until_started(1)
        await eventually(lambda: len(place.server.watches()) >= 8)
        place.server.is_mute = True
        await other.driver.bump_fence()
        with pytest.raises(DriverError, match="revived"):
            await leader.driver.scale(0, victims=("m-1",), fence=leader.now.fence)
        assert place.count() == 1


async def test_addresses_come_from_the_service_where_one_is_named(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    async with driving(place.driver(replace(M, service="s"))) as driven:
        await driven.until(lambda snapshot: snapshot.replicas and snapshot.replicas[0].detail)
        (waiting,) = driven.now.replicas
        assert waiting.phase is not Phase.STARTED
        uid = place.server.get("pods", "m-1")["metadata"]["uid"]
        place.server.put(
            "endpointslices",
            {
                "metadata": {"name": "s-1", "labels": {"kubernetes.io/service-name": "s"}},
                "addressType": "IPv4",
                "ports": [{"name": "http", "port": 9000}],
                "endpoints": [
                    {
                        "addresses": ["192.168.7.7"],
                        "conditions": {"ready": False},
                        "targetRef": {"kind": "Pod", "uid": uid},
                    }
                ],
            },
        )
        (replica,) = await driven.until_started(1)
        assert (replica.host, replica.port) == ("192.168.7.7", 9000)


async def test_the_endpoints_of_a_namespace_share_their_watches(place: Place) -> None:
    place.controllers.makes_pods = False
    cluster = place.cluster()
    names = [f"m{number}" for number in range(100)]
    for name in names:
        place.server.put("deployments", workload(name))
    async with contextlib.AsyncExitStack() as stack:
        for name in names:
            driver = place.driver(replace(M, name=name), cluster=cluster)
            await stack.enter_async_context(driving(driver))
        assert len(place.server.lists()) == 4
        assert len(place.server.asked) <= 4 + 4


async def test_the_pods_that_go_first_are_marked_before_the_count_falls(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=3))
    async with driving(place.driver()) as driven:
        await driven.until_started(3)
        place.server.asked.clear()
        await driven.driver.scale(2, victims=("m-1",), fence=driven.now.fence)

        orders = [(each.resource, each.name) for each in place.server.asked if each.verb == "patch"]
        assert orders == [("pods", "m-1"), ("deployments/scale", "m")]
        await driven.until(lambda s: [each.id for each in s.replicas] == ["m-2", "m-3"])


async def test_another_pod_that_goes_instead_is_told(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=3))
    async with driving(place.driver()) as driven:
        await driven.until_started(3)

        def lose_the_mark(_: Any) -> None:
            place.server.change("pods", "m-1", lambda pod: pod["metadata"].update(annotations={}))

        place.server.before_patch += [lambda _: None, lose_the_mark]
        await driven.driver.scale(2, victims=("m-1",), fence=driven.now.fence)

        await eventually(lambda: place.notes)
        assert place.notes == [("other_pod_goes", "m-3 is stopped, though m-1 was to go")]


async def test_an_autoscaler_of_the_workload_is_told_and_one_of_another_is_not(
    place: Place,
) -> None:
    place.server.put("deployments", workload("m"))

    def autoscaler(name: str) -> dict[str, Any]:
        target = {"kind": "Deployment", "name": name}
        return {"metadata": {"name": name}, "spec": {"scaleTargetRef": target}}

    place.server.put("horizontalpodautoscalers", autoscaler("other"))
    async with driving(place.driver()) as driven:
        await eventually(lambda: len(place.server.watches()) >= 4)
        assert driven.now.autoscaler == ""
        place.server.put("horizontalpodautoscalers", autoscaler("m"))
        await driven.until(lambda it: it.autoscaler == "HorizontalPodAutoscaler m")
        place.server.delete("horizontalpodautoscalers", "m")
        await driven.until(lambda it: not it.autoscaler)


async def test_of_a_stateful_set_the_highest_numbers_go(place: Place) -> None:
    place.server.put("statefulsets", workload("m", kind="StatefulSet", replicas=3))
    async with driving(place.driver(replace(M, kind="StatefulSet"))) as driven:
        replicas = await driven.until_started(3)
        assert [each.ordinal for each in replicas] == [0, 1, 2]
        victim = replicas[-1].id
        await driven.driver.scale(2, victims=(victim,), fence=driven.now.fence)
        await driven.until(lambda it: len(it.replicas) == 2)
        assert victim not in [each.id for each in driven.now.replicas]
        assert place.server.patches("pods") == []
        assert place.notes == []


async def test_being_late_is_told_as_advice(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    async with driving(place.driver()) as driven:
        await driven.until_started(1)
        late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}

        def be_late(deployment: Any) -> None:
            deployment["status"]["conditions"] = [{**late, "message": "timed out"}]

        place.server.change("deployments", "m", be_late)
        await eventually(lambda: place.notes)
        assert place.notes == [("progress_deadline", "timed out")]
        (replica,) = await driven.until_started(1)
        assert replica.detail == "on node-1; timed out"
        assert driven.now.exits == ()


async def test_a_kind_that_only_its_scale_knows(place: Place) -> None:
    """Count and selector come from the scale subresource."""
    place.server.kinds["serving.example.com/v1"] = [
        {"name": "models/scale", "kind": "Scale"},
        {"name": "models", "kind": "Model"},
    ]
    raw = {"metadata": {"name": "m"}, "spec": {}, "podLabels": {"app": "m"}}
    place.server.put("models", raw)
    backend = KubernetesBackend("models", "serving.example.com/v1", "Model", "m", port=8000)
    async with driving(place.driver(backend)) as driven:
        assert driven.now.wanted == 0
        pod = workload("m")
        pod["metadata"] = {"name": "m-0", "uid": "abcdefg", "labels": {"app": "m"}}
        pod["spec"] = {"nodeName": "n", "containers": [container()]}
        pod["status"] = {"podIP": "127.0.0.9"}
        await driven.driver.scale(1, before=0)
        assert driven.now.wanted == 1
        place.server.put("pods", pod)
        (replica,) = await driven.until_started(1)
        assert (replica.id, replica.host, replica.port) == ("m-0.abcde", "127.0.0.9", 8000)
