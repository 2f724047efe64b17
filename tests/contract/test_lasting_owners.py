"""Containers, which outlive whoever runs them, over several activators and one engine: one set of
them, whoever comes and goes, and every order refused that was overtaken."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import DockerBackend
from activator.drivers.base import DriverError, OutOfTouch
from activator.drivers.docker import DockerDriver
from tests.docker_engine import scripted_engine
from tests.driving import Driven, driving
from tests.sharing import KINDS, PACE, hall, kill
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.deeds import SharedDeeds
    from activator.coordination.roster import SharedRoster
    from activator.drivers.owned import OwnedDriver
    from tests.docker_engine import ScriptedEngine
    from tests.sharing import Hall


@dataclass
class Activator:
    roster: SharedRoster
    deeds: SharedDeeds
    driver: OwnedDriver
    driven: Driven

    @property
    def sees(self) -> list[str]:
        return [each.id for each in self.driven.started()]

    @property
    def owns(self) -> bool:
        deed = self.deeds.of("m")
        return deed.deed.holder == self.roster.me

    async def stands_still(self) -> None:
        """It does and says nothing."""
        await kill(self.roster)
        await self.deeds.tasks.aclose()
        self.deeds.opened.clear()


class House:
    def __init__(self, h: Hall, engine: ScriptedEngine, endings: AsyncExitStack) -> None:
        self.h = h
        self.engine = engine
        self.backend = DockerBackend(image="model:1", port=80, engine=engine.address)
        self._endings = endings

    @property
    def running(self) -> list[str]:
        return [
            each.body["Labels"]["activator.replica"]
            for each in self.engine.containers.values()
            if each.status == "running"
        ]

    async def add(self) -> Activator:
        roster = await self.h.roster()
        deeds = await self.h.deeds(roster)
        driver = await self.h.owned(
            "m", lambda _: DockerDriver("m", self.backend), deeds=deeds, lasting=True
        )
        made = Activator(roster, deeds, driver, Driven(driver))
        self._endings.push_async_callback(made.driven.end)
        await made.driven.until(lambda _: True)
        return made

    async def owner_and_other(self) -> tuple[Activator, Activator]:
        owner = await self.add()
        await eventually(lambda: owner.owns)
        return owner, await self.add()


@pytest.fixture(params=KINDS)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    with TemporaryDirectory() as folder:
        async with (
            hall(request.param) as h,
            scripted_engine(Path(folder)) as engine,
            AsyncExitStack() as endings,
        ):
            yield House(h, engine, endings)


async def test_all_that_wake_it_at_once_start_one_container_and_see_it(house: House) -> None:
    made = [await house.add() for _ in range(3)]

    await asyncio.gather(*(each.driver.scale(1, before=0) for each in made))

    await eventually(lambda: all(each.sees for each in made))
    assert {tuple(each.sees) for each in made} == {tuple(house.running)}
    assert len(house.engine.bodies) == 1
    assert sum(each.owns for each in made) == 1


async def test_what_runs_already_is_somebodys_as_soon_as_there_is_an_activator(
    house: House,
) -> None:
    earlier = DockerDriver("m", house.backend)
    async with driving(earlier) as driven:
        await earlier.scale(1)
        [before] = await driven.until_started(1)

    owner, other = await house.owner_and_other()

    await eventually(lambda: owner.sees == other.sees == [before.id])
    for each in (owner, other):
        first = next(seen for seen in each.driven.seen if not seen.is_blind)
        assert [found.id for found in first.replicas] == [before.id]  # taken for no new one
    assert house.running == [before.id]
    assert other.driven.now.wanted == 1


async def test_who_ends_leaves_what_runs_to_the_others_who_never_lose_sight_of_it(
    house: House,
) -> None:
    owner, other = await house.owner_and_other()
    await other.driver.scale(1)
    await eventually(lambda: other.sees)
    before = len(other.driven.seen)

    await owner.driven.end()
    await owner.roster.aclose()

    await eventually(lambda: other.owns)
    await other.driver.scale(2)
    await eventually(lambda: len(other.sees) == 2)
    assert len(house.running) == 2
    assert all(snapshot.wanted for snapshot in other.driven.seen[before:])
    assert other.driven.now.exits == ()


async def test_an_order_that_its_taker_did_not_live_to_carry_out_is_its_successors(
    house: House,
) -> None:
    owner, other = await house.owner_and_other()
    await other.driver.scale(1)
    await eventually(lambda: other.sees)
    [before] = house.running
    await owner.stands_still()
    fence = other.driven.now.fence

    await other.driver.scale(0, fence=fence)
    await eventually(lambda: not house.running)

    assert other.owns
    await other.driver.scale(1, before=0)
    await eventually(lambda: other.sees)
    assert house.running != [before]


async def test_one_that_wakes_up_and_has_been_followed_stops_nothing(house: House) -> None:
    owner, other = await house.owner_and_other()
    await owner.driver.scale(1)
    await eventually(lambda: other.sees)
    running = house.running
    fence = owner.driven.now.fence
    await owner.stands_still()
    await eventually(lambda: other.owns, within=5 * PACE.lapse)
    await other.driver.bump_fence()

    with pytest.raises(DriverError, match="revived"):
        await owner.driver.scale(0, fence=fence)
    await owner.driven.end()

    assert house.running == running
    assert other.sees == running


async def test_while_the_engine_is_away_orders_are_refused_and_no_start_has_failed(
    house: House,
) -> None:
    owner, other = await house.owner_and_other()
    await eventually(lambda: not other.driven.now.is_blind)
    await house.engine.stop()
    await eventually(lambda: other.driven.now.trouble)

    for each in (owner, other):
        with pytest.raises(OutOfTouch, match="the Docker engine cannot be asked"):
            await each.driver.scale(1, before=0)

    for each in (owner, other):
        assert "the Docker engine cannot be asked" in each.driven.now.trouble
        assert (each.driven.now.wanted, each.driven.now.exits) == (0, ())
    await house.engine.start()
    await eventually(lambda: not owner.driven.now.trouble and not other.driven.now.trouble)
    assert not house.running
    await other.driver.scale(1, before=0)
    await eventually(lambda: owner.sees and owner.sees == other.sees == house.running)
    assert other.driven.now.exits == ()


async def test_who_follows_an_owner_while_the_engine_is_away_keeps_what_was_known(
    house: House,
) -> None:
    owner, other = await house.owner_and_other()
    await owner.driver.scale(1)
    await eventually(lambda: other.sees)
    running = house.running
    before = len(other.driven.seen)
    await house.engine.stop()
    await eventually(lambda: other.driven.now.trouble)

    await owner.stands_still()
    await eventually(lambda: other.owns, within=5 * PACE.lapse)
    late = await house.add()
    await eventually(lambda: late.sees)
    assert other.sees == late.sees == running

    await house.engine.start()
    await eventually(lambda: not other.driven.now.trouble and not late.driven.now.trouble)
    assert other.sees == late.sees == house.running == running
    assert {len(seen.replicas) for seen in other.driven.seen[before:]} == {1}
    assert {seen.wanted for seen in other.driven.seen[before:]} == {1}
    assert other.driven.now.exits == ()
    assert len(house.engine.bodies) == 1


async def test_what_a_person_does_at_the_engine_is_seen_by_all(house: House) -> None:
    owner, other = await house.owner_and_other()
    await owner.driver.scale(1)
    await eventually(lambda: other.sees)

    [container] = house.engine.containers.values()
    house.engine.person_stops(container)

    await eventually(lambda: not other.sees and not other.driven.now.wanted)
    assert other.driven.now.exits == ()
    await other.driver.scale(1, before=0)
    await eventually(lambda: owner.sees and owner.sees == other.sees)
