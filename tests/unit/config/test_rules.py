"""What values mean together: contradictions, packages that are missing, warnings."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from activator.config.rules import is_loopback
from activator.config.settings import Tracing
from activator.core.endpoint import KubernetesBackend
from tests.unit.config.support import MINIMAL, endpoint, problems_of, settings_of, warnings_of

if TYPE_CHECKING:
    from pathlib import Path


TRACING = "tracing: {endpoint: 'http://otel:4318', sample: 0.5}\n"


def test_tracing_is_off_unless_a_collector_is_named(tmp_path: Path) -> None:
    assert settings_of(tmp_path, MINIMAL).tracing is None
    assert settings_of(tmp_path, "tracing:\n" + MINIMAL).tracing is None
    assert settings_of(tmp_path, TRACING + MINIMAL).tracing == Tracing("http://otel:4318", 0.5)


@pytest.mark.parametrize(
    "keys",
    [
        "endpoint: otel:4318",
        "endpoint: 'http://u:p@otel'",
        "endpoint: 'http://x/?a=b'",
        "sample: 1",
    ],
)
def test_a_collector_is_named_by_a_url_without_secrets(tmp_path: Path, keys: str) -> None:
    (problem,) = problems_of(tmp_path, f"tracing: {{{keys}}}\n" + MINIMAL)
    assert problem.startswith("1: tracing")


@pytest.mark.parametrize("sample", ["1.5", "-0.1", ".nan"])
def test_a_share_of_requests_is_between_none_and_all(tmp_path: Path, sample: str) -> None:
    text = f"tracing: {{endpoint: 'http://otel', sample: {sample}}}\n"
    (problem,) = problems_of(tmp_path, text + MINIMAL)
    assert problem.startswith("1: tracing.sample")


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter.otlp.proto.http"])
def test_tracing_without_its_package_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for name in [one for one in sys.modules if one.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Without(missing), *sys.meta_path])
    (problem,) = problems_of(tmp_path, TRACING + MINIMAL)
    assert problem == "1: tracing: needs a package more: pip install 'activator[tracing]'"


class _Without:
    """Of `sys.meta_path`: as if a package were not installed."""

    def __init__(self, missing: str) -> None:
        self._missing = missing

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == self._missing:
            raise ModuleNotFoundError(name=name)


def test_what_a_namespace_may_claim_is_said_of_namespaces_that_are_watched(tmp_path: Path) -> None:
    text = "sources: {kubernetes: {namespaces: [a], allow: {b: {hosts: [x.example]}}}}\n"
    (problem,) = problems_of(tmp_path, text + MINIMAL)
    assert problem == "1: sources.kubernetes.allow.b: is not one of `namespaces`"


def test_a_namespace_that_may_claim_nothing_is_a_warning(tmp_path: Path) -> None:
    text = "sources: {kubernetes: {namespaces: [a]}}\nserver: {listen: 127.0.0.1:0}\n"
    warnings = warnings_of(tmp_path, text + "endpoints: []\n")
    assert warnings == [
        "1: sources.kubernetes.namespaces[0]: nothing may be claimed there: `allow` says nothing"
        " of a"
    ]


@pytest.mark.parametrize(
    ("keys", "backend"),
    [
        (
            "namespace: models, target: Deployment/llama-8b, port: 8000",
            KubernetesBackend("models", "apps/v1", "Deployment", "llama-8b", 8000),
        ),
        (
            "target: StatefulSet/x, port: http",
            KubernetesBackend("default", "apps/v1", "StatefulSet", "x", "http"),
        ),
        (
            "target: leaderworkerset.x-k8s.io/v1/LeaderWorkerSet/big, port: 80, service: big",
            KubernetesBackend(
                "default", "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "big", 80, "big"
            ),
        ),
    ],
)
def test_a_workload_is_named_by_kind_or_with_its_group(
    tmp_path: Path, keys: str, backend: KubernetesBackend
) -> None:
    (made,) = settings_of(tmp_path, endpoint("", backend=f"kubernetes, {keys}")).endpoints
    assert made.backend == backend


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("target: llama, port: 80", "backend.target: must be `Kind/name` or"),
        ("target: deployment/x, port: 80", "backend.target: must be `Kind/name` or"),
        ("target: Model/x, port: 80", "backend.target: `Model` needs its group and version"),
        ("target: v1/Model/x, port: 80", "backend.target: must name group and version"),
        ("target: Deployment/x, port: Eighty", "backend.port"),
        ("target: Deployment/x, port: 70000", "backend.port"),
        ("target: Deployment/x", "backend.port: is required"),
    ],
)
def test_a_workload_that_is_not_named_rightly_is_refused(
    tmp_path: Path, keys: str, said: str
) -> None:
    problems = problems_of(tmp_path, endpoint("", backend=f"kubernetes, {keys}"))
    assert any(said in problem for problem in problems), problems


def test_a_cluster_needs_a_package_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kubernetes_asyncio", None)
    backend = "kubernetes, target: Deployment/x, port: 80"
    (problem,) = problems_of(tmp_path, endpoint("", backend=backend))
    assert problem.endswith("needs a package more: pip install 'activator[kubernetes]'")


def test_an_autoscaler_may_own_replicas_in_a_cluster_only(tmp_path: Path) -> None:
    scale = "scale: {owner: external}"
    cluster = endpoint(scale, backend="kubernetes, target: Deployment/x, port: 80")
    assert not [it for it in warnings_of(tmp_path, cluster) if "scale.owner" in it]
    assert any("scale.owner" in it for it in warnings_of(tmp_path, endpoint(scale)))


def test_fewest_replicas_are_at_most_most(tmp_path: Path) -> None:
    assert problems_of(tmp_path, endpoint("scale: {min: 3, max: 2}")) == [
        "5: endpoints[0].scale.min: is 3, more than max (2)"
    ]


def test_a_process_must_be_told_its_port(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, endpoint("", backend="process, command: [serve]"))
    assert "has no {port}" in problem
    assert settings_of(
        tmp_path, endpoint("", backend='process, command: [serve], env: {PORT: "{port}"}')
    )


def test_an_admin_port_beyond_loopback_needs_a_token(tmp_path: Path) -> None:
    text = "server: {admin: 0.0.0.0:9090}\n" + MINIMAL
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("1: server.admin: listens beyond loopback, which needs")
    (tmp_path / "token").write_text("hush")
    assert settings_of(tmp_path, "auth: {adminTokenFile: token}\n" + text)


@pytest.mark.parametrize(
    ("server", "key"),
    [
        ("{listen: ['127.0.0.1:1', ':1']}", "server.listen[1]"),
        ("{listen: 127.0.0.1:9090}", "server.admin"),
    ],
)
def test_an_address_is_listened_at_once(tmp_path: Path, server: str, key: str) -> None:
    (problem,) = problems_of(tmp_path, f"server: {server}\n" + MINIMAL)
    assert problem.startswith(f"1: {key}: ")


def test_free_ports_never_clash(tmp_path: Path) -> None:
    text = "server: {listen: ['127.0.0.1:0', '127.0.0.1:0'], admin: 127.0.0.1:0}\n"
    assert settings_of(tmp_path, text + MINIMAL)


def test_two_endpoints_of_one_name_are_an_error(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + '  - {name: a, match: {hosts: [x]}, backend: {type: static, urls: ["http://x"]}}\n'
    )
    assert problems_of(tmp_path, text) == [
        "4: endpoints[1].name: `a` is the endpoint on line 2 already"
    ]


def test_two_endpoints_with_the_same_match_are_an_error(tmp_path: Path) -> None:
    text = """\
endpoints:
  - {name: a, match: {hosts: [X.test], paths: [/v1/]}, backend: {type: static, urls: ["http://x"]}}
  - name: b
    backend: {type: static, urls: ["http://x"]}
    match: {hosts: [y.test, x.test.], paths: [/v1]}
"""
    assert problems_of(tmp_path, text) == ["5: endpoints[1].match: the same match as `a` on line 2"]


@pytest.mark.parametrize(
    ("keys", "warned"),
    [
        ("queue: {timeout: 10m}", "queue.timeout: is shorter than scale.startTimeout"),
        ("scale: {idleTimeout: 1s}", "scale.idleTimeout: under 5s"),
        (
            "concurrency: 4\nscale: {targetConcurrency: 5}",
            "scale.targetConcurrency: is more than concurrency (4)",
        ),
        ("queue: {maxBytes: 5GiB}", "queue.maxBytes: is more than store.maxBytes"),
        ("queue: {bufferBytes: 300MiB}", "queue.bufferBytes: is more than queue.maxBytes"),
        ("timeouts: {firstByte: 2h}", "timeouts.firstByte: is longer than timeouts.total"),
        ("stripPrefix: true", "stripPrefix: has no effect without `match.paths`"),
        ("balance: prefix_hash", "balance: without `affinity.header`"),
        ("scale: {owner: external}", "scale.owner: no autoscaler can own replicas"),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_a_warning(
    tmp_path: Path, keys: str, warned: str
) -> None:
    (warning,) = warnings_of(tmp_path, endpoint(keys))
    assert f": endpoints[0].{warned}" in warning


@pytest.mark.parametrize(
    ("backend", "keys", "warned"),
    [
        ("static, urls: ['http://x']", "scale: {max: 3}", "scale: has no effect"),
        ("process, command: ['{port}'], host: 0.0.0.0", "", "backend.host: is not loopback"),
        (
            "process, command: ['{port}'], env: {CUDA_VISIBLE_DEVICES: 0}",
            "scale: {max: 2}",
            "backend.env.CUDA_VISIBLE_DEVICES: all 2 replicas get the same GPUs",
        ),
    ],
)
def test_backends_have_warnings_of_their_own(
    tmp_path: Path, backend: str, keys: str, warned: str
) -> None:
    (warning,) = warnings_of(tmp_path, endpoint(keys, backend=backend))
    assert f": endpoints[0].{warned}" in warning


def test_replicas_on_loopback_are_one_machines_although_the_store_is_shared(tmp_path: Path) -> None:
    shared = "store: {url: 'redis://r'}\n"

    (warning,) = warnings_of(tmp_path, shared + endpoint(""))

    assert "endpoints[0].backend.host: is loopback, which is right as long as all" in warning
    static = endpoint("", backend="static, urls: ['http://x']")
    assert warnings_of(tmp_path, shared + static) == []


def test_an_open_door_and_trust_in_everybody_are_warnings(tmp_path: Path) -> None:
    warnings = warnings_of(tmp_path, "server: {trustedProxies: ['0.0.0.0/0']}\n" + MINIMAL)
    assert warnings == [
        "1: server.listen: open to everyone who can reach it: no `auth.apiKeysFile`",
        "1: server.trustedProxies: trusts everybody: anyone can forge X-Forwarded-*",
    ]


def test_jobs_that_fill_the_store_are_a_warning(tmp_path: Path) -> None:
    text = "store: {maxBytes: 100MiB}\n"
    warnings = warnings_of(tmp_path, text + endpoint("queue: {maxBytes: 1MiB}"))
    assert [line.partition(": ")[2] for line in warnings] == [
        "jobs.maxResult: is more than store.maxBytes: the store is full first"
    ]


def test_a_sensible_configuration_has_no_warnings(tmp_path: Path) -> None:
    assert warnings_of(tmp_path, endpoint("concurrency: 4")) == []


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "example.com", "")))


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ("upstreamModel: m", "upstreamModel"),
        ("aliases: [m]", "aliases"),
        ("keepAliveWhitespace: true", "keepAliveWhitespace"),
        ("match: {models: [m]}", "match.models"),
    ],
)
def test_a_model_is_read_only_where_openai_is_spoken(tmp_path: Path, keys: str, key: str) -> None:
    (problem,) = problems_of(tmp_path, endpoint(keys))
    assert problem.startswith(f"5: endpoints[0].{key}: needs `dialect: openai`")
    assert settings_of(tmp_path, endpoint(f"{keys}\ndialect: openai")).endpoints
