"""All endpoints at work: a controller each, brought in line with every new configuration.

Decides only what a change of configuration means for what runs: added, removed, changed in
place, or given another backend. Making the parts is the composition root's (`make`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakMethod

from activator.aiokit.garbage import uncollected
from activator.aiokit.slices import Slices
from activator.aiokit.tasks import Tasks
from activator.core.routing import RouteTable
from activator.errors import NoRoute

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

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
        self._in_force: dict[str, Endpoint] = {}
        """What has become of each as a whole: a change that met a fault is begun again."""
        self._applying = asyncio.Lock()
        self._tasks = Tasks("supervisor")
        self._finishing: dict[str, Controller] = {}
        """Their replicas finish what they have."""
        self._waiting: dict[str, Controller] = {}
        """Begins once they have: the GPU that its replicas need may be the one they hold."""

    def get(self, name: str) -> Controller | None:
        return self._controllers.get(name)

    def all(self) -> list[Controller]:
        return [self._controllers[name] for name in sorted(self._controllers)]

    @property
    def by_name(self) -> Mapping[str, Controller]:
        """The same, in no order, for who looks at all of them often: it goes on changing."""
        return self._controllers

    @property
    def that_cost(self) -> Mapping[str, Controller]:
        """The same, and those that were removed, as long as their replicas finish."""
        return self._finishing | self._controllers if self._finishing else self._controllers

    async def apply(self, endpoints: Sequence[Endpoint], *, slices: Slices | None = None) -> None:
        """Make these the endpoints at work, after whatever is being applied already. No request is
        lost by a change; those that wait for an endpoint that is gone are told so."""
        async with self._applying:
            with uncollected():
                await self._apply(endpoints, slices=slices or Slices())

    async def _apply(self, endpoints: Sequence[Endpoint], *, slices: Slices) -> None:
        """Requests come in between: what they find is there before they can find it, and goes when
        they cannot any more."""
        wanted = {endpoint.name for endpoint in endpoints}
        changed: list[Endpoint] = []
        for endpoint in endpoints:
            before = self._in_force.get(endpoint.name)
            if before is None:
                self._add(endpoint)
            elif before is not endpoint and before != endpoint:
                changed.append(endpoint)
            await slices.turn()
        routes = RouteTable()
        for _ in routes.fill(endpoints):
            await slices.turn()
        for endpoint in changed:
            self._change(self._controllers[endpoint.name], endpoint)
            await slices.turn()
        self._registry.route(routes)
        for name in [name for name in self._controllers if name not in wanted]:
            self._remove(name)
            await slices.turn()

    def _add(self, endpoint: Endpoint) -> None:
        live = self._make_live(endpoint)
        control = self._make_controller(live)
        self._registry.add(live)
        self._begin(control)
        self._in_force[endpoint.name] = endpoint

    def _begin(self, control: Controller) -> None:
        before = self._controllers.get(control.name) or self._finishing.get(control.name)
        if before is not None:
            control.account.follow(before.account)
        self._controllers[control.name] = control
        if control.name in self._finishing:
            self._waiting[control.name] = control
        else:
            control.start()

    def _change(self, control: Controller, endpoint: Endpoint) -> None:
        before = self._in_force[endpoint.name]
        self._events.record(endpoint.name, "reconfigured", _difference(before, endpoint))
        control.reconfigure(endpoint)
        if before.backend != endpoint.backend:
            successor = self._make_controller(control.live)
            self._let_go(control)
            self._begin(successor)
        self._in_force[endpoint.name] = endpoint

    def _remove(self, name: str) -> None:
        self._in_force.pop(name, None)
        control = self._controllers.pop(name)
        self._registry.remove(name)
        self._events.record(name, "removed", "it is no longer configured")
        gate, why = control.live.gate, NoRoute(f"Endpoint {name} is no longer configured")
        self._let_go(control)
        gate.refuse_held(why)
        # a request that a replica fails while it finishes comes back in line: nobody serves it
        loop, held_there = asyncio.get_running_loop(), WeakMethod(gate.refuse_held)

        def refuse_soon() -> None:
            refuse = held_there()
            if refuse is not None:
                loop.call_soon(refuse, why)

        gate.wake = refuse_soon
        self._close_unless_used(control)
        self._metrics.forget(name)

    def _let_go(self, control: Controller) -> None:
        name = control.name
        if self._waiting.get(name) is control:
            del self._waiting[name]  # it has not begun
            self._tasks.spawn(control.aclose(), name=f"drop {name}")
            return
        self._finishing[name] = control
        self._tasks.spawn(self._finish(control), name=f"finish {name}")

    async def _finish(self, control: Controller) -> None:
        within = control.live.endpoint.timeouts.total or float("inf")
        try:
            await control.retire(within=within)
            await control.discard()
        finally:
            await self._tasks.end_each(control.aclose)
            del self._finishing[control.name]
            successor = self._waiting.pop(control.name, None)
            if successor is not None:
                successor.start()
            self._close_unless_used(control)

    def _close_unless_used(self, control: Controller) -> None:
        """By another controller of the same endpoint."""
        name = control.name
        others = self._controllers.get(name), self._finishing.get(name)
        if all(other is None or other.live is not control.live for other in others):
            control.live.close()

    def _at_work(self) -> list[Controller]:
        return [*self._controllers.values(), *self._finishing.values()]

    def hurry(self) -> None:
        """While it closes: replicas get no more time to stop by themselves."""
        for control in self._at_work():
            control.hurry()

    async def aclose(self) -> None:
        """Stop every endpoint, all at the same time."""
        self._waiting.clear()
        await self._tasks.aclose()
        await self._tasks.end_all([control.aclose for control in self._at_work()])
        slices = Slices()
        for control in list(self._controllers.values()):
            control.live.close()
            await slices.turn()
        self._controllers.clear()
        self._in_force.clear()


def _difference(before: Endpoint, after: Endpoint) -> str:
    changed = [
        name
        for name in before.__dataclass_fields__
        if getattr(before, name) != getattr(after, name)
    ]
    return f"changed: {', '.join(changed)}"
