"""The parts of an endpoint, put together: what requests need of it, and who scales it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.control.controller import Controller
from activator.core.endpoint import StaticBackend
from activator.upstream.gate import Gate
from activator.upstream.registry import LiveEndpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.pace import Pace
    from activator.aiokit.tasks import Tasks
    from activator.app.stores import Stores
    from activator.control.catalogue import Catalogue
    from activator.core.endpoint import Endpoint
    from activator.drivers.base import Driver
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics
    from activator.upstream.pool import UpstreamKit
    from activator.upstream.probe import ProbeClient


class EndpointParts:
    """Makes them, for one activator, of what all endpoints share."""

    def __init__(
        self,
        stores: Stores,
        *,
        kit: UpstreamKit,
        tasks: Tasks,
        make_driver: Callable[[LiveEndpoint], Driver],
        probes: ProbeClient,
        catalogue: Catalogue,
        metrics: Metrics,
        events: EventLog,
        pace: Pace,
    ) -> None:
        """`tasks`: of requests."""
        self._stores = stores
        self._kit = kit
        self._tasks = tasks
        self._make_driver = make_driver
        self._probes = probes
        self._catalogue = catalogue
        self._metrics = metrics
        self._events = events
        self._pace = pace
        self.shut: Callable[[LiveEndpoint], object] = lambda _live: None
        """A new endpoint that nobody may use yet, where another activator serves."""

    def make_live(self, endpoint: Endpoint) -> LiveEndpoint:
        ledger = self._stores.make_ledger(endpoint)
        live = LiveEndpoint(
            endpoint,
            gate=Gate(endpoint, ledger, clock=self._kit.clock),
            metrics=self._metrics.endpoint(endpoint.name),
            kit=self._kit,
            tasks=self._tasks,
        )
        self._catalogue.follow(live)
        self.shut(live)
        return live

    def make_controller(self, live: LiveEndpoint) -> Controller:
        return Controller(
            live,
            self._make_driver(live),
            scalable=not isinstance(live.endpoint.backend, StaticBackend),
            board=self._stores.board,
            lease=self._stores.lease,
            wishes=self._stores.wishes,
            probes=self._probes,
            events=self._events,
            clock=self._kit.clock,
            pace=self._pace,
        )
