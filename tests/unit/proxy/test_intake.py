"""Whose body is read now, and whose later."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from activator.proxy.intake import SLOW, Intake


@dataclass(eq=False)
class Body:
    """A guest; one that `hurries` leaves as soon as it may read."""

    intake: Intake
    held_bytes: int = 0
    hurries: bool = False
    reads: bool = False

    def enter(self, room: int) -> bool:
        self.reads = self.intake.enter(self, room)
        return self.reads

    def may_read(self) -> None:
        self.reads = True
        if self.hurries:
            self.intake.leave(self)


@dataclass
class House:
    crowds: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.intake = Intake(loop=loop, crowded=self.crowds.append, most=100)

    def body(self, *, held: int = 0, hurries: bool = False) -> Body:
        return Body(self.intake, held, hurries)


async def test_bodies_are_read_while_there_is_room() -> None:
    house = House()
    assert house.body().enter(60)
    assert house.body().enter(40)
    assert not house.body().enter(1)
    house.intake.close()


async def test_one_alone_may_be_larger_than_all_there_is() -> None:
    house = House()
    assert house.body().enter(1000)


async def test_whoever_waits_is_read_in_order_as_others_leave() -> None:
    house = House()
    first, second, third = house.body(), house.body(), house.body()
    first.enter(100)
    second.enter(80)
    third.enter(10)  # there would be room for it, but it is not its turn
    assert (second.reads, third.reads) == (False, False)

    house.intake.leave(first)

    assert (second.reads, third.reads) == (True, True)
    assert house.intake.used == 90
    house.intake.close()


async def test_whoever_leaves_twice_or_before_its_turn_takes_nothing_with_it() -> None:
    house = House()
    first, second = house.body(), house.body()
    first.enter(100)
    second.enter(100)
    house.intake.leave(second)
    house.intake.leave(first)
    house.intake.leave(first)

    assert house.intake.used == 0
    assert not second.reads
    house.intake.close()


async def test_a_body_that_has_come_anyway_is_counted_once() -> None:
    house = House()
    first, second, third = house.body(), house.body(held=7), house.body(held=9)
    first.enter(100)
    second.enter(50)

    house.intake.squeeze_in(second)
    house.intake.squeeze_in(second)
    house.intake.squeeze_in(third)

    assert house.intake.used == 116
    for each in (first, second, third):
        house.intake.leave(each)
    assert house.intake.used == 0
    house.intake.close()


async def test_many_that_leave_at_once_do_not_recurse() -> None:
    house = House()
    first = house.body()
    first.enter(100)
    rest = [house.body(hurries=True) for _ in range(5000)]
    for each in rest:
        each.enter(100)

    house.intake.leave(first)

    assert all(each.reads for each in rest)
    assert house.intake.used == 0
    house.intake.close()


@pytest.mark.looptime
async def test_a_slow_client_keeps_no_more_room_than_it_fills() -> None:
    house = House()
    slow, other = house.body(held=5), house.body()
    slow.enter(100)
    other.enter(90)

    await asyncio.sleep(SLOW * 2 + 0.01)

    assert other.reads
    assert house.intake.used == 95
    house.intake.close()


@pytest.mark.looptime
async def test_a_crowd_is_told_when_somebody_waits_and_when_nobody_has_for_a_while() -> None:
    house = House()
    first, second = house.body(held=100), house.body()
    first.enter(100)
    assert house.crowds == []
    second.enter(1)
    assert house.crowds == [True]
    house.intake.leave(first)
    await asyncio.sleep(SLOW + 0.01)

    assert house.crowds == [True, False]
