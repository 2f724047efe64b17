"""What is learned of endpoints is kept, and told to whoever is new."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from activator.control.keeper import Keeper
from activator.errors import StoreUnavailable
from tests.slicing import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(slots=True, eq=False)
class Pupil:
    lessons: list[str] = field(default_factory=list)


class Desk:
    """A keeper, looked at when a test says so, beside the store it keeps things in."""

    def __init__(self, **pupils: Pupil) -> None:
        self.pupils: dict[str, Pupil] = pupils
        self.recalled: list[str] = []
        self.noted: list[str] = []
        self.away = False
        self.broken = ""
        self.looked: Callable[[], None] = lambda: None
        self.keeper: Keeper[Pupil] = Keeper(
            "lessons",
            current=lambda: self.pupils,
            recall=self._recall,
            has_news=self._has_news,
            note=self._note,
        )

    def _has_news(self, pupil: Pupil) -> bool:
        self.looked()
        return bool(pupil.lessons)

    async def _recall(self, new: Mapping[str, Pupil]) -> None:
        self._answer()
        self.recalled += new

    async def _note(self, name: str, pupil: Pupil) -> None:
        if name == self.broken:
            raise RuntimeError("a bug")
        while pupil.lessons:
            self._answer()
            self.noted.append(f"{name}: {pupil.lessons.pop(0)}")

    def _answer(self) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")


async def test_who_is_new_is_told_once_what_is_noted() -> None:
    desk = Desk(a=Pupil())
    await desk.keeper.tick()
    desk.pupils["b"] = Pupil()
    await desk.keeper.tick()
    await desk.keeper.tick()

    assert desk.recalled == ["a", "b"]


async def test_who_takes_anothers_place_is_told_anew() -> None:
    desk = Desk(a=Pupil())
    await desk.keeper.tick()
    desk.pupils["a"] = Pupil()
    await desk.keeper.tick()

    assert desk.recalled == ["a", "a"]


async def test_who_comes_while_others_are_told_is_told_next() -> None:
    desk = Desk(a=Pupil())

    async def recall(new: Mapping[str, Pupil]) -> None:
        desk.pupils.setdefault("b", Pupil())
        desk.recalled += new

    desk.keeper._recall = recall
    await desk.keeper.tick()
    assert desk.recalled == ["a"]
    await desk.keeper.tick()

    assert desk.recalled == ["a", "b"]


async def test_who_has_learned_nothing_is_not_gone_to() -> None:
    desk = Desk(a=Pupil(), b=Pupil(["first"]), c=Pupil())
    gone_to: list[str] = []

    async def note(name: str, pupil: Pupil) -> None:
        gone_to.append(name)
        pupil.lessons.clear()

    desk.keeper._note = note
    await desk.keeper.tick()
    await desk.keeper.tick()

    assert gone_to == ["b"]


async def test_what_the_store_did_not_take_is_given_again() -> None:
    desk = Desk(a=Pupil(["first"]))
    desk.away = True
    with pytest.raises(StoreUnavailable):
        await desk.keeper.tick()
    desk.away = False
    await desk.keeper.tick()

    assert desk.recalled == ["a"]
    assert desk.noted == ["a: first"]


async def test_the_last_lesson_is_noted_at_the_end() -> None:
    pupil = Pupil()
    desk = Desk(a=pupil)
    await desk.keeper.tick()
    pupil.lessons.append("last")

    await desk.keeper.aclose()

    assert desk.noted == ["a: last"]


async def test_one_that_cannot_be_noted_does_not_keep_the_others_from_it() -> None:
    desk = Desk(a=Pupil(["first"]), b=Pupil(["second"]), c=Pupil(["third"]))
    desk.broken = "b"
    with pytest.raises(RuntimeError):
        await desk.keeper.tick()
    assert desk.noted == ["a: first", "c: third"]

    desk.broken = ""
    await desk.keeper.tick()
    assert desk.noted[2:] == ["b: second"]


async def test_however_many_are_looked_at_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk(**{f"p{number}": Pupil() for number in range(50)})
    await desk.keeper.tick()
    with counted(monkeypatch) as turns:
        desk.looked = turns.step
        await desk.keeper.tick()

    assert turns.steps == 50
    assert turns.longest == 1
