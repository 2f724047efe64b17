"""A stage with several endpoints, each from zero: `a` is at host `a.example`, and so on.

    async with town("a", "b", concurrency=1) as t:
        reply = await t.get("/x", at="a")

Replicas are in-process servers that scripted drivers start; what counts as left behind at the end
is `stage`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from activator.app import App
from activator.config.settings import load
from tests.replica import PROBE_PATH, Replica, hello
from tests.scripted import ScriptedDriver
from tests.stage import Stage, request
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    from activator.app.stores import Times
    from activator.control.controller import Controller
    from activator.core.status import EndpointStatus
    from activator.drivers.base import Driver
    from activator.upstream.registry import LiveEndpoint
    from tests.rawclient import Reply
    from tests.replica import Behaviour, Talk

T = TypeVar("T")

UPGRADE = request(
    "/socket",
    headers={
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    },
    host="a.example",
)
"""Opens a WebSocket at endpoint `a`."""


class Town(Stage):
    """See the module; made by `town`."""

    def __init__(self, folder: Path, *, behave: Behaviour, config: dict[str, Any]) -> None:
        super().__init__(folder, replicas=[], config=config)
        self.behave = behave
        """Of replicas that start from now on."""
        self.starts_ready = True
        """False: replicas that start from now on answer their probe with 503."""
        self.drivers: dict[str, Driver] = {}
        self.by_id: dict[str, Replica] = {}

    # --- the parts of one endpoint

    def driver_of(self, name: str) -> ScriptedDriver:
        driver = self.drivers[name]
        assert isinstance(driver, ScriptedDriver)
        return driver

    def live_of(self, name: str) -> LiveEndpoint:
        return self.app.registry[name]

    def control_of(self, name: str) -> Controller:
        control = self.app.supervisor.get(name)
        assert control is not None
        return control

    def status_of(self, name: str) -> EndpointStatus:
        status = self.app.operations.endpoint(name)
        assert status is not None
        return status

    def replicas_of(self, name: str) -> list[Replica]:
        """Every one so far, oldest first."""
        return [each for id_, each in self.by_id.items() if id_.rpartition("-")[0] == name]

    def orders(self, name: str) -> list[int]:
        return [call.replicas for call in self.driver_of(name).calls]

    def actions(self, name: str) -> list[str]:
        return [event.action for event in self.app.events.since(0) if event.endpoint == name]

    def build_driver(self, name: str) -> ScriptedDriver:
        """A driver for an endpoint that the file is going to name (anew)."""

        async def start(replica_id: str) -> tuple[str, int]:
            replica = self.by_id[replica_id] = Replica(self.behave)
            replica.ready = self.starts_ready
            await replica.start()
            self.replicas.append(replica)
            return replica.host, replica.port

        async def stop(replica_id: str) -> None:
            if replica_id in self.by_id:
                await self.by_id[replica_id].stop()

        driver = self.drivers[name] = ScriptedDriver(name, factory=start, dispose=stop)
        return driver

    # --- what clients do

    async def get(
        self,
        target: str = "/",
        *,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        at: str = "a",
        within: float = 5.0,
    ) -> Reply:
        raw = request(target, method=method, headers=headers, host=f"{at}.example")
        return await self.ask(raw, within=within)

    # --- what a test waits for

    async def until_state(self, state: str, *, of: str = "a", within: float = 5.0) -> None:
        await eventually(lambda: self.status_of(of).state == state, within=within)

    async def until_zero(self, *names: str, within: float = 5.0) -> None:
        """Each of these has gone back to no replica at all, and wants none."""

        def left() -> list[EndpointStatus]:
            told = [self.status_of(name) for name in names]
            at_zero = ("inactive", "failed")
            return [each for each in told if each.state not in at_zero or each.replicas]

        deadline = asyncio.get_running_loop().time() + within
        while still := left():
            assert asyncio.get_running_loop().time() < deadline, still
            await asyncio.sleep(0.005)

    async def reloaded(self, config: dict[str, Any] | None = None) -> None:
        """Rewrites the file and waits until it was taken up or refused."""
        before = self.app.operations.config_status()
        self.rewrite(config)
        await eventually(lambda: self.app.operations.config_status() is not before)


def spawn(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Something that goes on while the test looks; the test waits for it."""
    return asyncio.get_running_loop().create_task(work)


async def echo(talk: Talk) -> None:
    """Switches protocols and sends back what it gets."""
    await talk.body()
    talk.send(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    while data := await talk.reader.read(1024):
        talk.send(data)
    await talk.close()


def endpoint(name: str, **keys: Any) -> dict[str, Any]:
    """An endpoint as the file says it; `keys` over what every test wants."""
    return {
        "name": name,
        "match": {"hosts": [f"{name}.example"]},
        "backend": {"type": "process", "command": ["never-started", "{port}"]},
        "probe": {"path": PROBE_PATH, "interval": "10ms"},
        **keys,
    }


@contextlib.asynccontextmanager
async def town(
    *names: str,
    behave: Behaviour = hello,
    server: Mapping[str, Any] | None = None,
    endpoints: list[dict[str, Any]] | None = None,
    scripted: bool = True,
    checked: bool = True,
    root: Mapping[str, Any] | None = None,
    times: Times | None = None,
    **keys: Any,
) -> AsyncIterator[Town]:
    """An activator with these endpoints, all with the same `keys`; or with `endpoints` as given.

    `scripted` False: the drivers are the real ones. `root`: further sections of the file. `times`:
    as App's.
    """
    before = asyncio.all_tasks()
    made = endpoints
    if made is None:
        made = [endpoint(name, **keys) for name in names or ("a",)]
    listen = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0, **(server or {})}
    async with contextlib.AsyncExitStack() as endings:
        folder = Path(endings.enter_context(tempfile.TemporaryDirectory()))
        config = {"server": listen, "endpoints": made, **(root or {})}
        t = Town(folder, behave=behave, config=config)
        endings.push_async_callback(t.close)
        t.rewrite()
        for each in made if scripted else ():
            t.build_driver(each["name"])
        t.app = App(load(t.path), drivers=t.drivers, times=times)
        await t.app.start()
        yield t
        if checked and not t.stopped:
            await t.at_rest()
    failures = [failure for replica in t.replicas for failure in replica.failures]
    assert not failures, failures
    if checked:
        await eventually(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})
        assert t.proxy.connections == 0
