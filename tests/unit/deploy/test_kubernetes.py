"""The manifests: valid by Kubernetes' own schemas, complete, consistent, as tight as they say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from activator.cli.arguments import parse
from activator.config.settings import load
from activator.config.store_url import parse_store_url
from tests.unit.deploy.schemas import problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

ROOT = Path(__file__).parents[3] / "deploy" / "kubernetes"
KUSTOMIZATIONS = sorted(ROOT.rglob("kustomization.yaml"))
CONFIG = ROOT / "base" / "activator.yaml"
MANIFESTS = sorted({*ROOT.rglob("*.yaml")} - {*KUSTOMIZATIONS, CONFIG})
MARGIN = 30.0
"""Seconds to stop in, once everything has finished or was given up."""


def read(path: Path) -> list[Json]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def one(kind: str, *, below: str = "base", name: str = "activator") -> Json:
    [found] = [
        each
        for path in MANIFESTS
        if path.is_relative_to(ROOT / below)
        for each in read(path)
        if (each["kind"], each["metadata"]["name"]) == (kind, name)
    ]
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=shown)
def test_a_manifest_is_valid(path: Path) -> None:
    assert [problem for each in read(path) for problem in problems(each)] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"replica": 1}, ".spec.replica: unknown field"),
        ({"replicas": "1"}, ".spec.replicas: '1' is no integer"),
        ({"selector": None}, ".spec.selector"),
        ({"template": {"spec": {"containers": [{}]}}}, "containers[0].name: is required"),
        (
            {"template": {"spec": {"volumes": [{"name": "t", "emptyDir": {"sizeLimit": "1 GB"}}]}}},
            "sizeLimit: '1 GB' is no quantity",
        ),
    ],
)
def test_the_schemas_find_mistakes(change: Json, said: str) -> None:
    model = one("Deployment", below="examples", name="llama-8b")
    assert problems(model) == []
    model["spec"] |= change
    assert any(said in each for each in problems(model)), problems(model)


def test_a_kind_that_nobody_knows_is_found() -> None:
    assert problems({"apiVersion": "v1", "kind": "Pood"}) == ["v1/Pood None: no such kind is known"]


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=shown)
def test_a_kustomization_names_what_is_there_and_forgets_nothing(path: Path) -> None:
    [told] = read(path)
    here = path.parent
    listed = told.get("resources", []) + told.get("components", [])
    generated = [name for each in told.get("configMapGenerator", []) for name in each["files"]]
    for name in listed:
        target = (here / name).resolve()
        assert (target / "kustomization.yaml").exists() if target.is_dir() else target.exists()
    beside = {each.name for each in here.glob("*.yaml")} - {path.name}
    assert beside == {name for name in [*listed, *generated] if "/" not in name}


def _objects(path: Path) -> Iterator[Json]:
    """All that a kustomization brings together, before its patches."""
    [told] = read(path)
    for name in told.get("resources", []) + told.get("components", []):
        target = (path.parent / name).resolve()
        if target.is_dir():
            yield from _objects(target / "kustomization.yaml")
        else:
            yield from read(target)


@pytest.mark.parametrize("path", sorted(ROOT.glob("overlays/*/kustomization.yaml")), ids=shown)
def test_patches_have_something_to_patch(path: Path) -> None:
    objects = {(each["kind"], each["metadata"]["name"]) for each in _objects(path)}
    [told] = read(path)
    components = [path.parent / name / "kustomization.yaml" for name in told.get("components", [])]
    for kustomization in (path, *components):
        for patch in read(kustomization)[0].get("patches", ()):
            assert (patch["target"]["kind"], patch["target"]["name"]) in objects
            assert yaml.safe_load(patch["patch"])


@pytest.mark.skipif(shutil.which("kustomize") is None, reason="kustomize is not installed")
@pytest.mark.parametrize("overlay", sorted(ROOT.glob("overlays/*")), ids=shown)
def test_an_overlay_builds_and_is_valid(overlay: Path) -> None:
    built = subprocess.run(
        ["kustomize", "build", str(overlay)], capture_output=True, check=True, text=True
    )
    objects = list(yaml.safe_load_all(built.stdout))
    assert [problem for each in objects for problem in problems(each)] == []
    bindings = [each for each in objects if each["kind"].endswith("RoleBinding")]
    [account] = [each for each in objects if each["kind"] == "ServiceAccount"]
    for binding in bindings:
        assert binding["subjects"][0]["namespace"] == account["metadata"]["namespace"]


def test_the_configuration_is_one(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("hush", encoding="utf-8")
    text = CONFIG.read_text(encoding="utf-8").replace("/etc/activator/admin/token", str(token))
    (tmp_path / "activator.yaml").write_text(text, encoding="utf-8")
    settings = load(tmp_path / "activator.yaml", environ={"STORE_URL": "memory://"})

    [endpoint] = settings.endpoints
    assert endpoint.backend.name == "llama-8b"  # type: ignore[union-attr]  # a Kubernetes backend
    model = one("Deployment", below="examples", name="llama-8b")
    assert model["metadata"]["namespace"] == endpoint.backend.namespace  # type: ignore[union-attr]
    ports = model["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert endpoint.backend.port in {port["name"] for port in ports}  # type: ignore[union-attr]


def test_a_pod_is_given_the_time_that_its_requests_may_take(tmp_path: Path) -> None:
    server = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["server"]
    (tmp_path / "c.yaml").write_text(
        yaml.safe_dump({"server": {k: server[k] for k in ("drainDelay", "shutdownGrace")}})
        + "endpoints: [{name: a, backend: {type: static, urls: ['http://a:1']}}]",
        encoding="utf-8",
    )
    told = load(tmp_path / "c.yaml").server
    pod = one("Deployment")["spec"]["template"]["spec"]
    needed = told.drain_delay + told.shutdown_grace + MARGIN
    assert pod["terminationGracePeriodSeconds"] == needed


def test_the_pods_run_the_command_line_as_it_is() -> None:
    [container] = one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert parse(container["args"]).config == "/etc/activator/activator.yaml"


@pytest.mark.parametrize(
    ("kind", "below", "name"),
    [
        ("Deployment", "base", "activator"),
        ("StatefulSet", "components/redis", "activator-redis"),
    ],
)
def test_pods_are_as_restricted_as_they_can_be(kind: str, below: str, name: str) -> None:
    """Pod Security's `restricted`, which the namespace enforces, and a root that is read-only."""
    pod = one(kind, below=below, name=name)["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]
        assert ":" in container["image"]
        assert "latest" not in container["image"]


def test_selectors_select_the_pods() -> None:
    """Labels of the base are put on by kustomize: on what they select, too."""
    [told] = read(ROOT / "base" / "kustomization.yaml")
    [labels] = told["labels"]
    assert labels["includeSelectors"]
    assert labels["includeTemplates"]
    pod = labels["pairs"]
    spec = one("Deployment")["spec"]["template"]["spec"]
    [anti] = spec["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    several = "components/several"
    for selector in (
        one("Deployment")["spec"]["selector"],
        anti["podAffinityTerm"]["labelSelector"],
        spec["topologySpreadConstraints"][0]["labelSelector"],
        one("NetworkPolicy")["spec"]["podSelector"],
        one("PodDisruptionBudget", below=several)["spec"]["selector"],
    ):
        assert selector["matchLabels"] == pod
    ports = {port["name"] for port in spec["containers"][0]["ports"]}
    for name in ("activator", "activator-admin"):
        assert {port["targetPort"] for port in one("Service", name=name)["spec"]["ports"]} <= ports


def test_rights_are_few_and_the_same_in_both_forms() -> None:
    role = one("Role", below="rbac")["rules"]
    assert role == one("ClusterRole", below="rbac")["rules"]
    for rule in role:
        for words in rule.values():
            assert "*" not in words
        assert "secrets" not in rule["resources"]
    assert {
        (resource, verb)
        for rule in role
        for resource in rule["resources"]
        for verb in set(rule["verbs"]) - {"get", "list", "watch"}
    } == {
        ("deployments", "patch"),
        ("statefulsets", "patch"),
        ("deployments/scale", "patch"),
        ("statefulsets/scale", "patch"),
        ("pods", "patch"),
        ("events", "create"),
        ("events", "patch"),
    }


def _lease_deployment() -> Json:
    """What `components/lease` changes of the base's."""
    [told] = read(ROOT / "components" / "lease" / "kustomization.yaml")
    [patch] = told["patches"]
    spec: Json = yaml.safe_load(patch["patch"])["spec"]
    return spec


def test_with_a_lease_its_holder_may_have_this_one_and_no_other() -> None:
    pod = _lease_deployment()["template"]["spec"]
    [store] = [each["value"] for each in pod["containers"][0]["env"]]
    name = parse_store_url(store).lease
    [base] = read(ROOT / "base" / "kustomization.yaml")

    rights = one("Role", below="components/lease", name="activator-lease")["rules"]
    of_leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert rights == [
        {**of_leases, "verbs": ["create"]},
        {**of_leases, "resourceNames": [name], "verbs": ["get", "update"]},
    ]
    # kustomize takes it for the name of what it generates, whatever the kind
    assert name not in {each["name"] for each in base["configMapGenerator"]}


def test_with_a_lease_an_update_waits_for_nobody_to_be_ready() -> None:
    """Of the new pods none is while an old one serves."""
    changed, pod = _lease_deployment(), one("Deployment")["spec"]["template"]["spec"]
    assert changed["replicas"] >= 2
    assert changed["strategy"]["rollingUpdate"] == {"maxSurge": "100%", "maxUnavailable": "100%"}
    [container] = changed["template"]["spec"]["containers"]
    [_, seconds] = container["lifecycle"]["preStop"]["exec"]["command"]
    grace = pod["terminationGracePeriodSeconds"] + int(seconds)
    assert changed["template"]["spec"]["terminationGracePeriodSeconds"] == grace
    kinds = {each["kind"] for each in _objects(ROOT / "overlays" / "lease" / "kustomization.yaml")}
    # with one that is ready, a budget would keep its node from ever being drained
    assert kinds.isdisjoint({"PodDisruptionBudget", "HorizontalPodAutoscaler"})


def test_the_rights_are_those_that_the_documentation_explains() -> None:
    granted: dict[str, set[str]] = {}
    for rule in one("Role", below="rbac")["rules"]:
        for resource in rule["resources"]:
            granted.setdefault(resource, set()).update(rule["verbs"])

    page = (ROOT.parents[1] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    table = page.partition("\n## Rights\n")[2].partition("\nWith `sources.kubernetes`")[0]
    told: dict[str, set[str]] = {}
    for row in re.findall(r"^\| ([^|]+) \| ([a-z, ]+) \|", table, re.MULTILINE)[1:]:
        resource = row[0].split()[0].strip("`")
        told.setdefault(resource, set()).update(row[1].strip().split(", "))

    assert granted.pop("statefulsets") == granted["deployments"]
    assert granted.pop("statefulsets/scale") == granted["deployments/scale"]
    assert told == granted


def test_the_tools_are_not_needed_for_the_rest() -> None:
    """What is tested above without `kustomize` covers each file that it would read."""
    covered = {*MANIFESTS, *KUSTOMIZATIONS, CONFIG}
    found = {Path(folder) / name for folder, _, names in os.walk(ROOT) for name in names}
    assert found == covered
