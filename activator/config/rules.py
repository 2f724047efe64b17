"""What values mean together: contradictions, and warnings.

Decides on whole sections that `schema` has found well-formed. Each finding is (key, words); where
the key stands in the file is `problems`' business.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from activator.config.docker_schema import DockerSection
from activator.config.endpoint_schema import (
    EndpointSection,
    KubernetesSection,
    ProcessSection,
    StaticSection,
)
from activator.config.fields import parse_service
from activator.config.store_url import Kind
from activator.core.endpoint import Balance, Dialect, Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from activator.config.endpoint_schema import Policy
    from activator.config.problems import Loc
    from activator.config.schema import KubernetesSourceSection, RootKeys
    from activator.config.store_url import StoreUrl

Finding = tuple["Loc", str]

_NEEDS_TRACING = "needs a package more: pip install 'activator[tracing]'"
_NEEDS_KUBERNETES = "`kubernetes` needs a package more: pip install 'activator[kubernetes]'"
_OF_AN_IMAGE = {"command", "env", "gpus", "volumes", "shm_size"}
_AROUND = "is not loopback: clients can reach replicas around keys and limits"
_SHORT_IDLE = 5.0
"""Seconds. Requests of one person come further apart; every one would pay for a start."""


def policy_problems(policy: Policy) -> Iterator[Finding]:
    """For `defaults` and, after them, for each endpoint."""
    fallback = policy.fallback
    if fallback is None:
        return
    if (fallback.url is None) == (fallback.endpoint is None):
        yield ("fallback",), "has either `url` or `endpoint`, and not both"
    elif fallback.endpoint is not None and fallback.key_file is not None:
        yield ("fallback", "keyFile"), "belongs to `url`: an endpoint of this file needs no key"


def endpoint_problems(endpoint: EndpointSection) -> Iterator[Finding]:
    yield from policy_problems(endpoint)
    if endpoint.scale.min > endpoint.scale.max:
        yield ("scale", "min"), f"is {endpoint.scale.min}, more than max ({endpoint.scale.max})"
    if endpoint.dialect is Dialect.PLAIN:
        yield from _needs_openai(endpoint)
    backend = endpoint.backend
    match backend:
        case KubernetesSection() if find_spec("kubernetes_asyncio") is None:
            yield ("backend", "type"), _NEEDS_KUBERNETES
        case DockerSection():
            yield from _docker_problems(backend, most=endpoint.scale.max)
        case ProcessSection():
            filled_in = (*backend.command, *backend.env.values())
            if not any("{port}" in text for text in filled_in):
                yield (
                    ("backend", "command"),
                    "has no {port}, here or in env: the replica would not know where to listen",
                )


def _needs_openai(endpoint: EndpointSection) -> Iterator[Finding]:
    named: tuple[tuple[Loc, object], ...] = (
        (("match", "models"), endpoint.match.models),
        (("upstreamModel",), endpoint.upstream_model),
        (("aliases",), endpoint.aliases),
        (("keepAliveWhitespace",), endpoint.keep_alive_whitespace),
        (("fallback", "model"), endpoint.fallback and endpoint.fallback.model),
    )
    for loc, value in named:
        if value:
            yield loc, "needs `dialect: openai`: other bodies are not read"


def fallback_problem(
    endpoint: EndpointSection, others: Mapping[str, EndpointSection]
) -> Finding | None:
    """What is wrong with the endpoint that is to answer for this one. `others`: by name, this one
    included."""
    name = endpoint.fallback.endpoint if endpoint.fallback is not None else None
    if name is None:
        return None
    loc, other = ("fallback", "endpoint"), others.get(name)
    if other is None:
        return loc, f"there is no endpoint `{name}`"
    if other is endpoint:
        return loc, "is the endpoint itself"
    if other.fallback is not None:
        return loc, f"`{name}` has a fallback itself: a request goes no further than to one"
    return None


def fallback_warnings(
    endpoint: EndpointSection, others: Mapping[str, EndpointSection]
) -> Iterator[Finding]:
    """`others` as in `fallback_problem`."""
    fallback = endpoint.fallback
    if fallback is None:
        return
    if fallback.endpoint is not None:
        other = others[fallback.endpoint]
        if other.scale.min == 0 and not isinstance(other.backend, StaticSection):
            yield (
                ("fallback", "endpoint"),
                f"`{other.name}` may be at zero too (scale.min), and is not woken for it",
            )
    if fallback.url is not None:
        host, _, tls, path = parse_service(fallback.url)
        if fallback.key_file is not None and not tls and not is_loopback(host):
            yield ("fallback", "url"), "is not https: the key crosses the network unencrypted"
        if endpoint.dialect is Dialect.OPENAI and path.endswith("/v1"):
            yield (
                ("fallback", "url"),
                "ends with /v1, with which the paths of requests begin: it would be asked for"
                f" {path}/v1/…",
            )


def _docker_problems(docker: DockerSection, *, most: int) -> Iterator[Finding]:
    if (docker.container is None) == (docker.image is None):
        yield ("backend",), "has either `container` or `image`, and not both"
        return
    if docker.image is not None:
        if docker.port is None:
            yield ("backend", "port"), "is needed: where does the server listen in its container?"
        return
    for name in sorted(docker.model_fields_set & _OF_AN_IMAGE):
        alias = DockerSection.model_fields[name].alias or name
        yield ("backend", alias), "is said when a container is made: it belongs to `image`"
    if most > 1:
        yield ("scale", "max"), f"is {most}, but there is one container {docker.container}"


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even what it is part of
        return False


def root_problems(root: RootKeys) -> Iterator[Finding]:
    if "{" in root.store.prefix or "}" in root.store.prefix:
        yield ("store", "prefix"), "cannot have braces: they decide where in a cluster a key lies"
    if root.webhooks.allow and root.webhooks.secret is None:
        yield ("webhooks", "secret"), "is needed: a call that is not signed could be anybody's"
    if root.tracing is not None and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        yield ("tracing",), _NEEDS_TRACING
    if root.sources.kubernetes is not None:
        yield from _source_problems(root.sources.kubernetes)
    server = root.server
    if not is_loopback(server.admin[0]) and root.auth.admin_token_file is None:
        yield ("server", "admin"), "listens beyond loopback, which needs `auth.adminTokenFile`"
    taken: list[tuple[str, int]] = []
    for index, address in enumerate(server.listen):
        if any(_clash(address, other) for other in taken):
            yield ("server", "listen", index), "is listened at twice"
        taken.append(address)
    if any(_clash(server.admin, other) for other in taken):
        yield ("server", "admin"), "is the address of `server.listen` too"


def _source_problems(source: KubernetesSourceSection) -> Iterator[Finding]:
    at = ("sources", "kubernetes")
    if find_spec("kubernetes_asyncio") is None:
        yield at, _NEEDS_KUBERNETES
    for namespace in source.allow:
        if namespace not in source.namespaces:
            yield (*at, "allow", namespace), "is not one of `namespaces`"


def lease_problems(endpoint: EndpointSection) -> Iterator[Finding]:
    """Of an endpoint, where a Lease passes from one activator to the next."""
    if isinstance(endpoint.backend, ProcessSection | DockerSection):
        yield (
            ("backend", "type"),
            f"`{endpoint.backend.type}` cannot be where store.url is memory+lease://: another"
            " activator that takes the Lease could not take these replicas over; `kubernetes` and"
            " `static` can be",
        )


def store_url_problems(url: StoreUrl) -> Iterator[Finding]:
    if url.kind is Kind.LEASE and find_spec("kubernetes_asyncio") is None:
        yield ("store", "url"), _NEEDS_KUBERNETES
    if url.tls is not None:
        for file in (url.tls.ca_certs, url.tls.certfile, url.tls.keyfile):
            if file is not None and not is_readable(file):
                yield ("store", "url"), f"{file} cannot be read"


def is_readable(file: Path) -> bool:
    return file.is_file() and os.access(file, os.R_OK)


def root_warnings(root: RootKeys) -> Iterator[Finding]:
    server = root.server
    beyond = [host for host, _ in server.listen if not is_loopback(host)]
    if beyond and root.auth.api_keys_file is None:
        yield ("server", "listen"), "open to everyone who can reach it: no `auth.apiKeysFile`"
    if any(network.prefixlen == 0 for network in server.trusted_proxies):
        yield ("server", "trustedProxies"), "trusts everybody: anyone can forge X-Forwarded-*"
    source = root.sources.kubernetes
    for index, namespace in enumerate(source.namespaces if source else ()):
        if source is not None and namespace not in source.allow:
            yield (
                ("sources", "kubernetes", "namespaces", index),
                f"nothing may be claimed there: `allow` says nothing of {namespace}",
            )
    for name, size in (("maxBody", root.jobs.max_body), ("maxResult", root.jobs.max_result)):
        if size > root.store.max_bytes:
            yield ("jobs", name), "is more than store.maxBytes: the store is full first"


def endpoint_warnings(
    endpoint: EndpointSection, *, store_bytes: int, shared: bool
) -> Iterator[Finding]:
    """`shared`: several activators may use the store."""
    scale, queue = endpoint.scale, endpoint.queue
    static = isinstance(endpoint.backend, StaticSection)
    if not static and queue.timeout < scale.start_timeout:
        yield (
            ("queue", "timeout"),
            "is shorter than scale.startTimeout: requests give up a start that may still succeed",
        )
    if not static and scale.min == 0 and 0 < scale.idle_timeout < _SHORT_IDLE:
        yield (
            ("scale", "idleTimeout"),
            f"under {_SHORT_IDLE:.0f}s: nearly every request will pay for a start",
        )
    target = scale.target_concurrency
    if target is not None and 0 < endpoint.concurrency < target:
        yield (
            ("scale", "targetConcurrency"),
            f"is more than concurrency ({endpoint.concurrency}): requests wait before replicas"
            " are added",
        )
    if queue.max_bytes > store_bytes:
        yield ("queue", "maxBytes"), "is more than store.maxBytes: the store is full first"
    if queue.buffer_bytes > queue.max_bytes:
        yield ("queue", "bufferBytes"), "is more than queue.maxBytes: one body can fill the line"
    if 0 < endpoint.timeouts.total < endpoint.timeouts.first_byte:
        yield ("timeouts", "firstByte"), "is longer than timeouts.total and is never reached"
    if endpoint.strip_prefix and not endpoint.match.paths:
        yield ("stripPrefix",), "has no effect without `match.paths`"
    if (
        endpoint.balance is Balance.PREFIX_HASH
        and endpoint.affinity.header is None
        and endpoint.dialect is Dialect.PLAIN
    ):
        yield ("balance",), "without `affinity.header`, prefix_hash is least_loaded"
    yield from _backend_warnings(endpoint, shared=shared)


def _backend_warnings(endpoint: EndpointSection, *, shared: bool) -> Iterator[Finding]:
    scale, backend = endpoint.scale, endpoint.backend
    if scale.owner is Owner.EXTERNAL and not isinstance(backend, KubernetesSection):
        yield ("scale", "owner"), f"no autoscaler can own replicas of type {backend.type}"
    if isinstance(backend, StaticSection) and "scale" in endpoint.model_fields_set:
        yield ("scale",), "has no effect: static replicas are never started or stopped"
    if isinstance(backend, ProcessSection):
        if scale.max > 1 and "CUDA_VISIBLE_DEVICES" in backend.env:
            yield (
                ("backend", "env", "CUDA_VISIBLE_DEVICES"),
                f"all {scale.max} replicas get the same GPUs",
            )
        if shared and is_loopback(backend.host):
            yield (
                ("backend", "host"),
                "is loopback, which is right as long as all activators of this store run on one"
                " machine: those on others could not reach the replicas",
            )
        if not is_loopback(backend.host):
            yield ("backend", "host"), _AROUND
    if isinstance(backend, DockerSection):
        gpus = backend.gpus
        if gpus is not None and scale.max > 1 and (gpus.ids or gpus.count < 0):
            yield ("backend", "gpus"), f"all {scale.max} replicas get the same GPUs"
        if backend.publish is not None and not is_loopback(backend.publish):
            yield ("backend", "publish"), _AROUND


@lru_cache(maxsize=256)  # of thousands of endpoints most say the same
def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _clash(one: tuple[str, int], other: tuple[str, int]) -> bool:
    everywhere: Any = ("0.0.0.0", "::")
    same_host = one[0] == other[0] or one[0] in everywhere or other[0] in everywhere
    return one[1] == other[1] != 0 and same_host
