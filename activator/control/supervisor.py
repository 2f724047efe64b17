"""All endpoints at work: a controller each, brought in line with every new configuration.

Decides only what a change of configuration means for what runs: added, removed, changed in
place, or given another backend. Making the parts is the composition root's (`make`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks
from activator.errors import NoRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.control.controller import Controller
    from activator.core.endpoint import Endpoint
    from activator.telemetry.events import EventLog
    from activator.telemetry.metrics import Metrics
    from activator.upstream.registry import LiveEndpoint, Registry


class Supervisor:
    """The endpoints of this process."""

    def __init__(
        self,
        registry: Registry,
        *,
        make_live: Callable[[Endpoint], LiveEndpoint],
        make_controller: Callable[[LiveEndpoint], Controller],
        events: EventLog,
        metrics: Metrics,
    ) -> None:
        self._registry = registry
        self._make_live = make_live
        self._make_controller = make_controller
        self._events = events
        self._metrics = metrics
        self._controllers: dict[str, Controller] = {}
        self._tasks = Tasks("supervisor")
        self._moves: dict[str, asyncio.Task[None]] = {}
        """Endpoints whose old replicas still finish, by name."""

    def get(self, name: str) -> Controller | None:
        return self._controllers.get(name)

    def all(self) -> list[Controller]:
        return [self._controllers[name] for name in sorted(self._controllers)]

    def apply(self, endpoints: Sequence[Endpoint]) -> None:
        """Make these the endpoints at work. No request is lost by a change; those that wait for
        an endpoint that is gone are told so."""
        wanted = {endpoint.name: endpoint for endpoint in endpoints}
        for endpoint in endpoints:
            control = self._controllers.get(endpoint.name)
            if control is None:
                self._add(endpoint)
            elif control.live.endpoint != endpoint:
                self._change(control, endpoint)
        self._registry.route(endpoints)
        for name in [name for name in self._controllers if name not in wanted]:
            self._remove(name)

    def _add(self, endpoint: Endpoint) -> None:
        live = self._make_live(endpoint)
        self._registry.add(live)
        self._begin(live)

    def _begin(self, live: LiveEndpoint) -> None:
        control = self._make_controller(live)
        self._controllers[control.name] = control
        leaving = self._moves.get(control.name)
        if leaving is None:
            control.start()
        else:
            # the GPU that the new replicas need may be the one that the old ones still hold
            self._tasks.spawn(_start_after(leaving, control), name=f"start {control.name}")

    def _change(self, control: Controller, endpoint: Endpoint) -> None:
        before = control.live.endpoint
        self._events.record(endpoint.name, "reconfigured", _difference(before, endpoint))
        if before.backend == endpoint.backend:
            control.reconfigure(endpoint)
            return
        control.reconfigure(endpoint)
        self._let_go(control)
        self._begin(control.live)

    def _remove(self, name: str) -> None:
        control = self._controllers.pop(name)
        self._registry.remove(name)
        self._events.record(name, "removed", "it is no longer configured")
        control.live.gate.refuse_held(NoRoute(f"Endpoint {name} is no longer configured"))
        self._let_go(control)
        self._metrics.forget(name)

    def _let_go(self, control: Controller) -> None:
        move = self._tasks.spawn(self._finish(control), name=f"finish {control.name}")
        self._moves[control.name] = move

    async def _finish(self, control: Controller) -> None:
        within = control.live.endpoint.timeouts.total or float("inf")
        try:
            await control.retire(within=within)
        finally:
            await control.aclose()
            self._moves.pop(control.name, None)

    async def aclose(self) -> None:
        """Stop every endpoint, all at the same time."""
        moving = list(self._moves.values())
        await self._tasks.aclose()
        await asyncio.gather(*moving, return_exceptions=True)
        await asyncio.gather(*(control.aclose() for control in self._controllers.values()))
        for control in self._controllers.values():
            control.live.gate.close()
        self._controllers.clear()


async def _start_after(leaving: asyncio.Task[None], control: Controller) -> None:
    await asyncio.wait([leaving])
    control.start()


def _difference(before: Endpoint, after: Endpoint) -> str:
    changed = [
        name
        for name in before.__dataclass_fields__
        if getattr(before, name) != getattr(after, name)
    ]
    return f"changed: {', '.join(changed)}"
