"""Workloads, selectors and slices, as the API has them."""

from __future__ import annotations

from typing import Any

import pytest

from activator.core.selectors import selector_of
from activator.core.slices import Slice, SliceAddress, addresses, read_slice
from activator.core.workloads import read_workload


def raw_deployment(**changes: Any) -> dict[str, Any]:
    metadata = {
        "name": "llama",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 3,
        "annotations": changes.pop("annotations", {}),
    }
    spec = {"replicas": 2, "selector": {"matchLabels": {"app": "llama"}}, "template": {}}
    return {"metadata": metadata, "spec": {**spec, **changes.pop("spec", {})}, "status": changes}


def test_the_marks_of_an_activator_are_read() -> None:
    marks = {"activator.dev/epoch": "e", "activator.dev/replicas": "4"}
    found = read_workload(raw_deployment(annotations=marks))
    assert (found.replicas, found.remembered, found.fence) == (2, 4, "3.e")
    assert (
        read_workload(raw_deployment(annotations={"activator.dev/replicas": "x"})).remembered == 0
    )


def test_an_order_is_outdated_by_what_is_wanted_and_not_by_what_becomes_of_it() -> None:
    before = read_workload(raw_deployment())
    busy = raw_deployment(readyReplicas=1)
    busy["metadata"]["resourceVersion"] = "8"
    assert read_workload(busy).fence == before.fence
    revived = read_workload(raw_deployment(annotations={"activator.dev/epoch": "1"}))
    assert revived.fence != before.fence


def test_why_pods_cannot_be_made_is_read_while_it_is_so() -> None:
    failing = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}
    assert read_workload(raw_deployment(conditions=[failing])).cannot_create == "exceeded quota"
    over = {**failing, "status": "False"}
    assert read_workload(raw_deployment(conditions=[over])).cannot_create == ""


def test_being_late_is_advice() -> None:
    late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    told = read_workload(raw_deployment(conditions=[{**late, "message": "has timed out"}]))
    assert told.progress == "has timed out"


def test_elsewhere_only_the_scale_knows_count_and_selector() -> None:
    custom = {"metadata": {"name": "m", "uid": "u", "resourceVersion": "1"}, "spec": {"size": 3}}
    found = read_workload(custom)
    assert (found.replicas, found.selector) == (None, None)


SELECTORS = [
    ("app=a", {"app": "a"}, True),
    ("app==a", {"app": "a"}, True),
    ("app=a,tier=b", {"app": "a"}, False),
    ("app in (a,b),x!=1", {"app": "b"}, True),
    ("app in (a,b),x!=1", {"app": "b", "x": "1"}, False),
    ("app notin (a)", {"app": "b"}, True),
    ("app", {"app": ""}, True),
    ("!app", {"x": "y"}, True),
    ("!app", {"app": "y"}, False),
    ({"matchLabels": {"app": "a"}}, {"app": "a", "x": "y"}, True),
    ({"matchExpressions": [{"key": "a", "operator": "Exists"}]}, {"a": "1"}, True),
    ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, {"a": "1"}, False),
    ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, {"a": "1"}, True),
    ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, {}, True),
]


@pytest.mark.parametrize(("told", "labels", "fits"), SELECTORS)
def test_selectors_of_both_forms(told: Any, labels: dict[str, str], fits: bool) -> None:
    selector = selector_of(told)
    assert selector is not None
    assert selector.matches(labels) is fits


@pytest.mark.parametrize("told", ["", {}, None, {"matchLabels": {}}])
def test_what_selects_nothing_or_everything_selects_no_pods_of_ours(told: Any) -> None:
    assert selector_of(told) is None


def raw_slice(*endpoints: dict[str, Any], kind: str = "IPv4", **ports: int) -> dict[str, Any]:
    return {
        "metadata": {"name": "llama-x", "labels": {"kubernetes.io/service-name": "llama"}},
        "addressType": kind,
        "ports": [{"name": name, "port": number} for name, number in ports.items()],
        "endpoints": list(endpoints),
    }


def raw_endpoint(pod: str, address: str, **conditions: bool) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": conditions,
        "targetRef": {"kind": "Pod", "name": pod, "uid": pod},
    }


def read(*raws: dict[str, Any]) -> list[Slice]:
    return [found for raw in raws if (found := read_slice(raw))]


def test_a_pod_is_in_its_service_before_it_is_ready_and_while_it_goes() -> None:
    slices = read(
        raw_slice(
            raw_endpoint("p", "10.0.0.1", ready=False, serving=False),
            raw_endpoint("q", "10.0.0.2", ready=False, serving=True, terminating=True),
            http=8000,
            metrics=9000,
        )
    )
    assert addresses(slices, service="llama", port="http") == {
        "p": SliceAddress("10.0.0.1", 8000, is_terminating=False),
        "q": SliceAddress("10.0.0.2", 8000, is_terminating=True),
    }
    assert addresses(slices, service="llama", port=9000)["p"].port == 9000
    assert addresses(slices, service="llama", port="grpc") == {}
    assert addresses(slices, service="other", port="http") == {}


def test_of_two_families_the_preferred_one_is_taken() -> None:
    slices = read(
        raw_slice(raw_endpoint("p", "fd00::1"), kind="IPv6", http=8000),
        raw_slice(raw_endpoint("p", "10.0.0.1"), http=8000),
    )
    for preferred in ("fd00::1", "10.0.0.1"):
        found = addresses(slices, service="llama", port="http", preferred=[preferred])
        assert found["p"].host == preferred


def test_host_names_and_what_is_no_pod_are_left_out() -> None:
    assert read(raw_slice(raw_endpoint("p", "a.example.com"), kind="FQDN", http=1)) == []
    bare = {"addresses": ["10.0.0.9"], "conditions": {}}
    assert read(raw_slice(bare, http=1))[0].endpoints == ()
