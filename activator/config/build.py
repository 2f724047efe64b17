"""Checked sections → the core's own types: the seam at which outside words end.

Looks up references and makes paths absolute (relative ones are relative to the file's directory,
wherever the activator was started).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from activator.config.docker_schema import (
    DEFAULT_ENGINE,
    DOCKER_HOST,
    DockerSection,
    engine_address,
)
from activator.config.endpoint_schema import KubernetesSection, ProcessSection, StaticSection
from activator.config.fields import parse_service, parse_workload
from activator.config.references import read_secret, variable
from activator.config.templates import read_template
from activator.core.endpoint import (
    Backend,
    Dialect,
    DockerBackend,
    Endpoint,
    Fallback,
    KubernetesBackend,
    Match,
    NeverWake,
    ProbePolicy,
    ProcessBackend,
    QueuePolicy,
    ScalePolicy,
    Service,
    StaticBackend,
    Timeouts,
)
from activator.core.model_servers import OPERATING_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from activator.config.endpoint_schema import (
        EndpointSection,
        FallbackSection,
        MatchSection,
        NeverWakeSection,
        ProbeSection,
        QueueSection,
        ScaleSection,
        TimeoutsSection,
    )
    from activator.config.problems import Loc

USUAL_TARGET = 8.0
"""Requests for one replica where nothing else is said: what common batch sizes bear."""
ALIKE = 256
"""Different policies of a kind that are kept to be shared."""
USUAL_MOST_PER_DAY = 1000
"""Requests that a service is asked where nothing is said: it may cost money."""


def build_endpoint(
    keys: EndpointSection,
    *,
    base: Path,
    environ: Mapping[str, str],
    problem: Callable[[Loc, str], None],
) -> Endpoint | None:
    """None if something outside the file is missing; `problem` has been told what."""
    backend = _backend(keys, base=base, environ=environ, problem=problem)
    template = _page_template(keys, base=base, problem=problem)
    fallback = _fallback(keys.fallback, base=base, problem=problem) if keys.fallback else None
    if backend is None:
        return None
    return Endpoint(
        name=keys.name,
        backend=backend,
        match=_match(keys.match),
        strip_prefix=keys.strip_prefix,
        dialect=keys.dialect,
        probe=_probe(keys.probe),
        scale=_scale(keys.scale, concurrency=keys.concurrency),
        concurrency=keys.concurrency,
        queue=_queue(keys.queue),
        timeouts=_timeouts(keys.timeouts),
        balance=keys.balance,
        affinity_header=keys.affinity.header,
        upstream_model=keys.upstream_model,
        aliases=keys.aliases,
        heartbeat=keys.heartbeat,
        keep_alive_whitespace=keys.keep_alive_whitespace,
        fallback=fallback,
        stall=keys.stall,
        block_paths=_blocked(keys),
        never_wake=_never_wake(keys.never_wake),
        waiting_page=keys.waiting_page,
        page_template=template,
        cost_per_replica_hour=keys.cost_per_replica_hour,
    )


def _page_template(
    keys: EndpointSection, *, base: Path, problem: Callable[[Loc, str], None]
) -> str:
    if keys.waiting_page_template is None:
        return ""
    try:
        return read_template(base / keys.waiting_page_template)
    except ValueError as error:
        problem(("waitingPageTemplate",), str(error))
        return ""


def _blocked(keys: EndpointSection) -> tuple[str, ...]:
    if keys.block_paths is not None:
        return keys.block_paths
    return OPERATING_PATHS if keys.dialect is Dialect.OPENAI else ()


def _fallback(
    keys: FallbackSection, *, base: Path, problem: Callable[[Loc, str], None]
) -> Fallback | None:
    if keys.endpoint is not None:
        return Fallback(keys.endpoint, max_per_day=keys.max_per_day or 0, model=keys.model)
    if keys.url is None:
        return None  # which is a problem already
    secret = ""
    if keys.key_file is not None:
        try:
            secret = read_secret(base / keys.key_file)
        except ValueError as error:
            problem(("fallback", "keyFile"), str(error))
        if not secret.isascii() or not secret.isprintable():
            problem(("fallback", "keyFile"), "a key is one line of printable ASCII")
    host, port, tls, path = parse_service(keys.url)
    most = USUAL_MOST_PER_DAY if keys.max_per_day is None else keys.max_per_day
    return Fallback(Service(host, port, tls, path, secret), max_per_day=most, model=keys.model)


def _match(keys: MatchSection) -> Match:
    return Match(
        hosts=() if "*" in keys.hosts else keys.hosts,
        paths=keys.paths,
        headers=tuple(sorted(keys.headers.items())),
        models=keys.models,
    )


# what endpoints have alike is one object for all of them: there may be thousands, and hardly any
# says something of its own in each of these sections


@lru_cache(maxsize=ALIKE)
def _probe(keys: ProbeSection) -> ProbePolicy:
    return ProbePolicy(
        path=keys.path,
        interval=keys.interval,
        ready_interval=keys.ready_interval,
        timeout=keys.timeout,
        port=keys.port,
    )


@lru_cache(maxsize=ALIKE)
def _timeouts(keys: TimeoutsSection) -> Timeouts:
    return Timeouts(
        connect=keys.connect, first_byte=keys.first_byte, idle=keys.idle, total=keys.total
    )


@lru_cache(maxsize=ALIKE)
def _never_wake(keys: tuple[NeverWakeSection, ...]) -> tuple[NeverWake, ...]:
    return tuple(NeverWake(quiet.path, quiet.status) for quiet in keys)


@lru_cache(maxsize=ALIKE)
def _scale(keys: ScaleSection, *, concurrency: int) -> ScalePolicy:
    return ScalePolicy(
        min=keys.min,
        max=keys.max,
        idle_timeout=keys.idle_timeout,
        start_timeout=keys.start_timeout,
        target_concurrency=keys.target_concurrency or float(concurrency or USUAL_TARGET),
        down_delay=keys.down_delay,
        upgrade_idle=keys.upgrade_idle,
        owner=keys.owner,
    )


@lru_cache(maxsize=ALIKE)
def _queue(keys: QueueSection) -> QueuePolicy:
    return QueuePolicy(
        max_requests=keys.max_requests,
        max_bytes=keys.max_bytes,
        timeout=keys.timeout,
        buffer_bytes=keys.buffer_bytes,
        age=keys.age,
        best_urgency=keys.best_urgency,
    )


def _backend(
    keys: EndpointSection,
    *,
    base: Path,
    environ: Mapping[str, str],
    problem: Callable[[Loc, str], None],
) -> Backend | None:
    match keys.backend:
        case StaticSection(urls=urls):
            return StaticBackend(urls)
        case KubernetesSection() as cluster:
            group_version, kind, name = parse_workload(cluster.target)
            return KubernetesBackend(
                namespace=cluster.namespace,
                group_version=group_version,
                kind=kind,
                name=name,
                port=cluster.port,
                service=cluster.service or "",
            )
        case ProcessSection() as process:
            env = _environment(process.env, environ=environ, problem=problem)
            cwd = None if process.cwd is None else base / process.cwd
            if cwd is not None and not cwd.is_dir():
                problem(("backend", "cwd"), f"{cwd} is not a directory")
            return ProcessBackend(
                command=process.command,
                env=env,
                cwd=None if cwd is None else str(cwd),
                host=process.host,
                stop_grace=process.stop_grace,
            )
        case DockerSection() as docker:
            return _docker(docker, base=base, environ=environ, problem=problem)
    return None


def _docker(
    keys: DockerSection,
    *,
    base: Path,
    environ: Mapping[str, str],
    problem: Callable[[Loc, str], None],
) -> DockerBackend:
    engine = keys.engine
    if engine == DOCKER_HOST:
        engine = environ.get("DOCKER_HOST") or DEFAULT_ENGINE
        try:
            engine = engine_address(engine)
        except ValueError as error:
            problem(("backend", "engine"), f"DOCKER_HOST is {engine}: {error}")
    return DockerBackend(
        container=keys.container,
        image=keys.image,
        port=keys.port,
        command=keys.command,
        env=_environment(keys.env, environ=environ, problem=problem),
        gpus=keys.gpus,
        volumes=tuple(
            # what begins with a dot is a place, everything else but a path the name of a volume
            str((base / volume.partition(":")[0]).resolve()) + ":" + volume.partition(":")[2]
            if volume.startswith(".")
            else volume
            for volume in keys.volumes
        ),
        shm_size=keys.shm_size,
        publish=keys.publish,
        network=keys.network,
        stop_grace=keys.stop_grace,
        engine=engine,
    )


def _environment(
    env: Mapping[str, str],
    *,
    environ: Mapping[str, str],
    problem: Callable[[Loc, str], None],
) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for name, value in env.items():
        try:
            found.append((name, variable(value, environ=environ)))
        except ValueError as error:
            problem(("backend", "env", name), str(error))
    return tuple(found)
