"""Activators over one (scripted) Docker engine: one set of containers, and none is stopped under
what any of them has."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tests.docker_engine import scripted_engine
from tests.several import several
from tests.support import eventually
from tests.town import spawn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.docker_engine import Container, ScriptedEngine
    from tests.rawclient import Reply
    from tests.several import Several

IDLE = 0.2
REQUESTS = 30


class Models:
    """What listens at the containers' addresses: all of 127/8 is this machine."""

    def __init__(self, engine: ScriptedEngine) -> None:
        self.engine = engine
        self.port = 0
        self.in_flight: Counter[str] = Counter()
        self.wrongs: list[str] = []
        """Requests that came to a container that was not running, or ended at one."""
        self.free = asyncio.Event()

    def at(self, address: str) -> Container | None:
        found = (each for each in self.engine.containers.values() if each.address == address)
        return next(found, None)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = writer.get_extra_info("sockname")[0]
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    await self._answer(head.split(b" ", 2)[1], address, writer)
        finally:
            writer.close()

    async def _answer(self, target: bytes, address: str, writer: asyncio.StreamWriter) -> None:
        if target == b"/ready":
            runs = self._runs(address)
            status = b"200 OK" if runs else b"503 Not Now"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n" % status)
            return
        if not self._runs(address):
            self.wrongs.append(f"{target!r} came to {address}")
        if target == b"/wait":
            await self.free.wait()
        if not self._runs(address):
            self.wrongs.append(f"{target!r} was cut at {address}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n%9b" % address[-9:].encode())

    def _runs(self, address: str) -> bool:
        container = self.at(address)
        return container is not None and container.status == "running"


@contextlib.asynccontextmanager
async def harbour(count: int) -> AsyncIterator[tuple[Several, Models]]:
    with TemporaryDirectory() as folder:
        async with scripted_engine(Path(folder)) as engine:
            models = Models(engine)
            server = await asyncio.start_server(models.serve, "0.0.0.0", 0)
            models.port = server.sockets[0].getsockname()[1]
            backend = {
                "type": "docker",
                "image": "model:1",
                "engine": engine.address,
                "port": models.port,
            }
            scale = {"idleTimeout": f"{IDLE}s"}
            try:
                async with several(count, own=True, backend=backend, scale=scale) as s:
                    yield s, models
            finally:
                models.free.set()
                server.close()


def running(models: Models) -> list[str]:
    return [each.id for each in models.engine.containers.values() if each.status == "running"]


async def test_requests_that_race_the_idle_moment_are_all_served() -> None:
    dice = Random(7)
    async with harbour(2) as (s, models):
        replies: list[Reply] = []
        while len(replies) < REQUESTS:
            burst = [
                spawn(dice.choice(s.activators).get("/x", within=20.0))
                for _ in range(dice.choice([1, 1, 2, 5]))
            ]
            replies += await asyncio.gather(*burst)
            await asyncio.sleep(IDLE + dice.uniform(-0.01, 0.04))

        assert Counter(reply.status for reply in replies) == {200: len(replies)}
        assert models.wrongs == []
        assert len(models.engine.bodies) > 3  # it has slept in between
        await eventually(lambda: not models.engine.containers, within=10.0)


async def test_whoever_comes_and_goes_there_is_one_container_and_what_is_under_way_is_served() -> (
    None
):
    async with harbour(2) as (s, models):
        one, other = s.activators
        woken = await asyncio.gather(*(each.get("/x", within=20.0) for each in s.activators))
        assert {reply.status for reply in woken} == {200}
        long = spawn(other.get("/wait", within=60.0))
        await eventually(lambda: len(running(models)) == 1)
        [container] = running(models)
        owner = one if await one.logged_by_now("owned") else other

        if owner is one:
            one.process.kill()
        else:
            one.tell(signal.SIGTERM)
        await one.ended()
        (late,) = await s.start(1)
        assert (await late.get("/x", within=20.0)).status == 200
        assert running(models) == [container]
        assert len(models.engine.bodies) == 1

        models.free.set()
        assert (await long).status == 200
        assert models.wrongs == []
        await eventually(lambda: not models.engine.containers, within=20.0)


async def test_an_owner_that_is_killed_while_the_engine_is_away_leaves_what_runs_in_use() -> None:
    async with harbour(2) as (s, models):
        one, other = s.activators
        assert (await one.get("/x", within=20.0)).status == 200
        long = spawn(other.get("/wait", within=60.0))
        await eventually(lambda: len(running(models)) == 1)
        [container] = running(models)
        owner = one if await one.logged_by_now("owned") else other
        left = other if owner is one else one
        if owner is other:
            models.free.set()
            assert (await long).status == 200
            models.free.clear()
            long = spawn(one.get("/wait", within=60.0))
        await models.engine.stop()

        owner.process.kill()
        await owner.ended()
        await left.until_logged("owned")
        (late,) = await s.start(1)
        for each in (left, late, left, late):
            assert (await each.get("/x", within=20.0)).status == 200
        assert running(models) == [container]

        await models.engine.start()
        await left.until_logged("engine_back")
        assert (await late.get("/x", within=20.0)).status == 200
        assert running(models) == [container]
        assert len(models.engine.bodies) == 1
        models.free.set()
        assert (await long).status == 200
        assert models.wrongs == []
        assert not await left.logged_by_now("start_failed")
        await eventually(lambda: not models.engine.containers, within=20.0)
