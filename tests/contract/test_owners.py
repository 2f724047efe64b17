"""One of several activators runs an endpoint's processes: who, how long, and what others see."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from activator.drivers import tenure
from activator.drivers.base import DriverError, Phase
from tests.driving import Driven
from tests.faults import Faulty, failures
from tests.scripted import ScriptedDriver
from tests.sharing import BEAT, KINDS, PACE, SILENCE, hall, kill
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from activator.coordination.deeds import SharedDeeds
    from activator.coordination.roster import SharedRoster
    from activator.drivers.owned import OwnedDriver
    from tests.sharing import Hall


@dataclass
class Activator:
    """One of a house, with what it runs."""

    roster: SharedRoster
    deeds: SharedDeeds
    local: list[ScriptedDriver] = field(default_factory=list)
    """A driver a tenure, oldest first."""

    @property
    def runs(self) -> list[str]:
        return [each for driver in self.local for each in driver.running]

    @property
    def sees(self) -> list[str]:
        return [each.id for each in self.driven.started()]

    def drive(self, driver: OwnedDriver) -> None:
        self.driver = driver
        self.driven = Driven(driver)

    async def stands_still(self) -> None:
        """It does and says nothing; what it runs goes on."""
        await kill(self.roster)
        await self.deeds.tasks.aclose()
        self.deeds.opened.clear()


class House:
    def __init__(self, h: Hall, endings: AsyncExitStack) -> None:
        self.h = h
        self._endings = endings
        self.in_flight: dict[str, int] = {}
        self.looks = 0
        """So often somebody has asked what is in flight."""
        self.ended: set[str] = set()
        """Activators that certainly run no more."""

    async def add(self, *, machine: str = "here", patience: float = 5.0) -> Activator:
        roster = await self.h.roster()

        def has_ended(where: Mapping[str, object]) -> bool:
            return where.get("who") in self.ended

        made = Activator(
            roster,
            await self.h.deeds(roster, ended=has_ended, where={"boot": machine, "who": roster.me}),
        )

        def local(series: str) -> ScriptedDriver:
            async def address(_id: str) -> tuple[str, int]:
                return "127.0.0.1", 20000

            made.local.append(ScriptedDriver(series, factory=address))
            return made.local[-1]

        made.drive(
            await self.h.owned(
                "m",
                local,
                deeds=made.deeds,
                in_flight=self._in_flight_at,
                patience=patience,
            )
        )
        self._endings.push_async_callback(made.driven.end)
        await made.driven.until(lambda _: True)
        return made

    def _in_flight_at(self, replica: str) -> int:
        self.looks += 1
        return self.in_flight.get(replica, 0)

    async def two(self, *, machine: str = "here") -> tuple[Activator, Activator]:
        """That know each other."""
        one, other = await self.add(), await self.add(machine=machine)
        await eventually(lambda: one.deeds.has_company and other.deeds.has_company)
        return one, other

    async def owner_and_other(self, *, machine: str = "here") -> tuple[Activator, Activator]:
        owner, other = await self.two(machine=machine)
        await owner.driver.scale(1)
        await eventually(lambda: owner.sees and owner.sees == other.sees)
        return owner, other


@pytest.fixture(autouse=True)
def _settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """As all other times of this house, beside those of production."""
    monkeypatch.setattr(tenure, "SETTLES_AFTER", 4 * BEAT)


@pytest.fixture(params=KINDS)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    async with hall(request.param) as h, AsyncExitStack() as endings:
        yield House(h, endings)


@pytest.fixture
async def in_memory() -> AsyncIterator[House]:
    """A store that can be sent away."""
    async with hall("memory") as h, AsyncExitStack() as endings:
        yield House(h, endings)


async def test_of_all_that_wake_an_endpoint_at_once_one_runs_it_and_all_see_it(
    house: House,
) -> None:
    three = [await house.add() for _ in range(3)]

    await asyncio.gather(*(each.driver.scale(1) for each in three))

    await eventually(lambda: all(len(each.sees) == 1 for each in three))
    assert sum(len(each.runs) for each in three) == 1
    (first, *others) = (each.driven.started()[0] for each in three)
    for other in others:
        assert (other.id, other.host, other.port) == (first.id, first.host, first.port)
        assert other.since == pytest.approx(first.since, abs=0.5)


async def test_at_zero_it_is_nobodys_and_whoever_wakes_it_runs_it(house: House) -> None:
    owner, other = await house.owner_and_other()
    before = owner.sees

    await other.driver.scale(0)
    await eventually(lambda: not owner.runs and not other.deeds.of("m").deed.holder)
    await other.driver.scale(1)

    await eventually(lambda: other.runs and owner.sees == other.sees != before)
    assert not owner.runs


async def test_why_a_replica_ended_and_its_last_lines_are_known_to_all(house: House) -> None:
    owner, other = await house.owner_and_other()
    (replica,) = owner.sees
    owner.local[0].printed[replica] = ("loading", "out of memory")
    await owner.driver.scale(2)
    await eventually(lambda: other.driver.last_lines(replica) == ("loading", "out of memory"))

    owner.local[0].crash(replica, "exited with code 3")

    exit_ = await other.driven.until_exit()
    assert (exit_.id, exit_.cause.message) == (replica, "exited with code 3")
    await eventually(lambda: other.driven.now.wanted == 1)


async def test_an_owner_that_was_seen_to_end_is_followed_at_once(house: House) -> None:
    owner, other = await house.owner_and_other()
    lost = owner.sees

    house.ended.add(owner.deeds.me)
    exit_ = await other.driven.until_exit()

    assert [exit_.id] == lost
    assert "has ended" in exit_.cause.message
    assert (other.driven.now.wanted, other.sees) == (0, [])
    await other.driver.scale(1)
    await eventually(lambda: other.runs)
    assert other.runs != lost


async def test_an_owner_that_stood_still_for_too_long_finds_another_and_finishes_what_it_has(
    house: House,
) -> None:
    owner, other = await house.owner_and_other()
    (old,) = owner.runs
    house.in_flight[old] = 1
    await owner.stands_still()
    stood = asyncio.get_running_loop().time()

    await other.driven.until_exit()
    assert asyncio.get_running_loop().time() - stood > PACE.lapse - SILENCE
    await other.driver.scale(1)
    await eventually(lambda: other.runs)
    assert owner.runs == [old]
    # it wakes up
    owner.deeds.opened.add(owner.deeds.of("m"))
    owner.deeds.of("m").look()
    owner.roster._tasks.spawn(owner.roster._run(), name="again")

    await eventually(lambda: owner.sees == other.runs)
    assert [(each.id, each.phase) for each in owner.driven.now.replicas[1:]] == [
        (old, Phase.STOPPING)
    ]
    assert owner.runs == [old]
    house.in_flight[old] = 0
    await eventually(lambda: not owner.runs)
    assert owner.sees == other.runs


async def test_an_owner_that_ends_lets_others_finish_and_hands_over(house: House) -> None:
    owner, other = await house.owner_and_other()
    (old,) = owner.sees
    house.in_flight[old] = 1

    ending = asyncio.ensure_future(owner.driven.end())  # noqa: TID251 - what a test waits for
    await other.driven.until(lambda s: [each.phase for each in s.replicas] == [Phase.STOPPING])
    assert other.driven.now.wanted == 0
    assert (
        "is being stopped" in (await other.driven.until(lambda s: s.exits)).exits[-1].cause.message
    )
    waking = asyncio.ensure_future(other.driver.scale(1))  # noqa: TID251
    for _ in range(3):  # after each it asks itself again whether it may start them
        await other.driver.bump_fence()
    looks = house.looks
    await eventually(lambda: house.looks > looks + 1)
    assert not waking.done()
    assert owner.runs == [old]
    assert not other.runs  # on this machine what it needs is still in use
    house.in_flight[old] = 0
    await ending

    await waking
    await eventually(lambda: other.runs)
    assert not owner.runs


async def test_elsewhere_processes_are_started_before_an_owner_that_ends_has_finished(
    house: House,
) -> None:
    owner, other = await house.owner_and_other(machine="elsewhere")
    (old,) = owner.sees
    house.in_flight[old] = 1

    owner.deeds.leave()
    await other.driven.until(lambda s: not s.wanted)
    await other.driver.scale(1)

    await eventually(lambda: other.runs)
    assert owner.runs == [old]
    await eventually(lambda: owner.sees == other.runs)
    house.in_flight[old] = 0
    await eventually(lambda: not owner.runs)


async def test_an_order_that_nobody_can_carry_out_now_waits_for_who_can(house: House) -> None:
    owner, other = await house.owner_and_other()
    prepared = other.driven.now.fence

    await other.driver.bump_fence()
    with pytest.raises(DriverError, match="revived"):
        await other.driver.scale(0, fence=prepared)
    await other.driver.scale(0, fence=other.driven.now.fence)

    await eventually(lambda: not owner.runs)


async def test_while_the_store_is_away_nothing_is_stopped_and_the_owner_goes_on(
    in_memory: House,
) -> None:
    owner, other = await in_memory.owner_and_other()
    before = owner.sees
    store = in_memory.h.memory
    assert store is not None
    store.away = True
    # each of the two asks once a beat, and is silent for longer than anybody may be
    await eventually(lambda: store.refused > 2 * (PACE.lapse + SILENCE) / BEAT)

    assert owner.sees == other.sees == owner.runs == before
    with pytest.raises(DriverError, match="away"):
        await other.driver.scale(2)
    await owner.driver.scale(2)
    await eventually(lambda: len(owner.runs) == 2)
    assert not other.runs

    store.away = False
    await eventually(lambda: len(other.sees) == 2)
    assert not other.runs


async def test_a_store_that_has_lost_its_memory_is_told_again_and_nothing_is_started_anew(
    house: House,
) -> None:
    owner, other = await house.owner_and_other()
    before = owner.sees
    term = owner.deeds.of("m").deed.term
    if house.h.memory is not None:
        house.h.memory.deeds.of.clear()
        house.h.memory.roster.clear()
    else:
        link = await house.h.link()
        await link.command("DEL", link.keys.of("m", "deed"))
        await link.command("DEL", link.keys.shared("roster"))

    await eventually(lambda: other.deeds.of("m")._stored.term == term, within=20 * BEAT + 5)

    await other.driver.scale(2)
    await eventually(lambda: len(other.sees) == 2)
    assert set(before) < set(owner.runs)
    assert not other.runs


async def test_alone_an_owner_ends_at_once_and_nothing_is_left_behind(house: House) -> None:
    owner = await house.add(patience=60.0)
    await owner.driver.scale(1)
    await eventually(lambda: owner.runs)
    house.in_flight[owner.runs[0]] = 1  # by whom? nobody else is there

    async with asyncio.timeout(2.0):
        await owner.driven.end()

    assert not owner.runs
    assert not owner.deeds.of("m").deed.holder


async def test_an_owner_goes_on_after_a_fault_of_ours_and_what_it_runs_with_it(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, other = await house.owner_and_other()
    (before,) = owner.runs
    Faulty(monkeypatch, owner.driver, "_keep_title", times=2)
    Faulty(monkeypatch, other.deeds.reader, "_read")
    await other.driver.scale(2)

    await eventually(lambda: len(owner.sees) == 2 and owner.sees == other.sees)
    assert before in owner.runs
    assert failures(caplog).count("finishing/m/act") == 2
    # by itself, if something else was being asked about it at that moment
    assert sum(each in ("deeds/read", "deeds/read m") for each in failures(caplog)) == 1


async def test_an_order_that_meets_a_fault_of_ours_at_its_owner_is_refused_and_can_be_given_again(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, other = await house.owner_and_other()
    Faulty(monkeypatch, owner.local[0], "scale")
    with pytest.raises(DriverError, match="an error of its own"):
        await other.driver.scale(2)
    assert failures(caplog) == ["finishing/m/order"]
    assert len(owner.runs) == 1

    await other.driver.scale(2)
    await eventually(lambda: len(owner.sees) == 2 and owner.sees == other.sees)


async def test_a_tenure_is_over_though_a_fault_of_ours_keeps_it_from_being_seen_out(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, other = await house.owner_and_other()
    Faulty(monkeypatch, owner.driver, "_seen_out")
    tenure = owner.driver._tenure
    assert tenure is not None
    owner.driver._step_down(tenure)

    await eventually(lambda: not owner.driver._former)
    assert not owner.local[0].running
    assert failures(caplog) == ["finishing/m/see term 1 out"]
    assert other.driver is not None
