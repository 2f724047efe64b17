"""The Kubernetes driver without rights, without a server, and with pods that do not come up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from activator.drivers.base import DriverError, Phase
from tests.driving import driving
from tests.faults import Faulty, failures
from tests.integration.kube.place import M, Place, standing
from tests.kube_controllers import workload
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with standing(tmp_path) as made:
        yield made


async def test_without_the_right_to_annotate_the_count_is_not_remembered(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    place.server.forbidden.add(("patch", "deployments"))
    async with driving(place.driver()) as driven:
        await driven.until_started(1)
        await driven.driver.scale(0, fence=driven.now.fence)
        assert (place.count(), driven.now.remembered) == (0, 0)
        assert [action for action, _ in place.notes] == ["count_not_remembered"]
        with pytest.raises(DriverError, match="cannot patch"):
            await driven.driver.bump_fence()


async def test_without_the_right_to_scale_it_is_said_that_it_lasts(place: Place) -> None:
    place.server.put("deployments", workload("m"))
    place.server.forbidden.add(("patch", "deployments/scale"))
    async with driving(place.driver()) as driven:
        with pytest.raises(DriverError, match="cannot patch") as refused:
            await driven.driver.scale(1, before=0)
        assert refused.value.lasting


async def test_without_the_right_to_see_pods_nothing_is_started(place: Place) -> None:
    place.server.put("deployments", workload("m"))
    place.server.forbidden.add(("list", "pods"))
    async with driving(place.driver()) as driven:
        assert "cannot list" in driven.now.trouble
        with pytest.raises(DriverError, match="pods is forbidden") as refused:
            await driven.driver.scale(1, before=0)
        assert refused.value.lasting
        assert place.count() == 0


async def test_without_the_right_to_see_events_all_goes_on(place: Place) -> None:
    place.server.put("deployments", workload("m"))
    place.server.forbidden.add(("list", "events"))
    async with driving(place.driver()) as driven:
        await driven.driver.scale(1, before=0)
        await driven.until_started(1)
        await driven.until(lambda snapshot: "events is forbidden" in snapshot.trouble)


async def test_without_the_right_to_look_it_is_said_that_it_lasts(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    place.server.forbidden.add(("list", "deployments"))
    async with driving(place.driver()) as driven:
        assert "cannot list" in driven.now.trouble
        with pytest.raises(DriverError, match="cannot list") as refused:
            await driven.driver.scale(1, before=0)
        assert refused.value.lasting

        place.server.forbidden.clear()
        await driven.until_started(1)
        assert driven.now.trouble == ""


async def test_while_the_server_is_away_what_was_known_stays(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    async with driving(place.driver()) as driven:
        await driven.until_started(1)
        place.server.is_away = True
        place.server.cut_watches()
        await driven.until(lambda snapshot: snapshot.trouble)
        assert (driven.now.wanted, len(driven.started())) == (1, 1)
        with pytest.raises(DriverError) as refused:
            await driven.driver.scale(0, fence=driven.now.fence)
        assert not refused.value.lasting

        place.server.is_away = False
        await driven.until(lambda snapshot: not snapshot.trouble)
        await driven.driver.scale(0, fence=driven.now.fence)
        assert place.count() == 0


async def test_before_anything_is_seen_nothing_is_claimed(place: Place) -> None:
    place.server.put("deployments", workload("m", replicas=1))
    place.server.is_away = True
    async with driving(place.driver()) as driven:
        assert driven.now.is_blind
        place.server.is_away = False
        await driven.until_started(1)
        assert not driven.now.is_blind


async def test_what_a_container_printed_last_is_told_with_its_end(place: Place) -> None:
    place.controllers.exit_code = 7
    place.server.logs["m-1"] = place.server.logs["m-1/previous"] = "\n".join("abcdefgh")
    place.server.put("deployments", workload("m"))
    async with driving(place.driver()) as driven:
        await driven.driver.scale(1, before=0)
        await driven.until(lambda snapshot: len(snapshot.exits) >= 2)
        told = {each.id: each.cause for each in driven.now.exits}
        assert list(told)[:2] == ["m-1", "m-1.r1"]
        assert {each.exit_code for each in told.values()} == {7}
        assert {each.last_lines for each in told.values()} == {tuple("defgh")}
        assert all(each.is_retrying for each in driven.now.replicas if ".r" in each.id)


async def test_its_last_lines_are_found_though_it_was_started_again_meanwhile(
    place: Place,
) -> None:
    place.controllers.exit_code = 7
    place.controllers.restart_delay = 60.0
    place.server.logs |= {"m-1": "", "m-1/previous": "no such device"}
    place.server.put("deployments", workload("m"))
    async with driving(place.driver()) as driven:
        await driven.driver.scale(1, before=0)
        await driven.until_started(1)
        ended = {"terminated": {"exitCode": 7, "containerID": "c1"}}

        def end(pod: Any) -> None:
            pod["status"]["containerStatuses"][0]["state"] = ended

        def wait(pod: Any) -> None:
            """As a kubelet has it that counts the restart before it happens."""
            waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
            changes = {"state": waiting, "lastState": ended, "restartCount": 1}
            pod["status"]["containerStatuses"][0].update(changes)

        place.server.change("pods", "m-1", end)
        await driven.until(lambda snapshot: snapshot.exits)
        place.server.change("pods", "m-1", wait)
        await driven.until(lambda snapshot: "back-off" in snapshot.replicas[-1].detail)
        await asyncio.sleep(0.1)  # nothing more is told: there is nothing to wait for
        (told,) = driven.now.exits
        assert told.cause.last_lines == ("no such device",)


async def test_the_lines_of_one_that_does_not_come_up_are_fetched_when_asked_for(
    place: Place,
) -> None:
    place.server.logs["m-1"] = "loading weights"
    place.server.put("deployments", workload("m", replicas=1))
    async with driving(place.driver()) as driven:
        await driven.until_started(1)
        assert driven.driver.last_lines("m-1") == ()
        await eventually(lambda: driven.driver.last_lines("m-1") == ("loading weights",))
        assert driven.driver.last_lines("m-2") == ()


@pytest.mark.parametrize(
    "clock",
    [
        pytest.param(time.monotonic, id="on time"),
        # what is early at the look is overdue before it is waited for
        pytest.param(count().__next__, id="a second at every reading"),
    ],
)
async def test_pods_that_the_quota_refuses_are_told_once_that_lasts(
    place: Place, clock: Callable[[], float]
) -> None:
    place.controllers.makes_pods = False
    place.server.put("deployments", workload("m"))
    async with driving(place.driver(clock=clock)) as driven:
        await driven.driver.scale(1, before=0)

        def fail(deployment: Any) -> None:
            deployment["status"]["conditions"] = [
                {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "reason": "FailedCreate",
                    "message": 'pods "m-x" is forbidden: exceeded quota: gpus, requested: 1',
                }
            ]

        place.server.change("deployments", "m", fail)
        exit_ = await driven.until_exit()
        assert exit_.cause.message.startswith("the namespace's quota is used up: exceeded quota")


async def test_kinds_without_such_a_condition_tell_it_in_an_event(place: Place) -> None:
    place.controllers.makes_pods = False
    made = place.server.put("statefulsets", workload("m", kind="StatefulSet"))
    event = {
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "StatefulSet", "name": "m", "uid": made["metadata"]["uid"]},
        "reason": "FailedCreate",
        "message": 'create Pod m-0 failed error: pods "m-0" is forbidden: exceeded quota: gpus',
        "lastTimestamp": "2026-01-01T00:00:00Z",
        "count": 1,
    }
    place.server.put("events", event)
    async with driving(place.driver(replace(M, kind="StatefulSet"))) as driven:
        await driven.driver.scale(1, before=0)
        await driven.until(lambda snapshot: snapshot.wanted == 1)
        place.server.put("events", {**event, "count": 2})
        exit_ = await driven.until_exit()
        assert "quota is used up" in exit_.cause.message


async def test_a_pod_that_cannot_get_its_image_stays_in_sight(place: Place) -> None:
    place.controllers.start_delay = 60.0
    place.server.put("deployments", workload("m"))
    async with driving(place.driver()) as driven:
        await driven.driver.scale(1, before=0)
        await driven.until(lambda snapshot: snapshot.replicas)

        def fail(pod: Any) -> None:
            waiting = {"reason": "ErrImagePull", "message": "not found"}
            pod["spec"]["nodeName"] = "n"
            pod["status"]["containerStatuses"] = [
                {"name": "server", "restartCount": 0, "state": {"waiting": waiting}}
            ]

        place.server.change("pods", "m-1", fail)
        await driven.until(lambda snapshot: snapshot.exits)
        assert "cannot be pulled: not found" in driven.now.exits[0].cause.message
        (pod,) = driven.now.replicas
        assert (pod.phase, pod.detail, pod.is_retrying) == (
            Phase.SCHEDULED,
            "ErrImagePull: not found",
            True,
        )


async def test_the_driver_looks_on_after_a_fault_of_ours(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.server.put("deployments", workload("m"))
    driver = place.driver()
    async with driving(driver) as driven:
        Faulty(monkeypatch, driver, "_until_changed", times=2)
        await driven.driver.scale(1, before=0)
        await driven.until_started(1)
        assert failures(caplog)
