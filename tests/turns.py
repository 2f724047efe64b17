"""Activator processes that take turns by a Lease, in front of a scripted cluster.

    async with turns(2) as t:
        serving, other = await t.roles()

API server, controllers and replicas live in the test's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from activator.aiokit.tasks import Tasks
from tests.fork_server import forked
from tests.kube_controllers import running_cluster, workload
from tests.kube_server import kubeconfig
from tests.replica import PROBE_PATH, Replica, hello
from tests.several import Activator
from tests.stage import NAME
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.kube_controllers import Controllers
    from tests.kube_server import KubeServer, Object
    from tests.replica import Behaviour

WITHIN = 60.0
"""Seconds for everything that happens in one test."""
BACKEND = {"type": "kubernetes", "namespace": "models", "target": "Deployment/m", "port": "http"}


class Turns:
    """See the module; made by `turns`."""

    def __init__(
        self, server: KubeServer, controllers: Controllers, folder: Path, *, behave: Behaviour
    ) -> None:
        self.server = server
        self.folder = folder
        self.behave = behave
        self.replicas: list[Replica] = []
        self.activators: list[Activator] = []
        self.tasks = Tasks("turns")
        controllers.serve = self._serve

    async def _serve(self, pod: str) -> tuple[str, int]:
        replica = Replica(self.behave)
        self.replicas.append(replica)
        await replica.start()
        return replica.host, replica.port

    async def start(self, count: int) -> None:
        """So many, at the same time, until one of them serves."""
        made = [await self._spawn() for _ in range(count)]
        for each in made:
            await each.listens()
        await self.serving()

    async def _spawn(self) -> Activator:
        process = await forked(
            *("tests.activator_process", str(self.folder / "activator.yaml"), "-", "0"),
            environ={"KUBECONFIG": str(self.folder / "kubeconfig")},
        )
        self.activators.append(Activator(process, self.tasks))
        return self.activators[-1]

    async def serving(
        self, *, other_than: Activator | None = None, within: float = 10.0
    ) -> Activator:
        """The one that is ready, once one is."""
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            for each in self.activators:
                if each.runs and each is not other_than and await is_ready(each):
                    return each
            await asyncio.sleep(0.02)
        raise AssertionError(f"nobody serves: {[each.log[-5:] for each in self.activators]}")

    async def roles(self) -> tuple[Activator, Activator]:
        """Of two: the one that serves, and the other."""
        serving = await self.serving()
        (other,) = (each for each in self.activators if each is not serving)
        return serving, other

    @property
    def workload(self) -> Object:
        return self.server.get("deployments", NAME)

    @property
    def count(self) -> int:
        found = self.workload["spec"]["replicas"]
        assert isinstance(found, int)
        return found

    @property
    def orders(self) -> list[int]:
        """Every count that was asked for, by whomever, refused or not."""
        asked = self.server.patches("deployments/scale")
        return [each.body[-1]["value"] for each in asked]

    async def until_count(self, count: int, *, within: float = 10.0) -> None:
        await eventually(lambda: self.count == count, within=within)

    async def aclose(self) -> None:
        for each in self.activators:
            await each.aclose()
        await self.tasks.aclose()
        for replica in self.replicas:
            await replica.stop()


async def is_ready(activator: Activator) -> bool:
    return (await activator.ask_admin("/readyz")).status == 200


@contextlib.asynccontextmanager
async def turns(
    count: int, *, behave: Behaviour = hello, grace: str = "5s", **endpoint: Any
) -> AsyncIterator[Turns]:
    """One of them serves when this begins. `endpoint`: keys of the one endpoint as in the file;
    `grace`: `server.shutdownGrace`."""
    async with asyncio.timeout(WITHIN), contextlib.AsyncExitStack() as endings:
        folder = Path(endings.enter_context(tempfile.TemporaryDirectory()))
        server, controllers = await endings.enter_async_context(running_cluster())
        server.put("deployments", workload(NAME))
        kubeconfig(folder, server.port)
        one = {"name": NAME, "backend": BACKEND, "probe": {"path": PROBE_PATH, "interval": "20ms"}}
        listen = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0}
        config = {
            "server": {**listen, "shutdownGrace": grace},
            "store": {"url": "memory+lease://models/activator"},
            "endpoints": [{**one, **endpoint}],
        }
        (folder / "activator.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        t = Turns(server, controllers, folder, behave=behave)
        endings.push_async_callback(t.aclose)
        await t.start(count)
        try:
            yield t
        except BaseException:
            for each in t.activators:
                print(f"--- activator {each.pid}, {'runs' if each.runs else 'has ended'}")
                for record in each.log[-40:]:
                    print("   ", {key: value for key, value in record.items() if value != "info"})
            raise
