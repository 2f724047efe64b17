"""What clients meet, made of the configuration: the proxy, its certificate and keys, its traces."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from activator.config.keys import load_keys
from activator.errors import ConfigError, StartError
from activator.proxy.body import HeldMemory
from activator.proxy.door import Door
from activator.proxy.listener import Certificate, Proxy
from activator.wire.heads import HeadLimits
from activator.wire.server import ServerLimits

if TYPE_CHECKING:
    import asyncio

    from activator.app.stores import Stores
    from activator.config.settings import Limits, Settings
    from activator.telemetry.metrics import Metrics
    from activator.telemetry.tracing import OtelTracer
    from activator.upstream.pool import UpstreamKit
    from activator.upstream.registry import Registry
    from activator.wire.hangup import HangupWatch


def make_proxy(
    settings: Settings,
    stores: Stores,
    registry: Registry,
    *,
    loop: asyncio.AbstractEventLoop,
    kit: UpstreamKit,
    hangups: HangupWatch,
    metrics: Metrics,
) -> Proxy:
    """It does not listen yet. Raises StartError: a file of keys or of a certificate is unusable."""
    server = settings.server
    keys_file = settings.auth.api_keys_file
    try:
        keys = load_keys(keys_file) if keys_file else None
        certificate = Certificate(server.tls.cert_file, server.tls.key_file) if server.tls else None
    except (OSError, ConfigError) as error:
        raise StartError(str(error)) from error
    return Proxy(
        loop=loop,
        clock=kit.clock,
        wall=time.time,
        registry=registry,
        door=Door(keys=keys, trusted=server.trusted_proxies),
        store=stores.bodies,
        quotas=stores.quotas,
        held_memory=HeldMemory(server.held_memory),
        metrics=metrics,
        deadlines=kit.deadlines,
        hangups=hangups,
        outbox=kit.outbox,
        limits=_server_limits(server.limits),
        openai=settings.openai,
        most_connections=server.limits.connections,
        certificate=certificate,
    )


def trace(proxy: Proxy, settings: Settings) -> OtelTracer | None:
    """The proxy's requests from now on, if that is asked for; whoever asked closes the tracer."""
    tracing = settings.tracing
    if tracing is None:
        return None
    # imported only where it is used: it costs a quarter of a second
    from activator.telemetry.tracing import to_collector  # noqa: PLC0415

    tracer = to_collector(tracing.endpoint, sample=tracing.sample, clock=proxy.clock)
    proxy.tracer = tracer
    return tracer


def _server_limits(limits: Limits) -> ServerLimits:
    return ServerLimits(
        head=HeadLimits(line=limits.request_line, total=limits.header_bytes, fields=limits.headers),
        head_timeout=limits.head_timeout,
        body_idle=limits.body_idle,
        keep_alive=limits.keep_alive,
    )
