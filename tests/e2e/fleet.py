"""Activators as processes, with the rights of a service account and no others.

    async with fleet(space, count=3, idle_timeout="1s") as activators:
        reply = await activators[0].get("/x")

They run as `activator serve` does for anybody; several of them share a Redis of the test's own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from activator.aiokit.tasks import Tasks
from tests.e2e.manifests import NAME
from tests.rawclient import Cut
from tests.redis_server import redis_server
from tests.several import Activator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.e2e.api import Access, Json
    from tests.e2e.space import Space
    from tests.rawclient import Reply

ACCOUNT = "activator"

ROLE = Path(__file__).parents[2] / "deploy" / "kubernetes" / "rbac" / "namespace" / "role.yaml"


class Fleet(list[Activator]):
    """Those that have been started, also the ones that have ended since."""

    def __init__(self, folder: Path, *, kubeconfig: Path, config: Json) -> None:
        super().__init__()
        self._folder = folder
        self._kubeconfig = kubeconfig
        self._tasks = Tasks("fleet")
        self.path = folder / "activator.yaml"
        self.path.write_text(yaml.safe_dump(config), encoding="utf-8")

    async def start(self, count: int = 1) -> list[Activator]:
        """So many more, all at the same time."""
        made = [await self._spawn() for _ in range(count)]
        self.extend(made)
        for each in made:
            await each.listens()
        return made

    async def _spawn(self) -> Activator:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "activator", "serve", "-c", str(self.path)),
            *("--log-format", "json"),
            env={**os.environ, "KUBECONFIG": str(self._kubeconfig)},
            stdin=DEVNULL,
            stderr=PIPE,
            limit=1 << 20,
        )
        return Activator(process, self._tasks)

    async def leader(self, *, within: float = 20.0, other_than: int = 0) -> Activator:
        """The one that leads, once one does; `other_than` this pid."""
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            for each in self:
                if each.runs and each.pid != other_than and await each.leads():
                    return each
            await asyncio.sleep(0.05)
        raise AssertionError("nobody leads")

    async def burst(self, count: int, *, within: float = 30.0) -> list[Reply]:
        """So many requests at once, going round the activators."""
        async with asyncio.TaskGroup() as asking:
            asked = [
                asking.create_task(self[number % len(self)].get(f"/{number:03}", within=within))
                for number in range(count)
            ]
        return [each.result() for each in asked]

    async def held(self, name: str = NAME) -> int:
        """Requests that wait, over all activators that run."""
        told = [
            (await each.ask_admin(f"/api/endpoints/{name}")).json()["held"]
            for each in self
            if each.runs
        ]
        return sum(told)

    async def until_held(self, count: int, *, within: float = 10.0) -> None:
        deadline = asyncio.get_running_loop().time() + within
        while (now := await self.held()) != count:
            assert asyncio.get_running_loop().time() < deadline, f"{now} are held, not {count}"
            await asyncio.sleep(0.01)

    async def until_ready(self, count: int, *, within: float = 10.0) -> None:
        """So many replicas, as far as the first one knows."""
        deadline = asyncio.get_running_loop().time() + within
        while True:
            phases = [each["phase"] for each in (await self.status())["replicas"]]
            if phases.count("ready") == count:
                return
            assert asyncio.get_running_loop().time() < deadline, f"not {count} ready: {phases}"
            await asyncio.sleep(0.01)

    async def until_in_flight(self, count: int, *, within: float = 10.0) -> None:
        """At the first one's replicas."""
        deadline = asyncio.get_running_loop().time() + within
        while (now := (await self.status())["in_flight"]) != count:
            assert asyncio.get_running_loop().time() < deadline, f"{now} in flight, not {count}"
            await asyncio.sleep(0.01)

    async def status(self, name: str = NAME) -> Json:
        """Of an endpoint, as the first one's admin port tells it."""
        return (await self[0].ask_admin(f"/api/endpoints/{name}")).json()

    async def tell_what_happened(self) -> None:
        """For whoever reads why a test failed."""
        for each in self:
            print(f"--- activator {each.pid}, {'runs' if each.runs else 'has ended'}")
            with contextlib.suppress(Cut, OSError, TimeoutError):
                print((await each.ask_admin("/api/endpoints")).body.decode())
            for record in each.log[-80:]:
                print("   ", record)

    async def aclose(self) -> None:
        for each in self:
            await each.aclose()
        await self._tasks.aclose()


def endpoint(
    namespace: str, *, name: str = NAME, kind: str = "Deployment", service: str = "", **keys: Any
) -> Json:
    """`keys` as in the file."""
    backend = {"type": "kubernetes", "namespace": namespace, "target": f"{kind}/{name}"}
    backend |= {"port": "http"} | ({"service": service} if service else {})
    match = {"paths": [f"/{name}"]} if name != NAME else {}
    probe = {"path": "/health", "interval": "50ms"}
    made: Json = {"name": name, "backend": backend, "probe": probe, **keys}
    return made | ({"match": match} if match else {})


@contextlib.asynccontextmanager
async def fleet(
    space: Space,
    *,
    count: int = 1,
    access: Access | None = None,
    endpoints: Sequence[Json] | None = None,
    root: Json | None = None,
    server: Json | None = None,
    **keys: Any,
) -> AsyncIterator[Fleet]:
    """`keys` of the one endpoint, unless `endpoints` are given; `access`: of another account than
    the one with the project's own role; `root`: further sections of the file; `server`: keys of
    that one."""
    if access is None:
        access = await space.account(ACCOUNT, rules=rules())
    async with contextlib.AsyncExitStack() as endings:
        folder = Path(endings.enter_context(tempfile.TemporaryDirectory()))
        listen = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0"}
        config: Json = {
            "server": {**listen, "drainDelay": 0, "shutdownGrace": "20s", **(server or {})},
            "endpoints": [endpoint(space.name, **keys)] if endpoints is None else list(endpoints),
            **(root or {}),
        }
        if count > 1:
            redis = endings.enter_context(redis_server())
            config["store"] = {"url": redis.url}
        kubeconfig = access.write_kubeconfig(folder / "kubeconfig")
        activators = Fleet(folder, kubeconfig=kubeconfig, config=config)
        endings.push_async_callback(activators.aclose)
        await activators.start(count)
        try:
            yield activators
        except BaseException:
            await activators.tell_what_happened()
            raise


def rules() -> list[Json]:
    """Those of the project's own role."""
    found: list[Json] = yaml.safe_load(ROLE.read_text(encoding="utf-8"))["rules"]
    return found
