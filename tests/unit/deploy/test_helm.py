"""The chart, as Helm renders it: valid, restricted, and the same installation as the manifests."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from activator.cli.arguments import parse
from activator.config.settings import load
from tests.unit.deploy.helm import CASES, CHART, head, render, rendered
from tests.unit.deploy.schemas import problems
from tests.unit.deploy.test_kubernetes import MARGIN, ROOT, one, read

Json = dict[str, Any]
NAMES = [rendered(case).stem for case in CASES]


def objects(name: str) -> list[Json]:
    [path] = [rendered(case) for case in CASES if rendered(case).stem == name]
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def of(kind: str, name: str) -> list[Json]:
    return [each for each in objects(name) if each["kind"] == kind]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_what_was_rendered_is_of_this_chart(case: Path) -> None:
    """Otherwise: python -m tests.unit.deploy.helm"""
    assert rendered(case).read_text(encoding="utf-8").startswith(head())


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_helm_renders_it_so(case: Path) -> None:
    assert render(case) == rendered(case).read_text(encoding="utf-8")


@pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
def test_helm_lints_it() -> None:
    subprocess.run(["helm", "lint", "--strict", str(CHART)], check=True, capture_output=True)


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_valid_and_once(name: str) -> None:
    assert [problem for each in objects(name) for problem in problems(each)] == []
    ids = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in objects(name)
    ]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_is_one(name: str, tmp_path: Path) -> None:
    [config] = of("ConfigMap", name)
    token = tmp_path / "token"
    token.write_text("hush", encoding="utf-8")
    text = config["data"]["activator.yaml"].replace("/etc/activator/admin/token", str(token))
    (tmp_path / "activator.yaml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "activator.yaml", environ={"STORE_URL": "memory://"})

    [pod] = [each["spec"]["template"]["spec"] for each in of("Deployment", name)]
    needed = settings.server.drain_delay + settings.server.shutdown_grace + MARGIN
    if "lifecycle" in pod["containers"][0]:
        needed += int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] == needed
    assert parse(pod["containers"][0]["args"]).config == "/etc/activator/activator.yaml"


@pytest.mark.parametrize("name", NAMES)
def test_pods_are_as_restricted_as_those_of_the_manifests(name: str) -> None:
    theirs = {
        "Deployment": one("Deployment"),
        "StatefulSet": one("StatefulSet", below="components/redis", name="activator-redis"),
    }
    for kind, manifest in theirs.items():
        for each in of(kind, name):
            ours, pod = each["spec"]["template"]["spec"], manifest["spec"]["template"]["spec"]
            assert ours["securityContext"] == pod["securityContext"]
            for key in ("securityContext", "resources", "readinessProbe", "livenessProbe", "ports"):
                assert ours["containers"][0][key] == pod["containers"][0][key]


@pytest.mark.parametrize("name", NAMES)
def test_selectors_select_the_pods(name: str) -> None:
    pods = [
        each["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "StatefulSet")
        for each in of(kind, name)
    ]
    selectors = [each["spec"]["selector"] for each in of("Service", name)]
    selectors += [
        each["spec"]["selector"]["matchLabels"]
        for kind in ("Deployment", "StatefulSet", "PodDisruptionBudget")
        for each in of(kind, name)
    ]
    selectors += [each["spec"]["podSelector"]["matchLabels"] for each in of("NetworkPolicy", name)]
    for selector in selectors:
        assert [pod for pod in pods if selector.items() <= pod.items()], selector
    for monitor in of("ServiceMonitor", name):
        wanted = monitor["spec"]["selector"]["matchLabels"]
        services = [each["metadata"]["labels"] for each in of("Service", name)]
        assert len([labels for labels in services if wanted.items() <= labels.items()]) == 1


def test_rights_are_those_of_the_manifests() -> None:
    def rights(rules: list[Json]) -> set[tuple[str, str, str]]:
        return {
            (group, resource, verb)
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    manifest = rights(one("Role", below="rbac")["rules"])
    [role], [cluster_role] = of("Role", "default"), of("ClusterRole", "memory")
    assert rights(role["rules"]) == rights(cluster_role["rules"]) == manifest
    roles = of("Role", "everything")
    assert [each["metadata"]["namespace"] for each in roles] == ["models", "more-models"]
    for each in roles:
        resources = {resource for _, resource, _ in rights(each["rules"])}
        assert {"leaderworkersets", "leaderworkersets/scale"} <= resources
        assert "statefulsets" not in resources
        # declared by annotation: what the manifests have as comments
        assert ("", "services", "watch") in rights(each["rules"])
        assert {("", "events", verb) for verb in ("create", "patch")} <= rights(each["rules"])


def test_without_a_redis_there_is_one_activator() -> None:
    [deployment] = of("Deployment", "memory")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}
    assert of("HorizontalPodAutoscaler", "memory") == []
    assert "replicas" not in of("Deployment", "default")[0]["spec"]


def test_with_a_lease_two_take_turns_as_in_the_manifests() -> None:
    [deployment] = of("Deployment", "lease")
    changed = yaml.safe_load(
        read(ROOT / "components/lease/kustomization.yaml")[0]["patches"][0]["patch"]
    )["spec"]
    assert deployment["spec"]["replicas"] == changed["replicas"]
    rolling = changed["strategy"]["rollingUpdate"]
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
    pod, theirs = deployment["spec"]["template"]["spec"], changed["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == theirs["terminationGracePeriodSeconds"]
    [container], [manifest] = pod["containers"], theirs["containers"]
    assert container["lifecycle"] == manifest["lifecycle"]
    assert container["env"] == manifest["env"]
    [role] = [each for each in of("Role", "lease") if each["metadata"]["namespace"] == "activator"]
    expected = one("Role", below="components/lease", name="activator-lease")
    assert role["rules"] == expected["rules"]
    assert role["metadata"]["name"] == expected["metadata"]["name"]
    assert of("PodDisruptionBudget", "lease") == of("HorizontalPodAutoscaler", "lease") == []


def test_every_value_has_its_schema_and_every_schema_a_value() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def compare(value: Any, told: Json, at: str) -> None:
        if isinstance(value, dict) and told.get("additionalProperties") is False:
            assert set(value) == set(told["properties"]) - {"global"}, at
            for key, each in value.items():
                compare(each, told["properties"][key], f"{at}.{key}")

    compare(values, schema, "values")


def test_the_chart_is_of_this_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    [version] = [
        line.split('"')[1]
        for line in (Path(__file__).parents[3] / "activator/__init__.py").read_text().splitlines()
        if line.startswith("__version__")
    ]
    assert chart["appVersion"] == chart["version"] == version
