"""The glossary as code: what an endpoint is, what it may use, and what a replica of it is.

Frozen values only. `config` makes them from outside words, everybody else reads them. Durations
are seconds, sizes bytes, moments monotonic seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests belong to an endpoint. An empty tuple means any."""

    hosts: tuple[str, ...] = ()
    """Lower case, without port: `llm.example.com` or `*.example.com`."""
    paths: tuple[str, ...] = ()
    """Prefixes on segment boundaries, normalised: `/llama` matches `/llama` and `/llama/x`."""
    headers: tuple[tuple[str, str], ...] = ()
    """(lower-case name, exact value); all of them must be present."""
    models: tuple[str, ...] = ()
    """Exact names, or wildcards with a trailing or inner `*`."""


class Owner(StrEnum):
    """Who owns 1→N. EXTERNAL: an autoscaler does, the activator only does 0→1 and →0."""

    ACTIVATOR = "activator"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class ScalePolicy:
    min: int = 0
    max: int = 1
    idle_timeout: float = 600.0
    """From the later of readiness and the last response's end to →0; 0 = never."""
    start_timeout: float = 900.0
    target_concurrency: float = 8.0
    """Demand that one replica is meant to carry: what 1→N aims at."""
    down_delay: float = 300.0
    upgrade_idle: float = 0.0
    """A tunnel without a byte for so long stops counting as activity; 0 = counts while open."""
    owner: Owner = Owner.ACTIVATOR


@dataclass(frozen=True, slots=True)
class QueuePolicy:
    max_requests: int = 1000
    max_bytes: int = 256 << 20
    timeout: float = 1200.0
    buffer_bytes: int = 1 << 20
    age: float = 30.0
    """Waiting so long improves a request by one level of urgency; 0 = never."""
    best_urgency: int = 3


@dataclass(frozen=True, slots=True)
class Timeouts:
    """0 = no limit."""

    connect: float = 2.0
    first_byte: float = 0.0
    idle: float = 300.0
    total: float = 3600.0


@dataclass(frozen=True, slots=True)
class ProbePolicy:
    path: str | None = None
    """None: a TCP connection is answer enough."""
    interval: float = 0.05
    ready_interval: float = 5.0
    timeout: float = 1.0
    port: int | None = None


@dataclass(frozen=True, slots=True)
class NeverWake:
    path: str
    status: int = 200


class Dialect(StrEnum):
    """What an endpoint speaks. OPENAI: what its clients expect of OpenAI's API."""

    PLAIN = "plain"
    OPENAI = "openai"


class Balance(StrEnum):
    LEAST_LOADED = "least_loaded"
    FIRST_AVAILABLE = "first_available"
    ROUND_ROBIN = "round_robin"
    PREFIX_HASH = "prefix_hash"


@dataclass(frozen=True, slots=True)
class StaticBackend:
    """Replicas that are always there, as (host, port); never scaled, probed all the same."""

    addresses: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class ProcessBackend:
    """Replicas as child processes; `{port}` and `{host}` in the command are filled in."""

    command: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    """Added to the activator's own environment."""
    cwd: str | None = None
    host: str = "127.0.0.1"
    stop_grace: float = 10.0
    """Between SIGTERM and SIGKILL."""


@dataclass(frozen=True, slots=True)
class KubernetesBackend:
    """Replicas as the pods of a workload that has a scale subresource."""

    namespace: str
    group_version: str
    """`apps/v1`; empty group: `v1`."""
    kind: str
    name: str
    port: int | str
    """Number, or name of a container's port (with `service`: of the Service's port)."""
    service: str = ""
    """Addresses come from this Service's EndpointSlices instead of the pods."""

    @property
    def target(self) -> str:
        """For people."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class Gpus:
    """Which GPUs a container sees: `count` of them (-1: all), or exactly these `ids`."""

    count: int = 0
    ids: tuple[str, ...] = ()
    driver: str = ""
    """Of the engine's device drivers; empty: whichever has the capabilities."""
    capabilities: tuple[str, ...] = ("gpu",)


@dataclass(frozen=True, slots=True)
class DockerBackend:
    """Replicas as containers: `container`, which somebody else made and the activator starts and
    stops, or as many of `image` as are asked for, which it makes and removes."""

    container: str | None = None
    image: str | None = None
    port: int | None = None
    """Inside the container. None: the only one that an existing container exposes."""
    command: tuple[str, ...] = ()
    """Empty: the image's own."""
    env: tuple[tuple[str, str], ...] = ()
    gpus: Gpus | None = None
    volumes: tuple[str, ...] = ()
    """`source:target[:options]` as the engine has them."""
    shm_size: int = 0
    """0: what the engine gives."""
    publish: str | None = None
    """Reached through the port that is published at this address of the engine's host; None:
    at the container's own address."""
    network: str | None = None
    stop_grace: float = 10.0
    """Between SIGTERM and SIGKILL."""
    engine: str = "unix:///var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Service:
    """A server that is nobody's replica, and how it is asked."""

    host: str
    port: int
    tls: bool = True
    path: str = ""
    """What its paths begin with; without a slash at the end."""
    key: str = field(default="", repr=False)
    """By which it lets us in; empty: it asks for none."""

    @property
    def authority(self) -> str:
        """As in `Host`: without the port that goes without saying."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Fallback:
    """Who answers for an endpoint while it has no replica that could."""

    to: Service | str
    """A service, or the name of another endpoint."""
    max_per_day: int = 0
    """Requests a day (UTC), over all activators; 0 = no limit."""
    model: str | None = None
    """What it calls the model; None: as the endpoint does."""

    @property
    def name(self) -> str:
        """For clients and operators."""
        return self.to if isinstance(self.to, str) else self.to.authority


Backend = StaticBackend | ProcessBackend | DockerBackend | KubernetesBackend


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What clients address: one model or app."""

    name: str
    backend: Backend
    match: Match = field(default_factory=Match)
    strip_prefix: bool = False
    dialect: Dialect = Dialect.PLAIN
    probe: ProbePolicy = field(default_factory=ProbePolicy)
    scale: ScalePolicy = field(default_factory=ScalePolicy)
    concurrency: int = 0
    """Hard limit of requests in flight at one replica, over all activators; 0 = none."""
    queue: QueuePolicy = field(default_factory=QueuePolicy)
    timeouts: Timeouts = field(default_factory=Timeouts)
    balance: Balance = Balance.LEAST_LOADED
    affinity_header: str | None = None
    upstream_model: str | None = None
    """What `model` of a request's body is rewritten to."""
    heartbeat: float = 10.0
    """Between signs of life to a client whose stream waits; 0 = none are given."""
    keep_alive_whitespace: bool = False
    """Signs of life also where the answer is not a stream: they commit its status to 200."""
    aliases: tuple[str, ...] = ()
    """Further names it is asked for by; its replicas do not know them."""
    fallback: Fallback | None = None
    stall: float = 120.0
    """Requests in flight and not one byte for so long: out of rotation; 0 = never."""
    block_paths: tuple[str, ...] = ()
    never_wake: tuple[NeverWake, ...] = ()
    waiting_page: bool = False
    """Browsers see a page with progress while nothing is ready."""
    page_template: str = ""
    """What that page looks like (`core.page_template`); empty: as we have it."""
    cost_per_replica_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Replica:
    """One running model server at an address that may be connected to.

    `id` is unique for each incarnation: a process started again is another replica.
    """

    id: str
    host: str
    port: int
    before: str = ""
    """The id it had until it was taken out of rotation, if it is back: what it still has in flight
    from then counts against its limit."""
