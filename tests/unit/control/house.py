"""Several endpoints under a supervisor, over scripted drivers, in the loop's (virtual) time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from activator.control.supervisor import Supervisor
from activator.core.endpoint import Endpoint, ProcessBackend, ScalePolicy
from activator.upstream.registry import Registry
from tests.unit.control.world import BACKEND, Caller, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.control.controller import Controller
    from activator.upstream.registry import LiveEndpoint
    from tests.scripted import ScriptedDriver


class House:
    """A supervisor whose controllers run over scripted drivers; `drivers` holds each one made."""

    def __init__(self) -> None:
        self.world = World()
        self.registry = Registry()
        self.drivers: list[ScriptedDriver] = []
        self.supervisor = Supervisor(
            self.registry,
            make_live=self.world.make_live,
            make_controller=self._make_controller,
            events=self.world.events,
            metrics=self.world.metrics,
        )

    def _make_controller(self, live: LiveEndpoint) -> Controller:
        number = len(self.drivers)
        driver = self.world.make_driver(f"{live.endpoint.name}.{number}")
        self.drivers.append(driver)
        return self.world.make_controller(live, driver)

    def call(self, name: str = "m") -> Caller:
        return Caller(self.registry[name].gate)

    def control(self, name: str = "m") -> Controller:
        control = self.supervisor.get(name)
        assert control is not None
        return control


@contextlib.asynccontextmanager
async def house(*endpoints: Endpoint) -> AsyncIterator[House]:
    before = asyncio.all_tasks()
    made = House()
    await made.supervisor.apply(endpoints)
    try:
        yield made
    finally:
        await made.supervisor.aclose()
        await made.world.tasks.aclose()
        made.world.deadlines.close()
    assert asyncio.all_tasks() <= before
    for driver in made.drivers:
        assert driver.running == ()


def endpoint(name: str = "m", backend: ProcessBackend = BACKEND) -> Endpoint:
    return Endpoint(name, backend, concurrency=1, scale=ScalePolicy(idle_timeout=600.0))
