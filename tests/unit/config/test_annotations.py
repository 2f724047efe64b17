"""Annotations mean what the keys of the file mean, and are refused in their own words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from activator.config.annotations import KEYS, read_declaration
from activator.config.endpoint_schema import EndpointSection
from activator.config.tree import Table
from activator.core.declarations import Declaration
from activator.core.endpoint import Dialect, Endpoint, KubernetesBackend, Match
from activator.errors import ConfigError
from tests.unit.config.support import settings_of

GUIDE = Path(__file__).parents[3] / "docs/kubernetes.md"


def declaration(kind: str = "Deployment", name: str = "llama", **words: str) -> Declaration:
    told = {"enabled": "true", **{key.replace("_", "-"): text for key, text in words.items()}}
    return Declaration("apps/v1", kind, "models", name, "u1", "", tuple(sorted(told.items())))


def read(it: Declaration, *, defaults: Table | None = None) -> Endpoint:
    return read_declaration(
        it, defaults=defaults if defaults is not None else Table(0), base=Path()
    )


def problems(it: Declaration) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(it)
    return caught.value.problems


def test_a_deployment_is_its_own_target() -> None:
    endpoint = read(declaration(port="http", hosts="a.example, *.B.example", max="2"))
    assert endpoint.name == "models.llama"
    assert endpoint.backend == KubernetesBackend("models", "apps/v1", "Deployment", "llama", "http")
    assert endpoint.match == Match(hosts=("a.example", "*.b.example"))
    assert endpoint.scale.max == 2


def test_a_service_names_its_target_and_gives_the_addresses() -> None:
    target = "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet/big"
    endpoint = read(declaration("Service", "front", target=target, port="8000"))
    assert endpoint.backend == KubernetesBackend(
        "models", "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "big", 8000, service="front"
    )


def test_words_are_read_as_in_a_file() -> None:
    endpoint = read(
        declaration(
            port="8000",
            dialect="openai",
            models="123, llama-*",
            idle_timeout="90",
            start_timeout="5m",
            cost_per_replica_hour="2.5",
            queue_max_bytes="1MiB",
            strip_prefix="true",
            concurrency="8",
        )
    )
    assert (endpoint.dialect, endpoint.match.models) == (Dialect.OPENAI, ("123", "llama-*"))
    assert (endpoint.scale.idle_timeout, endpoint.scale.start_timeout) == (90.0, 300.0)
    assert (endpoint.cost_per_replica_hour, endpoint.queue.max_bytes) == (2.5, 1 << 20)
    assert (endpoint.strip_prefix, endpoint.concurrency) == (True, 8)


def test_the_files_fallback_is_not_for_what_is_declared(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hush")
    text = "sources: {kubernetes: {namespaces: [models]}}\nendpoints: []\n"
    text += "defaults: {concurrency: 4, fallback: {url: 'https://x.example', keyFile: key}}\n"
    defaults = settings_of(tmp_path, text).defaults
    endpoint = read(declaration(port="1"), defaults=defaults)
    assert (endpoint.concurrency, endpoint.fallback) == (4, None)
    with pytest.raises(ConfigError, match="fallback: is not known"):
        read(declaration(port="1", fallback="https://x.example"))


def test_the_defaults_of_the_file_hold_here_too(tmp_path: Path) -> None:
    text = "sources: {kubernetes: {namespaces: [models]}}\n"
    text += "defaults: {concurrency: 4, scale: {max: 3}}\nendpoints: []\n"
    defaults = settings_of(tmp_path, text).defaults
    endpoint = read(declaration(port="1", max="2"), defaults=defaults)
    assert (endpoint.concurrency, endpoint.scale.max) == (4, 2)


def test_everything_that_is_wrong_is_told_at_once_by_its_annotation() -> None:
    told = problems(declaration(hosts="a.*", idle_timeout="10x", concurrency="eight", mox="3"))
    assert sorted(line.partition(":")[0] for line in told) == [
        "activator.dev/concurrency",
        "activator.dev/hosts",
        "activator.dev/idle-timeout",
        "activator.dev/mox",
        "activator.dev/port",
    ]
    assert "activator.dev/mox: is not known; did you mean `activator.dev/max`?" in told
    assert "activator.dev/port: is required" in told


@pytest.mark.parametrize(
    ("it", "problem"),
    [
        (declaration(port="1", min="4", max="2"), "activator.dev/min: is 4, more than max (2)"),
        (
            declaration(port="1", target="Deployment/other"),
            "activator.dev/target: is the Deployment itself",
        ),
        (declaration("Service", port="1"), "activator.dev/target: is required"),
        (declaration(port="1", enabled="yes"), 'activator.dev/enabled: is "true" or "false"'),
        (declaration(port="1", models="m"), "activator.dev/models: needs `dialect: openai`"),
        (declaration(port="1", name="x" * 60), "the object's name: a name is 1 to 63"),
        (declaration(port="1", backend="static"), "activator.dev/backend: is not known"),
        (declaration(port="1", namespace="other"), "activator.dev/namespace: is not known"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_is_refused(it: Declaration, problem: str) -> None:
    assert any(line.startswith(problem) for line in problems(it)), problems(it)


def test_every_annotation_is_a_key_of_an_endpoint() -> None:
    for loc, _ in KEYS.values():
        if loc[0] == "backend":
            continue
        section = EndpointSection
        for step in loc:
            found = {field.alias: field for field in section.model_fields.values()}
            assert step in found, loc
            section = found[str(step)].annotation  # type: ignore[assignment]  # a section, or last


def test_the_guide_names_every_annotation() -> None:
    named = set(re.findall(r"`([a-z-]+)`", GUIDE.read_text(encoding="utf-8")))
    assert not KEYS.keys() - named
