"""What the app runs with: frozen values, whole and checked, made from one file by `load`.

Nothing comes out unless all of it is valid. How a file is read is decided in `reading`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activator.config import rules
from activator.config.decode import decode
from activator.config.endpoint_schema import EndpointSection, Policy
from activator.config.problems import Problems
from activator.config.reading import Reader
from activator.config.store_url import Kind
from activator.config.tree import Table, override
from activator.config.unhurried import empty, unhurried
from activator.core.declarations import Allowance
from activator.core.jobs import JobsPolicy
from activator.core.webhooks import WebhookPolicy
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from activator.config.reading import Reading
    from activator.config.schema import (
        JobsSection,
        KubernetesSourceSection,
        RootKeys,
        ServerSection,
    )
    from activator.config.store_url import StoreUrl
    from activator.config.unhurried import Breathe
    from activator.core.endpoint import Endpoint


@dataclass(frozen=True, slots=True)
class Tls:
    cert_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the listener. Sizes in bytes, durations in seconds."""

    request_line: int
    header_bytes: int
    headers: int
    head_timeout: float
    body_idle: float
    keep_alive: float
    connections: int
    """0 = as many as the system allows."""


@dataclass(frozen=True, slots=True)
class Server:
    listen: tuple[tuple[str, int], ...]
    """(host, port); port 0 takes any free one."""
    admin: tuple[str, int]
    drain_delay: float
    shutdown_grace: float
    held_memory: int
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    tls: Tls | None
    limits: Limits


@dataclass(frozen=True, slots=True)
class Store:
    url: StoreUrl
    prefix: str
    max_bytes: int
    timeout: float


@dataclass(frozen=True, slots=True)
class Auth:
    api_keys_file: Path | None
    """None: the data port is open."""
    admin_token_file: Path | None


@dataclass(frozen=True, slots=True)
class OpenAI:
    """How endpoints are found by a body's model."""

    default_model: str | None = None
    """Of requests that name none."""
    peek_bytes: int = 32 << 20


@dataclass(frozen=True, slots=True)
class Tracing:
    endpoint: str
    """The collector's, without the path of traces."""
    sample: float


@dataclass(frozen=True, slots=True)
class Declarants:
    """Whose annotations declare endpoints."""

    namespaces: tuple[str, ...]
    allow: Mapping[str, Allowance]


@dataclass(frozen=True, slots=True)
class Settings:
    """One valid configuration. Equal if everything that matters at run time is equal."""

    server: Server
    store: Store
    jobs: JobsPolicy
    webhooks: WebhookPolicy
    auth: Auth
    openai: OpenAI
    tracing: Tracing | None
    endpoints: tuple[Endpoint, ...]
    """Of the file."""
    declared: Declarants | None
    """Where there may be more."""
    defaults: Table = field(repr=False)
    """Of endpoints that are declared elsewhere; those of the file have them."""
    templates: Mapping[Path, str] = field(repr=False)
    """Files of waiting pages, with what they hold."""
    warnings: tuple[str, ...] = field(compare=False)
    """`FILE:LINE: key.path: message` each."""
    source: Path = field(compare=False)
    _root: RootKeys = field(compare=False, repr=False)
    _declared: tuple[EndpointSection, ...] = field(compare=False, repr=False)
    _marks: tuple[bytes, ...] = field(compare=False, repr=False)
    """Of these (`config.reading.Declared`)."""

    def masked(self) -> dict[str, Any]:
        """The configuration in force in the words of its file: defaults filled in, durations and
        sizes readable, secrets as their references or masked."""
        return self.masked_keys() | {"endpoints": list(self.masked_endpoints())}

    def masked_keys(self) -> dict[str, Any]:
        """All of it but the endpoints."""
        said = self._root.model_dump(mode="json", by_alias=True)
        said = {key: value for key, value in said.items() if value != {}}
        if self._root.sources.kubernetes is not None:
            defaults = Policy.model_validate(self.defaults)
            said["defaults"] = defaults.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return said

    def masked_endpoints(self) -> Iterator[dict[str, Any]]:
        """Each is put into words when its turn comes."""
        return map(_resolved, self._declared, self.endpoints)


def load(
    path: Path | str,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    known: Settings | None = None,
    breathe: Breathe | None = None,
) -> Settings:
    """Read and check a file. Raises ConfigError with every problem, `FILE:LINE: key: message`.

    `overrides` (`server.listen` → value) win over the file. `environ` is what `${NAME}` refers
    to, the process's own unless given. `known`: what it has said before; endpoints of which it says
    the same are the same objects, and looked at less closely. `breathe` is called every now and
    then, for whoever wants to rest while thousands of endpoints are read, or to stop.
    """
    source = Path(path)
    base = source.absolute().parent
    problems = Problems(source)
    tree = _document(source, problems, breathe)
    for key, value in (overrides or {}).items():
        override(tree, key, value)
    environ = os.environ if environ is None else environ
    reading = Reader(
        tree,
        base=base,
        environ=environ,
        problems=problems,
        known=dict(zip(known._marks, known._declared, strict=True)) if known else None,
        breathe=breathe,
    ).read()
    root = reading.root
    store = root.store
    auth = root.auth
    settings = Settings(
        server=_server(root.server, base=base),
        store=Store(
            url=reading.store_url,
            prefix=store.prefix,
            max_bytes=store.max_bytes,
            timeout=store.timeout,
        ),
        jobs=_jobs(root.jobs),
        webhooks=WebhookPolicy(
            allow=root.webhooks.allow,
            secret=reading.webhook_secret,
            private_addresses=root.webhooks.private_addresses,
        ),
        auth=Auth(
            api_keys_file=base / auth.api_keys_file if auth.api_keys_file else None,
            admin_token_file=base / auth.admin_token_file if auth.admin_token_file else None,
        ),
        openai=OpenAI(root.openai.default_model, root.openai.peek_bytes),
        tracing=Tracing(root.tracing.endpoint, root.tracing.sample) if root.tracing else None,
        endpoints=_as_known(reading.endpoints, known.endpoints if known else (), breathe),
        declared=_declared(root.sources.kubernetes),
        templates=reading.templates,
        defaults=reading.defaults if root.sources.kubernetes else Table(0),
        warnings=_warnings(reading, tree=tree, found=Problems(source), breathe=breathe),
        source=source,
        _root=root,
        _declared=tuple(each.keys for each in reading.declared),
        _marks=tuple(each.mark for each in reading.declared),
    )
    for done in (tree.get("endpoints"), reading.declared, reading.endpoints):
        if isinstance(done, list):
            empty(done, breathe)
    return settings


def _as_known(
    endpoints: Sequence[Endpoint], known: Sequence[Endpoint], breathe: Breathe | None
) -> tuple[Endpoint, ...]:
    """Those that are as they were are the same, so that nobody need compare them again."""
    before = {each.name: each for each in known}
    found: list[Endpoint] = []
    for each in unhurried(endpoints, breathe):
        one = before.get(each.name)
        found.append(one if one is not None and one == each else each)
    return tuple(found)


def _document(source: Path, problems: Problems, breathe: Breathe | None) -> Table:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ConfigError([f"{source}: cannot be read: {error.strerror}"]) from error
    tree = decode(content, problems=problems, breathe=breathe)
    if tree is None:
        raise ConfigError(problems.lines())
    return tree


def _server(keys: ServerSection, *, base: Path) -> Server:
    limits, tls = keys.limits, keys.tls
    return Server(
        listen=keys.listen,
        admin=keys.admin,
        drain_delay=keys.drain_delay,
        shutdown_grace=keys.shutdown_grace,
        held_memory=keys.held_memory,
        trusted_proxies=keys.trusted_proxies,
        tls=Tls(base / tls.cert_file, base / tls.key_file) if tls else None,
        limits=Limits(
            request_line=limits.request_line,
            header_bytes=limits.header_bytes,
            headers=limits.headers,
            head_timeout=limits.head_timeout,
            body_idle=limits.body_idle,
            keep_alive=limits.keep_alive,
            connections=limits.connections,
        ),
    )


def _declared(keys: KubernetesSourceSection | None) -> Declarants | None:
    if keys is None:
        return None
    return Declarants(
        namespaces=tuple(dict.fromkeys(keys.namespaces)),
        allow={
            namespace: Allowance(hosts=each.hosts, models=each.models)
            for namespace, each in keys.allow.items()
        },
    )


def _jobs(keys: JobsSection) -> JobsPolicy:
    return JobsPolicy(
        max_body=keys.max_body,
        max_result=keys.max_result,
        ttl=keys.ttl,
        retention=keys.retention,
        attempts=keys.attempts,
        join_grace=keys.join_grace,
    )


def _warnings(
    reading: Reading, *, tree: Table, found: Problems, breathe: Breathe | None
) -> tuple[str, ...]:
    for loc, said in rules.root_warnings(reading.root):
        found.at(tree, loc, said)
    if not reading.declared and reading.root.sources.kubernetes is None:
        found.at(tree, ("endpoints",), "there is none: every request is a 404")
    others = {each.keys.name: each.keys for each in reading.declared}
    for each in unhurried(reading.declared, breathe):
        warnings = rules.endpoint_warnings(
            each.keys,
            store_bytes=reading.root.store.max_bytes,
            shared=reading.store_url.kind is not Kind.MEMORY,
        )
        for loc, said in (*warnings, *rules.fallback_warnings(each.keys, others)):
            found.at(each.tree, loc, said, under=each.loc)
    return tuple(found.lines())


def _resolved(keys: EndpointSection, endpoint: Endpoint) -> dict[str, Any]:
    said = keys.model_dump(mode="json", by_alias=True)
    said["scale"]["targetConcurrency"] = endpoint.scale.target_concurrency
    said["blockPaths"] = list(endpoint.block_paths)
    first = {key: said.pop(key) for key in ("name", "match", "backend")}
    return first | said
