"""Pods as Kubernetes 1.36 tells them: who they are, where they are, and who goes first."""

from __future__ import annotations

from typing import Any

import pytest

from activator.core.pods import (
    Pod,
    are_marked,
    life_name,
    ordinal,
    pods_to_mark,
    port_number,
    read_pod,
    serving,
)
from tests.unit.core.raw_pods import (
    IPS,
    ended,
    raw_pod,
    running,
)


def test_the_lives_of_a_container_have_names_of_their_own() -> None:
    first = read_pod(raw_pod(containerStatuses=[running()]))
    crashed = read_pod(raw_pod(containerStatuses=[{**running(), "state": ended(1)}]))
    again = read_pod(raw_pod(containerStatuses=[running(restartCount=1, lastState=ended(1))]))
    lives = [serving(pod, "http") for pod in (first, crashed, again)]
    assert [life.life for life in lives if life] == [0, 1, 1]


def test_a_pod_that_is_replaced_under_its_name_is_another_replica() -> None:
    owner = [{"kind": "StatefulSet", "name": "llama", "controller": True}]
    one = read_pod(raw_pod(metadata={"name": "llama-0", "ownerReferences": owner}))
    other = read_pod(
        raw_pod(metadata={"name": "llama-0", "uid": "9f8e7d-1", "ownerReferences": owner})
    )
    assert life_name(one, 0) == "llama-0.0a1b2"
    assert life_name(other, 0) == "llama-0.9f8e7"
    assert life_name(read_pod(raw_pod()), 2) == "llama-6b7f9c-x2x7k.r2"


@pytest.mark.parametrize(("port", "number"), [("http", 8000), (9000, 9000), ("grpc", 0)])
def test_a_port_is_a_number_or_a_name(port: int | str, number: int) -> None:
    assert port_number(read_pod(raw_pod()), port) == number


def test_the_container_that_serves_is_the_one_with_the_port() -> None:
    sidecar = {"name": "proxy", "image": "p", "ports": [{"name": "http", "containerPort": 80}]}
    spec = {"containers": [{"name": "server", "image": "s"}, sidecar]}
    pod = read_pod(raw_pod(spec=spec))
    found = [serving(pod, "http"), serving(pod, 80), serving(pod, 8000)]
    assert [each.name for each in found if each] == ["proxy", "proxy", "server"]


def test_the_addresses_of_both_families_are_known() -> None:
    assert read_pod(raw_pod(**IPS)).addresses == ("10.0.0.7", "fd00::7")
    assert read_pod(raw_pod(podIP="10.0.0.7")).addresses == ("10.0.0.7",)
    assert read_pod(raw_pod()).addresses == ()


@pytest.mark.parametrize(
    ("spec", "needed"),
    [
        ({}, False),
        ({"containers": [{"name": "a", "readinessProbe": {"httpGet": {"port": 80}}}]}, False),
        ({"containers": [{"name": "a", "readinessProbe": {"exec": {}}}]}, True),
        ({"containers": [{"name": "a", "readinessProbe": {"grpc": {"port": 1}}}]}, True),
        ({"readinessGates": [{"conditionType": "x"}]}, True),
    ],
)
def test_ready_is_awaited_where_only_the_cluster_knows(spec: Any, needed: bool) -> None:
    assert read_pod(raw_pod(spec=spec)).needs_ready is needed


def pod(name: str, *, cost: int = 0, owner: str = "ReplicaSet") -> Pod:
    return Pod(uid=name, name=name, labels={}, owner=owner, deletion_cost=cost)


def test_those_who_go_first_are_marked_and_old_marks_taken_off() -> None:
    pods = [pod("a"), pod("b", cost=-1000), pod("c", cost=-1000), pod("d", cost=5)]
    marks = pods_to_mark(pods, ["ra", "rb"], name_of=lambda replica: replica[1:])
    assert marks == {"a": "-1000", "c": None}
    assert not are_marked(pods, marks)
    assert are_marked([pod("a", cost=-1000), pod("b", cost=-1000), pod("c")], marks)
    assert are_marked([pod("c")], marks)
    assert pods_to_mark([pod("a-1", owner="StatefulSet")], ["x"], name_of=lambda _: "a-1") == {}


@pytest.mark.parametrize(
    ("name", "owner", "labels", "number"),
    [
        ("m-6b7f9c-12345", "ReplicaSet", {}, None),
        ("m-2", "StatefulSet", {}, 2),
        ("m-2", "StatefulSet", {"apps.kubernetes.io/pod-index": "7"}, 7),
        (
            "big-3",
            "StatefulSet",
            {"leaderworkerset.sigs.k8s.io/group-index": "3", "apps.kubernetes.io/pod-index": "0"},
            3,
        ),
        ("m-2", "Rollout", {}, None),
    ],
)
def test_the_place_of_a_pod_in_a_set_that_goes_by_number(
    name: str, owner: str, labels: dict[str, str], number: int | None
) -> None:
    assert ordinal(Pod(uid="u", name=name, labels=labels, owner=owner)) == number
