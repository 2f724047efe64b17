"""What was learned of starts, by activators that come after one another or run side by side."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from activator.control.experience import Experience
from activator.control.keeper import EVERY
from activator.coordination.memory_starts import MemoryStartLog
from activator.errors import StoreUnavailable
from tests.unit.control.house import endpoint, house

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from tests.unit.control.house import House

pytestmark = pytest.mark.looptime


class Log(MemoryStartLog):
    """That of several, which may be away."""

    away = False

    async def note(self, endpoint: str, phases: Mapping[str, float]) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")
        await super().note(endpoint, phases)

    async def kept(self) -> list[float]:
        """What each start took."""
        return [sum(start.values()) for start in (await self.last(["m"]))["m"]]


@dataclass
class Shop:
    house: House
    experience: Experience
    leads: list[bool] = field(default_factory=lambda: [True])

    async def start_once(self) -> float:
        """From zero to ready and back; what it took."""
        control = self.house.control()
        control.verbs.activate()
        await self.house.world.until(lambda: control.live.replicas)
        took = sum(control.cold_starts.recent[-1].phases.values())
        await control.verbs.deactivate(force=True)
        await self.house.world.until(lambda: str(control.life.state) == "inactive")
        return took


@contextlib.asynccontextmanager
async def shop(log: Log, *, leading: bool = True) -> AsyncIterator[Shop]:
    async with house(endpoint()) as h:
        leads = [leading]
        experience = Experience(
            log, controls=lambda: h.supervisor.by_name, leading=lambda: leads[0]
        )
        experience.start()
        try:
            yield Shop(h, experience, leads)
        finally:
            await experience.aclose()


async def test_one_that_starts_later_knows_the_eta_before_its_first_start() -> None:
    log = Log()
    async with shop(log) as s:
        took = await s.start_once()
    async with shop(log) as s:
        await asyncio.sleep(0.01)

        assert s.house.control().status().eta == pytest.approx(took)


async def test_of_several_one_notes_a_start() -> None:
    log = Log()
    async with shop(log) as one, shop(log, leading=False) as other:
        took = await one.start_once()
        await other.start_once()
        await asyncio.sleep(EVERY)

        assert await log.kept() == pytest.approx([took])


async def test_what_the_store_could_not_take_it_gets_when_it_is_back() -> None:
    log = Log()
    async with shop(log) as s:
        log.away = True
        took = [await s.start_once(), await s.start_once()]
        await asyncio.sleep(3 * EVERY)
        assert await log.kept() == []

        log.away = False
        await asyncio.sleep(EVERY)
        assert await log.kept() == pytest.approx(took)


async def test_an_endpoint_that_is_added_later_is_told_as_well() -> None:
    log = Log()
    await log.note("late", {"ready": 7.0})
    async with shop(log) as s:
        await asyncio.sleep(1.0)
        await s.house.supervisor.apply([endpoint(), endpoint("late")])
        await asyncio.sleep(EVERY)

        assert s.house.control("late").cold_starts.typical == pytest.approx(7.0)
