"""Configuration → objects → running: the order in which the parts start, and its reverse."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import resource
import time
from math import inf
from typing import TYPE_CHECKING, Any

from aiohttp import web

from activator.admin.api import make_app
from activator.aiokit.deadlines import Deadlines
from activator.aiokit.garbage import uncollected
from activator.aiokit.outbox import Outbox
from activator.aiokit.pace import Pace
from activator.aiokit.slices import OnePiece, Slices
from activator.aiokit.tasks import Tasks
from activator.app.accounts import Accounts
from activator.app.cluster import OneCluster
from activator.app.declared import DeclaredEndpoints
from activator.app.driving import Drivers
from activator.app.employing import employ
from activator.app.front import make_proxy, trace
from activator.app.job_operations import StoredJobs
from activator.app.operations import AppOperations
from activator.app.parts import EndpointParts
from activator.app.reloading import Reloading
from activator.app.standby import Standby
from activator.app.stores import make_stores
from activator.app.telling import Telling
from activator.config.references import read_secret
from activator.config.settings import load
from activator.control.catalogue import Catalogue
from activator.control.supervisor import Supervisor
from activator.coordination.memory import MemoryLedger
from activator.errors import ShuttingDown, StartError
from activator.telemetry.events import EventLog
from activator.telemetry.metrics import Metrics
from activator.upstream.pool import UpstreamKit
from activator.upstream.probe import ProbeClient
from activator.upstream.registry import Registry
from activator.wire.hangup import HangupWatch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from activator.app.stores import Times
    from activator.config.settings import Settings
    from activator.core.endpoint import Endpoint
    from activator.drivers.base import Driver
    from activator.telemetry.tracing import OtelTracer
    from activator.upstream.registry import LiveEndpoint

_log = logging.getLogger("activator.app")

DRAINED_LOOK = 0.05
"""Seconds between two looks at whether everything in flight has finished, while shutting down."""

CHRONICLE = 60.0
"""Seconds between two looks at how many requests have ended: little, beside a cell of history."""


class App:
    """One activator. `start` once, then `stop` once."""

    def __init__(
        self,
        settings: Settings,
        *,
        overrides: Mapping[str, Any] | None = None,
        drivers: dict[str, Driver] | None = None,
        times: Times | None = None,
    ) -> None:
        """`overrides`: what wins over the file also when it is read again. `drivers`: by
        endpoint, instead of the one its backend names (tests, embedding). `times`: of several
        activators (tests)."""
        self.settings = settings
        self.events = EventLog()
        self.metrics = Metrics()
        self.registry = Registry()
        self._overrides = overrides or {}
        self._given_drivers = drivers or {}
        self._times = times
        self._cluster: OneCluster | None = None
        self._standby: Standby | None = None
        self._hurry = asyncio.Event()
        self._stop_by: float | None = None
        """Monotonic moment at which what is in flight has had its time, once it is known."""
        self._clock = time.monotonic
        self._dice = random.Random()
        self._pace = Pace()
        self._tasks = Tasks("app")
        """Of requests; `_upkeep` those that last as long as the app."""
        self._upkeep = Tasks("upkeep")
        self._why_not_ready: str | None = "starting"
        self._data: list[tuple[str, int]] = []
        self._runner: web.AppRunner | None = None
        self._tracer: OtelTracer | None = None
        self.admin_port = 0

    # --- starting -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen, and take the endpoints over. Raises StartError; nothing is left running then."""
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._deadlines = Deadlines(loop)
        self._hangups = HangupWatch(loop)
        self._probes = ProbeClient()
        self._catalogue = Catalogue(self._probes)
        self._kit = UpstreamKit(
            loop=loop, deadlines=self._deadlines, outbox=Outbox(), clock=self._clock
        )
        try:
            self._stores = make_stores(
                self.settings.store,
                jobs=self.settings.jobs,
                metrics=self.metrics,
                events=self.events,
                make_local=self._make_ledger,
                cluster=self._the_cluster,
                finishing=self._finishing,
                times=self._times,
            )
            self._supervise()
            await self._stores.open()
            self._accounts = Accounts(
                self._stores,
                registry=self.registry,
                supervisor=self.supervisor,
                clock=self._clock,
            )
            self._proxy = make_proxy(
                self.settings,
                self._stores,
                self.registry,
                loop=loop,
                kit=self._kit,
                hangups=self._hangups,
                metrics=self.metrics,
            )
            if self._standby is not None:
                self._standby.start(self._proxy)
            self._tracer = trace(self._proxy, self.settings)
            self.workers, self._hooks = employ(
                self._proxy,
                self._stores,
                self.registry,
                policy=lambda: self.reloading.settings.webhooks,
                clock=self._clock,
                dice=self._dice.random,
                pace=self._pace,
            )
            await self._start_admin()
            self._data = await self._proxy.listen(self.settings.server.listen)
        except OSError as error:
            await self._abandon()
            raise StartError(f"cannot listen: {error.strerror or error}") from error
        except BaseException:
            await self._abandon()
            raise
        self._telling.start()
        # in one piece: connections are accepted already, and each is to find its endpoint
        await self._declared.take(self.settings, slices=OnePiece())
        self._accounts.start(has_keys=self.settings.auth.api_keys_file is not None)
        self._catalogue.start(
            self._stores.models, lives=lambda: self.registry, leading=self._is_leading
        )
        self.reloading.start(
            proxy=self._proxy, jobs=self._stores.jobs, certificate=self._proxy.certificate
        )
        self._upkeep.spawn_lasting(self._chronicle, name="chronicle")
        self._why_not_ready = None
        _log.info(
            "listening",
            extra={
                "action": "listening",
                "data": ", ".join(f"{host}:{port}" for host, port in self._data),
                "admin": f"{self.settings.server.admin[0]}:{self.admin_port}",
                "endpoints": len(self.settings.endpoints),
                "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            },
        )

    def _supervise(self) -> None:
        """Who makes the endpoints and brings them in line, and what tells of it and asks for it."""
        drivers = Drivers(
            self._stores,
            cluster=self._the_cluster,
            instance=self.settings.store.prefix,
            patience=self._patience,
            given=self._given_drivers,
        )
        parts = EndpointParts(
            self._stores,
            kit=self._kit,
            tasks=self._tasks,
            make_driver=drivers.make,
            probes=self._probes,
            catalogue=self._catalogue,
            metrics=self.metrics,
            events=self.events,
            pace=self._pace,
        )
        self.supervisor = Supervisor(
            self.registry,
            make_live=parts.make_live,
            make_controller=parts.make_controller,
            events=self.events,
            metrics=self.metrics,
        )
        if self._stores.turn is not None:
            self._standby = Standby(
                self._stores.turn,
                registry=self.registry,
                supervisor=self.supervisor,
                events=self.events,
            )
            parts.shut = self._standby.shut
        self.operations = AppOperations(
            self.supervisor,
            wishes=lambda: self._stores.wishes,
            costs=lambda: self._accounts.book,
            why_not_ready=self._why_not,
            why_not_serving=lambda: self._standby.why_not_serving if self._standby else None,
            settings=self.settings,
            events=self.events,
        )
        self._declared = DeclaredEndpoints(
            apply=self.supervisor.apply,
            operations=self.operations,
            events=self.events,
            cluster=self._the_cluster,
        )
        self._telling = Telling(self.events, tell=self._tell_in_cluster, leading=self._is_leading)
        self.metrics.leader = self._is_leading
        self.reloading = Reloading(
            self.settings,
            overrides=self._overrides,
            apply=self._declared.take,
            operations=self.operations,
            events=self.events,
        )

    def _is_leading(self) -> bool:
        return self._stores.lease.leading

    async def _chronicle(self) -> None:
        while True:
            await asyncio.sleep(CHRONICLE)
            slices = Slices()
            for control in list(self.supervisor.by_name.values()):
                control.remember()
                await slices.turn()

    def _why_not(self) -> str | None:
        """It is not ready, for people."""
        standby = self._standby
        return (
            self._why_not_ready
            or (standby.why_not_serving if standby is not None else None)
            or self._declared.why_not_ready
        )

    @property
    def data_port(self) -> int:
        """Of the first address that clients may use."""
        return self._data[0][1]

    async def _start_admin(self) -> None:
        host, port = self.settings.server.admin
        token_file = self.settings.auth.admin_token_file
        try:
            token = read_secret(token_file) if token_file else None
        except ValueError as error:
            raise StartError(f"auth.adminTokenFile: {error}") from error
        application = make_app(
            self.operations,
            self.metrics,
            self.events,
            token=token,
            hosts=(host, "localhost"),
            jobs=StoredJobs(self._stores.jobs, self.registry),
        )
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=1.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        self.admin_port = self._runner.addresses[0][1]

    # --- the parts of an endpoint ---------------------------------------------------------------

    def _make_ledger(self, endpoint: Endpoint) -> MemoryLedger:
        """As one process alone has it."""
        return MemoryLedger(
            endpoint,
            clock=self._clock,
            call_soon=self._loop.call_soon,
            call_at=self._loop.call_at,
            dice=self._dice.randrange,
        )

    def _patience(self, live: LiveEndpoint) -> float:
        """Seconds for which what is in flight there may still go on."""
        if self._stop_by is not None:
            return self._stop_by - self._clock()
        return live.endpoint.timeouts.total or inf

    def _tell_in_cluster(
        self, endpoint: str, *, reason: str, message: str, is_warning: bool
    ) -> None:
        told = self._declared.tell(endpoint, reason=reason, message=message, is_warning=is_warning)
        if self._cluster is not None:
            self._cluster.tell(
                endpoint, reason=reason, message=message, is_warning=is_warning, told=told
            )

    def _the_cluster(self) -> OneCluster:
        if self._cluster is None:
            self._cluster = OneCluster(self.events)
        return self._cluster

    # --- stopping -------------------------------------------------------------------------------

    async def stop(self, *, drain_delay: float = 0.0, grace: float | None = None) -> None:
        """Readiness fails at once; connections are accepted for `drain_delay` more seconds; what
        is in flight may finish within `grace` (`server.shutdownGrace`), what is held may be
        served within it or is told `shutting_down`. Then everything ends, replicas included."""
        grace = self.reloading.settings.server.shutdown_grace if grace is None else grace
        self._why_not_ready = "shutting down"
        self._proxy.draining = True
        if self._standby is not None:
            self._standby.leave()
        _log.info("draining", extra={"action": "draining", "requests": self._proxy.busy})
        await self._pause(drain_delay)
        self._proxy.stop_accepting()
        self._stop_by = self._clock() + grace
        # by then requests that other activators have at our replicas are to have some of it left
        leaving = self._loop.call_later(grace / 2, self._stores.leave)
        await self.workers.stop_claiming()
        await self._drained(within=grace)
        with uncollected():
            await self._upkeep.end_each(
                self._proxy.part,
                self._refuse_held,
                # first: an endpoint that is added to those that end would go on
                self.reloading.aclose,
                self._telling.aclose,
                self._declared.aclose,
                self.workers.aclose,
                self._close_endpoints,
                *self._accounts.ends,
                self._catalogue.aclose,
                leaving.cancel,
                # whose replica was stopped under them, and who wait for another now
                self._refuse_held,
                self._close_parts,
            )
        _log.info("stopped", extra={"action": "stopped"})

    def _finishing(self) -> float:
        """Seconds at most in which all that is in flight ends, or may still come to be, when this
        activator is told to end."""
        server = self.reloading.settings.server
        is_idle = not self._data or not (server.drain_delay or self._busy)
        return 0.0 if is_idle else server.drain_delay + server.shutdown_grace

    def hurry(self) -> None:
        """Told to stop once more: nothing is waited for that need not be."""
        self._hurry.set()

    async def _drained(self, *, within: float) -> None:
        until = self._clock() + within
        while self._busy and self._clock() < until and not self._hurry.is_set():
            await self._pause(DRAINED_LOOK)

    @property
    def _busy(self) -> int:
        return self._proxy.busy + self.workers.running

    async def _refuse_held(self) -> None:
        why, slices = ShuttingDown(), Slices()
        for live in self.registry:
            live.gate.refuse_held(why)
            await slices.turn()

    async def _close_endpoints(self) -> None:
        """Replicas may take their time to stop, unless we were told to hurry."""
        closing = self._tasks.spawn(self.supervisor.aclose(), name="close")
        hurried = self._tasks.spawn(self._hurry.wait(), name="hurry")
        await asyncio.wait({closing, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not closing.done():
            self.supervisor.hurry()
        await closing

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    async def _abandon(self) -> None:
        """What a start that fails has begun."""
        if hasattr(self, "workers"):
            await self.workers.aclose()
        await self._close_parts()

    async def _close_parts(self) -> None:
        """As far as there are any: it may have failed to start."""
        tracer = self._tracer
        await self._upkeep.end_each(
            *([self._proxy.aclose] if hasattr(self, "_proxy") else ()),
            self._upkeep.aclose,
            self._tasks.aclose,
            *([self._standby.aclose] if self._standby is not None else ()),
            *([self._hooks.aclose] if hasattr(self, "_hooks") else ()),
            *([self._stores.aclose] if hasattr(self, "_stores") else ()),
            *([self._cluster.aclose] if self._cluster is not None else ()),
            self.events.close,
            *([lambda: asyncio.to_thread(tracer.close)] if tracer is not None else ()),
            *([self._runner.cleanup] if self._runner is not None else ()),
            self._catalogue.aclose,
            self._probes.aclose,
            self._hangups.close,
            self._deadlines.close,
        )


def raise_open_files() -> int:
    """As many sockets as the system lets this process have; returns how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def build(path: Path) -> App:
    """An app from a configuration file. Raises ConfigError."""
    return App(load(path))
