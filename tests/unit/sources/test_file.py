"""A file that changes, breaks, is mended, replaced or swapped by a link, and what is told of it."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.tasks import Tasks
from activator.config.settings import load
from activator.sources.file import FileSource, FileWatch
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from activator.config.settings import Settings
    from activator.sources.base import Source

POLL = 0.01


def declare(*names: str) -> str:
    lines = ["endpoints:"]
    for name in names:
        lines.append(f"  - {{name: {name}, match: {{hosts: [{name}.test]}},")
        lines.append("     backend: {type: static, urls: [http://127.0.0.1:1]}}")
    return "\n".join(lines) + "\n"


def put(path: Path, text: str) -> None:
    """All at once: a reader never sees half of it."""
    fresh = path.with_suffix(".put")
    fresh.write_text(text)
    fresh.replace(path)


class Told:
    """What a source has told, in order: names of endpoints, or problems."""

    def __init__(self) -> None:
        self.names: list[list[str]] = []
        self.refusals: list[list[str]] = []

    async def changed(self, settings: Settings) -> None:
        self.names.append([endpoint.name for endpoint in settings.endpoints])

    def refused(self, problems: list[str]) -> None:
        self.refusals.append(problems)


@asynccontextmanager
async def running(path: Path, *, poll: float = POLL) -> AsyncIterator[tuple[Source, Told]]:
    told = Told()
    source: Source = FileSource(path, poll=poll)
    tasks = Tasks("test")
    tasks.spawn(source.run(told.changed, told.refused), name="source")
    try:
        await eventually(lambda: told.names or told.refusals)
        yield source, told
    finally:
        await tasks.aclose()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "activator.yaml"
    path.write_text(declare("a"))
    return path


async def test_tells_the_configuration_at_once(config: Path) -> None:
    async with running(config) as (_, told):
        assert told.names == [["a"]]


async def test_tells_a_change(config: Path) -> None:
    async with running(config) as (_, told):
        put(config, declare("a", "b"))
        await eventually(lambda: told.names[1:] == [["a", "b"]])


async def test_a_file_of_the_same_size_and_time_in_its_place_is_a_change(config: Path) -> None:
    async with running(config) as (_, told):
        fresh = config.with_suffix(".new")
        fresh.write_text(declare("b"))
        os.utime(fresh, ns=(0, config.stat().st_mtime_ns))
        fresh.replace(config)
        await eventually(lambda: told.names[1:] == [["b"]])


async def test_a_file_written_in_place_is_a_change(config: Path) -> None:
    async with running(config) as (_, told):
        config.write_text(declare("a", "b"))
        await eventually(lambda: ["a", "b"] in told.names)


async def test_a_swapped_symbolic_link_is_a_change_as_kubernetes_does_it(tmp_path: Path) -> None:
    for generation, name in (("1", "a"), ("2", "b")):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "activator.yaml").write_text(declare(name))
    (tmp_path / "..data").symlink_to("1")
    config = tmp_path / "activator.yaml"
    config.symlink_to("..data/activator.yaml")
    async with running(config) as (_, told):
        (tmp_path / "..next").symlink_to("2")
        (tmp_path / "..next").replace(tmp_path / "..data")
        await eventually(lambda: told.names[1:] == [["b"]])


async def test_an_invalid_change_is_refused_and_its_mending_told(config: Path) -> None:
    async with running(config) as (_, told):
        put(config, "endpoints: [{name: A}]\n")
        await eventually(lambda: told.refusals)
        put(config, declare("a"))
        await eventually(lambda: told.names[1:] == [["a"]])
    assert all(line.startswith(f"{config}:1: endpoints[0]") for line in told.refusals[0])


async def test_an_unchanged_broken_file_is_told_once(config: Path) -> None:
    put(config, "endpoints: 5\n")
    async with running(config) as (source, told):
        os.utime(config)
        source.poke()
        put(config, "endpoints: 55\n")
        put(config, "endpoints: six\n")
        put(config, "endpoint: 5\n")
        await eventually(lambda: len(told.refusals) == 2)
    assert told.refusals[0] != told.refusals[1]
    assert told.names == []


async def test_a_file_that_is_gone_is_refused_and_taken_up_when_it_is_back(config: Path) -> None:
    async with running(config) as (_, told):
        config.unlink()
        await eventually(lambda: told.refusals)
        put(config, declare("b"))
        await eventually(lambda: told.names[1:] == [["b"]])
    assert told.refusals == [[f"{config}: cannot be read: No such file or directory"]]


async def test_a_touched_file_that_says_the_same_is_not_told(config: Path) -> None:
    async with running(config) as (_, told):
        put(config, "# a comment\n" + declare("a"))
        await asyncio.sleep(0)
        put(config, declare("b"))
        await eventually(lambda: ["b"] in told.names)
    assert told.names == [["a"], ["b"]]


async def test_a_poke_looks_at_once_however_long_the_poll(config: Path) -> None:
    async with running(config, poll=3600.0) as (source, told):
        put(config, declare("b"))
        source.poke()
        await eventually(lambda: told.names[1:] == [["b"]])
        source.poke()
        await eventually(lambda: told.names[2:] == [["b"]])


async def test_a_watch_names_the_files_that_changed(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_text("1")
    watch = FileWatch([one, other], poll=POLL)
    other.write_text("new")
    async with asyncio.timeout(5):
        assert await watch.wait() == {other}
        one.write_text("longer")
        other.unlink()
        assert await watch.wait() == {one, other}


async def test_a_watch_knows_what_changed_before_it_was_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("1")
    watch = FileWatch([path], poll=3600.0)
    path.write_text("22")
    watch.poke()
    async with asyncio.timeout(5):
        assert await watch.wait() == {path}
        watch.poke()
        assert await watch.wait() == frozenset()


async def test_what_stays_as_it_was_is_told_as_the_same(config: Path) -> None:
    put(config, declare("a", "b"))
    told: list[Settings] = []

    async def changed(settings: Settings) -> None:
        told.append(settings)

    tasks = Tasks("test")
    source = FileSource(config, poll=POLL, known=load(config))
    tasks.spawn(source.run(changed, lambda _: None), name="source")
    try:
        await eventually(lambda: told)
        put(config, declare("a", "c", "b"))
        await eventually(lambda: told[1:])
        before, after = ({each.name: each for each in it.endpoints} for it in told[:2])
        assert after["a"] is before["a"]
        assert after["b"] is before["b"]
    finally:
        await tasks.aclose()
