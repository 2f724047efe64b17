"""Where the Docker driver is tested: a scripted engine, and this machine's own if it has one."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.endpoint import DockerBackend
from activator.drivers.docker import DockerDriver
from activator.drivers.docker_engine import Engine
from activator.drivers.docker_existing import ExistingContainerDriver
from tests.docker_engine import Program, scripted_engine
from tests.docker_here import IMAGE, VOLUMES, docker_here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

RUNS = ("sleep", "60")
FAILS = ("sh", "-c", "echo one; sleep 0.1; echo two >&2; exit 3")
PRINTS = ("sh", "-c", "echo loading; sleep 60")
MISSING = ("no-such-program",)
PROGRAMS = {
    FAILS: Program(prints=((1, "one"), (2, "two")), exits=3),
    PRINTS: Program(prints=((1, "loading"),)),
    MISSING: Program(start_error='exec: "no-such-program": executable file not found in $PATH'),
}


@dataclass
class Place:
    """An engine, and what a test needs to know of it."""

    address: str
    image: str
    volumes: tuple[str, ...] = ()
    instance: str = field(default_factory=lambda: f"test-{secrets.token_hex(4)}")

    def driver(self, *command: str, **settings: Any) -> DockerDriver:
        backend = DockerBackend(
            image=self.image,
            port=8000,
            command=command,
            volumes=self.volumes,
            stop_grace=0.0,
            engine=self.address,
            **settings,
        )
        return DockerDriver("m", backend, instance=self.instance)

    def existing(self, name: str) -> ExistingContainerDriver:
        backend = DockerBackend(container=name, port=8000, stop_grace=0.0, engine=self.address)
        return ExistingContainerDriver("m", backend)

    async def containers(self) -> list[str]:
        """Names of what the drivers have made here."""
        engine = Engine(self.address)
        try:
            found = await engine.containers(f"activator.instance={self.instance}")
            return sorted(name.lstrip("/") for each in found for name in each["Names"])
        finally:
            await engine.aclose()

    @contextlib.asynccontextmanager
    async def person(self) -> AsyncIterator[Engine]:
        engine = Engine(self.address)
        try:
            yield engine
        finally:
            await engine.aclose()

    @contextlib.asynccontextmanager
    async def created(self, *command: str) -> AsyncIterator[str]:
        """The name of a container that a person has made; removed afterwards."""
        async with self.person() as engine:
            body = {
                "Image": self.image,
                "Cmd": list(command),
                "HostConfig": {"Binds": list(self.volumes)},
            }
            made = await engine.create(f"{self.instance}-own", body)
            try:
                yield f"{self.instance}-own"
            finally:
                await engine.remove(made)


@contextlib.asynccontextmanager
async def a_place(kind: str, directory: Path) -> AsyncIterator[Place]:
    if kind == "scripted":
        async with scripted_engine(directory) as engine:
            engine.programs.update(PROGRAMS)
            yield Place(engine.address, "model:1")
        return
    here = docker_here()
    if here is None:
        pytest.skip("no Docker engine listens on this machine")
    await here.make_image()
    yield Place(here.address, IMAGE, VOLUMES)
