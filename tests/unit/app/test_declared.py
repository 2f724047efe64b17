"""Endpoints of the file and of objects in a cluster, put together as both change."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, cast

import pytest
import yaml

from activator.app import declared
from activator.app.declared import DeclaredEndpoints
from activator.config.annotations import read_declaration
from activator.config.settings import load
from activator.core.declarations import Declaration
from activator.telemetry.events import EventLog
from tests.faults import Faulty, failures
from tests.slicing import Turns, counted
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from activator.aiokit.slices import Slices
    from activator.app.cluster import OneCluster
    from activator.app.operations import AppOperations
    from activator.core.endpoint import Endpoint


class Source:
    """In the cluster's place: what objects of namespace `models` say, as a test has them."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._objects: list[str] = []
        self.is_known = False
        self.told: list[str] = []
        self.looked: Callable[[], None] = lambda: None

    def say(self, *names: str) -> None:
        self._objects = list(names)
        self.is_known = True
        self._changed()

    def follow(self, namespaces: Iterable[str]) -> None:
        assert list(namespaces) == ["models"]

    def declarations(self) -> Iterator[Declaration]:
        for name in self._objects:
            self.looked()
            said = (("enabled", "true"), ("hosts", f"{name}.models.test"), ("port", "8000"))
            yield Declaration("apps/v1", "Deployment", "models", name, f"uid-{name}", "", said)

    def tell(self, declaration: Declaration, *, reason: str, **_said: Any) -> None:
        self.told.append(f"{declaration.name}: {reason}")

    def close(self) -> None:
        return


class Desk:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "activator.yaml"
        self.applied: list[list[str]] = []
        self.problems: list[str] = []
        self.sources: list[Source] = []
        self.may_apply = asyncio.Event()
        self.may_apply.set()
        self.declared = DeclaredEndpoints(
            apply=self.apply,
            operations=cast("AppOperations", self),
            events=EventLog(),
            cluster=lambda: cast("OneCluster", self),
        )

    async def apply(self, endpoints: Sequence[Endpoint], *, slices: Slices | None = None) -> None:
        self.applied.append([endpoint.name for endpoint in endpoints])
        await self.may_apply.wait()

    def note_declarations(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)

    def make_source(self, changed: Callable[[], None]) -> Source:
        self.sources.append(Source(changed))
        return self.source

    @property
    def source(self) -> Source:
        (source,) = self.sources
        return source

    async def take(self, *names: str) -> None:
        backend = {"type": "static", "urls": ["http://127.0.0.1:1"]}
        allow = {"models": {"hosts": ["*.models.test"], "models": ["*"]}}
        config = {
            "sources": {"kubernetes": {"namespaces": ["models"], "allow": allow}},
            "endpoints": [
                {"name": name, "match": {"hosts": [f"{name}.test"]}, "backend": backend}
                for name in names
            ],
        }
        self.path.write_text(yaml.safe_dump(config), encoding="utf-8")
        await self.declared.take(load(self.path))


@pytest.fixture(autouse=True)
def gather_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(declared, "_GATHER", 0.0)


@contextlib.asynccontextmanager
async def desk(folder: Path, *names: str) -> AsyncIterator[Desk]:
    made = Desk(folder)
    await made.take(*names)
    try:
        yield made
    finally:
        await made.declared.aclose()


async def test_it_is_ready_when_what_the_cluster_declares_is_in_force(tmp_path: Path) -> None:
    async with desk(tmp_path, "a") as d:
        assert d.applied == [["a"]]
        assert d.declared.why_not_ready is not None
        d.may_apply.clear()
        d.source.say("one")
        await eventually(lambda: d.applied[1:])
        assert d.declared.why_not_ready is not None
        d.may_apply.set()
        await eventually(lambda: d.declared.why_not_ready is None)

        assert d.applied == [["a"], ["a", "models.one"]]


async def test_what_comes_while_another_change_is_taken_up_waits_for_it(tmp_path: Path) -> None:
    async with desk(tmp_path, "a") as d:
        d.may_apply.clear()
        d.source.say("one")
        await eventually(lambda: d.applied[1:])
        taking = asyncio.get_running_loop().create_task(d.take("a", "b"))
        d.source.say("one", "two")
        for _ in range(20):
            await asyncio.sleep(0)
        assert d.applied[2:] == []
        d.may_apply.set()
        await taking

        await eventually(lambda: d.applied[-1] == ["a", "b", "models.one", "models.two"])


async def test_what_met_a_fault_of_ours_halfway_is_taken_up_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with desk(tmp_path, "a") as d:
        faulty = Faulty(monkeypatch, d.declared, "_apply", times=2)
        d.source.say("one")
        await eventually(lambda: d.applied[1:])

        assert faulty.failed == 2
        assert d.applied[1] == ["a", "models.one"]
        assert failures(caplog) == ["declared/follow"] * 2


async def test_objects_that_say_the_same_change_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path, "a") as d:
        d.source.say("one", "two")
        await eventually(lambda: d.applied[1:])
        looks = 0

        def looked() -> None:
            nonlocal looks
            looks += 1

        d.source.looked = looked
        d.source.say("one", "two")
        await eventually(lambda: looks == 2)
        d.source.say("two")
        await eventually(lambda: d.applied[2:])

        assert d.applied[2:] == [["a", "models.two"]]


async def test_however_many_there_are_others_have_their_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [f"n{number}" for number in range(50)]
    turns = Turns()

    def reads(*args: Any, **named: Any) -> Endpoint:
        turns.step()
        return read_declaration(*args, **named)

    monkeypatch.setattr(declared, "read_declaration", reads)
    async with desk(tmp_path, "a") as d:
        with counted(monkeypatch) as turns:
            d.source.looked = turns.step
            d.source.say(*many)
            await eventually(lambda: d.applied[1:])

        assert len(d.applied[1]) == 51
        assert turns.steps == 2 * 50  # looked at, and read
        assert turns.longest <= 2
