"""A whole activator on real sockets, in front of scripted replicas: what scenarios are played on.

    async with stage(concurrency=1) as s:
        s.replica.behave = says(b"HTTP/1.1 204 No Content\r\n\r\n")
        reply = await s.get("/x")

It starts an `App` from a configuration file it writes, and when it ends it proves that nothing
was left behind: no task, no place in line, no slot, no byte held, no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from activator.app import App
from activator.config.settings import load
from activator.coordination.memory import MemoryLedger
from tests.rawclient import RawClient, Reply
from tests.replica import PROBE_PATH, Replica, hello
from tests.scripted import ScriptedDriver
from tests.support import eventually

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Mapping

    from activator.app.stores import Times
    from activator.drivers.base import Driver
    from activator.proxy.listener import Proxy
    from activator.upstream.gate import Gate
    from activator.upstream.registry import LiveEndpoint
    from tests.replica import Behaviour

WITHIN = 20.0
"""Seconds for everything that happens on a stage: a test that hangs fails."""

store: ContextVar[Mapping[str, Any] | None] = ContextVar("store", default=None)
"""The file's `store`, where a stage is not told its own; endpoints then have a limit, since slots
without one are nobody's to share."""

NAME = "m"
"""Of the endpoint that a stage has unless told otherwise."""


class Stage:
    """See the module; made by `stage`."""

    def __init__(self, folder: Path, *, replicas: list[Replica], config: dict[str, Any]) -> None:
        self.folder = folder
        self.config = config
        """What the file holds; change it and call `rewrite` to have it read again."""
        self.replicas = replicas
        self.path = folder / "activator.yaml"
        self.app: App
        self.driver: ScriptedDriver | None = None
        """With `from_zero`: what starts the replicas."""
        self.clients: list[RawClient] = []
        self.stopped = False

    # --- the parts

    @property
    def replica(self) -> Replica:
        """The first one; with `from_zero` the one that was started last."""
        return self.replicas[-1 if self.driver else 0]

    @property
    def live(self) -> LiveEndpoint:
        return self.app.registry[NAME]

    @property
    def proxy(self) -> Proxy:
        return self.app._proxy

    @property
    def port(self) -> int:
        return self.app.data_port

    def rewrite(self, config: dict[str, Any] | None = None) -> None:
        """Write the configuration's file anew and have it read now, as SIGHUP would."""
        self.config = config or self.config
        self.path.write_text(yaml.safe_dump(self.config), "utf-8")
        if hasattr(self, "app"):
            self.app.reloading.poke()

    # --- states to wait for

    async def until_warm(self, *, within: float = 5.0) -> None:
        await eventually(lambda: self.live.replicas, within=within)

    async def until_cold(self, *, within: float = 5.0) -> None:
        await eventually(lambda: not self.live.replicas, within=within)

    async def until_held(self, count: int, *, within: float = 5.0) -> None:
        """Exactly so many requests wait (bodies that still arrive included)."""
        await eventually(lambda: self.live.gate.held == count, within=within)

    async def until_in_line(self, count: int, *, within: float = 5.0) -> None:
        """Exactly so many requests have their place in line."""
        await eventually(lambda: self.waiting == count, within=within)

    @property
    def waiting(self) -> int:
        ledger: Any = self.live.gate.ledger
        return int(ledger.waiting)

    # --- clients

    async def connect(
        self, *, tls: ssl.SSLContext | None = None, buffer: int = 1 << 16
    ) -> RawClient:
        """A connection to the data port; closed with the stage if the test does not."""
        client = await RawClient.connect("127.0.0.1", self.port, tls=tls, buffer=buffer)
        self.clients.append(client)
        return client

    async def send(self, raw: bytes) -> RawClient:
        """A new connection on which these bytes have been sent."""
        client = await self.connect()
        client.send(raw)
        return client

    async def ask(self, raw: bytes, *, within: float = 5.0) -> Reply:
        """The answer to one raw request on a connection of its own."""
        client = await self.send(raw)
        reply = await client.reply(method=raw.split(b" ", 1)[0], within=within)
        await client.close()
        return reply

    async def get(
        self, target: str = "/", *, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Reply:
        return await self.ask(request(target, method=method, headers=headers))

    async def post(
        self, body: bytes, target: str = "/", *, headers: Mapping[str, str] | None = None
    ) -> Reply:
        return await self.ask(request(target, method="POST", headers=headers, body=body))

    # --- the end

    async def stop(self, *, grace: float = 0.0, drain_delay: float = 0.0) -> None:
        """End the activator now; the stage does it otherwise."""
        self.stopped = True
        await self.app.stop(grace=grace, drain_delay=drain_delay)

    async def close(self) -> None:
        """End everything, whatever has gone wrong."""
        for client in self.clients:
            await client.close()
        try:
            if hasattr(self, "app") and not self.stopped:
                async with asyncio.timeout(5):
                    await self.stop()
        finally:
            for replica in self.replicas:
                await replica.stop()

    def left_behind(self) -> list[str]:
        """What a resting activator must not have, in words."""
        proxy, found = self.proxy, dict[str, object]()
        for live in self.app.registry:
            gate, name, ledger = live.gate, live.endpoint.name, _inside(live.gate).ledger
            found[f"{name}: held"] = gate.held
            found[f"{name}: demand"] = gate.demand
            found[f"{name}: in flight"] = gate.in_flight
            found[f"{name}: held bytes"] = gate.held_bytes
            found[f"{name}: tunnels"] = gate.has_tunnels
            found[f"{name}: in line"] = ledger.waiting
            found[f"{name}: slots taken"] = _slots_taken(ledger)
            for each in live.replicas.values():
                pool = _inside(each.pool)
                busy = pool._open - set(pool.resting)
                found[f"{each.replica.id}: busy or lost connections"] = len(busy)
        found["bytes in the store"] = proxy.store.bytes_kept
        found["bytes of held memory"] = proxy.held_memory.used
        found["tasks of requests"] = len(_inside(self.app)._tasks)
        found["sockets watched for hang-up"] = len(_inside(self.app)._hangups)
        found["clients' connections"] = proxy.connections
        return [f"{what}: {count}" for what, count in found.items() if count]

    async def at_rest(self, *, within: float = 3.0) -> None:
        """Fails with what is left behind, once every client of the test has gone."""
        for client in self.clients:
            await client.close()
        deadline = asyncio.get_running_loop().time() + within
        while left := self.left_behind():
            assert asyncio.get_running_loop().time() < deadline, left
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def stage(
    behave: Behaviour = hello,
    *,
    replicas: int = 1,
    ready: bool = True,
    from_zero: bool = False,
    server: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    checked: bool = True,
    times: Times | None = None,
    **endpoint: Any,
) -> AsyncIterator[Stage]:
    """An activator with one endpoint, `m`, that gets every request.

    `behave`: of every replica. `ready` False: the replicas refuse connections until their
    `start`. `from_zero`: no replica runs, `s.driver` (a ScriptedDriver) starts them on demand and
    appends them to `s.replicas`. `server` and `config`: keys of the file's `server` and of its
    root. `endpoint`: keys of the endpoint as in the file (`queue={"timeout": "1s"}`). `checked`
    False: nothing is said about what is left at the end. `times`: as App's.
    """
    before = asyncio.all_tasks()
    async with asyncio.timeout(WITHIN), contextlib.AsyncExitStack() as endings:
        folder = endings.enter_context(tempfile.TemporaryDirectory())
        running = [] if from_zero else await _started(behave, replicas=replicas, ready=ready)
        written = _config(running, server=server or {}, config=config or {}, endpoint=endpoint)
        s = Stage(Path(folder), replicas=running, config=written)
        endings.push_async_callback(s.close)
        s.rewrite()
        if from_zero:
            s.driver = _driver(s, behave)
        drivers: dict[str, Driver] | None = {NAME: s.driver} if s.driver else None
        s.app = App(load(s.path), drivers=drivers, times=times)
        await s.app.start()
        if ready and not from_zero:
            await eventually(lambda: len(s.live.replicas) == replicas)
            await eventually(partial(gives_slots, s.live.gate))
        yield s
        if checked and not s.stopped:
            await s.at_rest()
    failures = [failure for replica in s.replicas for failure in replica.failures]
    assert not failures, failures
    if checked:
        await eventually(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})
        assert s.proxy.connections == 0


def request(
    target: str = "/",
    *,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    host: str = "m.example",
) -> bytes:
    """A whole request; with a body also its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


async def _started(behave: Behaviour, *, replicas: int, ready: bool) -> list[Replica]:
    made = [Replica(behave, host=f"127.0.0.{number}") for number in range(1, replicas + 1)]
    for each in made:
        await each.start()
        if not ready:
            await each.refuse()
    return made


def _driver(s: Stage, behave: Behaviour) -> ScriptedDriver:
    by_id: dict[str, Replica] = {}

    async def start(replica_id: str) -> tuple[str, int]:
        replica = by_id[replica_id] = Replica(behave)
        await replica.start()
        s.replicas.append(replica)
        return replica.host, replica.port

    async def stop(replica_id: str) -> None:
        if replica_id in by_id:
            await by_id[replica_id].stop()

    return ScriptedDriver(NAME, factory=start, dispose=stop)


def _config(
    running: list[Replica],
    *,
    server: Mapping[str, Any],
    config: Mapping[str, Any],
    endpoint: Mapping[str, Any],
) -> dict[str, Any]:
    if running:
        urls = [f"http://{each.host}:{each.port}" for each in running]
        backend: dict[str, Any] = {"type": "static", "urls": urls}
    else:
        backend = {"type": "process", "command": ["never-started", "{port}"]}
    probe = {"path": PROBE_PATH, "interval": "10ms"}
    shared = store.get()
    if shared:
        endpoint = {"concurrency": 64, **endpoint}
        config = {"store": shared, **config}
    return {
        "server": {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0, **server},
        "endpoints": [{"name": NAME, "backend": backend, "probe": probe, **endpoint}],
        **config,
    }


def gives_slots(gate: Gate) -> bool:
    """What it is asked next is given, if it is free: with a store, that has been heard."""
    return not gate.full and bool(getattr(gate.ledger, "is_settled", True))


def _slots_taken(ledger: Any) -> int:
    if isinstance(ledger, MemoryLedger):
        return int(_inside(ledger)._dispatcher.in_flight)
    return len(ledger._entries)


def _inside(part: object) -> Any:
    """What a part keeps to itself: only a test that looks for leaks may ask."""
    return part
