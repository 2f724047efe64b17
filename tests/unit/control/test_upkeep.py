"""When the jobs of an endpoint are looked after; the clock is the test's."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from activator.control.upkeep import Upkeep
from activator.errors import StoreUnavailable
from tests.faults import failures

if TYPE_CHECKING:
    import pytest


class House:
    """Endpoints whose looks are noted down."""

    def __init__(self, *names: str) -> None:
        self.now = 100.0
        self.upkeep = Upkeep(clock=lambda: self.now)
        self.again_in = dict.fromkeys(names, inf)
        self.away = False
        self.broken = ""
        self.looked: list[str] = []
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        async def look() -> float:
            self.looked.append(name)
            if self.away:
                raise StoreUnavailable
            if self.broken == name:
                raise RuntimeError("a bug")
            return self.again_in[name]

        self.upkeep.add(name, look)

    async def tick(self, seconds: float = 1.0) -> list[str]:
        """Who was looked at."""
        self.now += seconds
        self.looked.clear()
        await self.upkeep.tick()
        return sorted(self.looked)


async def test_everybody_is_looked_at_first_and_then_one_at_a_time_in_turn() -> None:
    house = House("a", "b", "c")

    assert await house.tick() == ["a", "b", "c"]
    assert [await house.tick() for _ in range(4)] == [["a"], ["b"], ["c"], ["a"]]


async def test_at_rest_five_hundred_cost_as_much_as_one() -> None:
    house = House(*map(str, range(500)))
    await house.tick()

    assert sum([len(await house.tick()) for _ in range(500)]) == 500


async def test_those_at_rest_are_on_no_list_that_is_gone_through() -> None:
    house = House(*map(str, range(500)))
    house.again_in["7"] = 10.0
    await house.tick()

    assert list(house.upkeep._due) == ["7"]


async def test_what_was_told_of_is_looked_at_with_the_next_tick_and_once() -> None:
    house = House("a", "b", "c")
    await house.tick()
    for _ in range(3):
        house.upkeep.heard("c")

    assert await house.tick() == ["a", "c"]
    assert await house.tick() == ["b"]


async def test_a_look_says_when_the_next_one_is_due() -> None:
    house = House("a", "b")
    house.again_in["b"] = 10.0
    await house.tick()
    house.again_in["b"] = inf
    await house.tick()  # a, in turn
    house.upkeep.heard("a")

    assert await house.tick(9.0) == ["a", "b"]
    assert await house.tick() == ["a"]


async def test_what_is_told_during_a_look_is_not_missed() -> None:
    house = House("a", "b", "c")
    await house.tick()

    async def look() -> float:
        house.looked.append("d")
        if len(house.looked) == 1:
            house.upkeep.heard("d")
        return inf

    house.upkeep.add("d", look)
    await house.tick()
    assert "d" in await house.tick()


async def test_while_the_store_is_away_everything_stays_due() -> None:
    house = House("a", "b")
    house.away = True
    assert [await house.tick() for _ in range(2)] == [["a", "b"]] * 2

    house.away = False
    await house.tick()
    assert len(await house.tick()) == 1


async def test_an_endpoint_that_is_gone_is_not_looked_at() -> None:
    house = House("a", "b")
    house.upkeep.remove("b")
    house.upkeep.heard("b")

    assert await house.tick() == ["a"]


async def test_one_whose_look_fails_is_looked_at_ever_more_rarely_and_the_others_as_ever(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house = House("a", "b", "c")
    house.again_in = dict.fromkeys("abc", 0.0)
    house.broken = "b"
    looked = [await house.tick() for _ in range(60)]

    assert all("a" in each and "c" in each for each in looked)
    assert [number for number, each in enumerate(looked, 1) if "b" in each] == [
        1, 2, 3, 4, 7, 16, 41,
    ]  # fmt: skip
    assert failures(caplog) == ["upkeep/look b"] * 7

    house.broken = ""
    looked = [await house.tick() for _ in range(60)]
    assert sum("b" in each for each in looked) > 10


async def test_one_whose_look_fails_is_left_alone_whatever_is_told_of_it() -> None:
    house = House("a")
    house.broken = "a"
    looks = 0
    for _ in range(60):
        house.upkeep.heard("a")
        looks += len(await house.tick())

    assert looks == 7
