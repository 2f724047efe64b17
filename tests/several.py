"""Several activator processes over one Redis, in front of replicas that they share.

    async with several(3, concurrency=1) as s:
        reply = await s.activators[0].get("/x")

Redis, the replicas and the World that starts them live in the test's process, so that a test sees
what no activator can: how many requests are in flight at a replica, in which order they came, and
what was cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from activator.aiokit.tasks import Tasks
from tests.fork_server import Forked, forked
from tests.rawclient import Cut, RawClient
from tests.redis_server import RedisServer, fresh_prefix, redis_server
from tests.replica import PROBE_PATH, Replica, hello
from tests.shared_driver import World
from tests.stage import NAME, request
from tests.support import eventually

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tests.rawclient import Reply
    from tests.replica import Behaviour

WITHIN = 120.0
"""Seconds for everything that happens in one test."""
STARTED_WITHIN = 45.0
"""Seconds: several interpreters start at the same time, perhaps on a busy machine."""


class Activator:
    """One process."""

    def __init__(self, process: Process | Forked, tasks: Tasks) -> None:
        self.process = process
        self.data = 0
        self.admin = 0
        self.log: list[dict[str, Any]] = []
        self._asked = 0
        self._reading = tasks.spawn(self._read(), name="log")

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := await self.process.stderr.readline():
            with contextlib.suppress(ValueError):
                self.log.append(json.loads(line))
                continue
            self.log.append({"text": line.decode()})

    def logged(self, action: str) -> list[dict[str, Any]]:
        """As far as it has been read: for whoever waits for it."""
        return [each for each in self.log if each.get("action") == action]

    async def logged_by_now(self, action: str) -> list[dict[str, Any]]:
        """All of it. What it does is seen before its lines are, which a thread writes and a pipe
        brings: so it is asked for what nobody has, whose line comes after those before it."""
        if not self.runs:
            await self._reading
            return self.logged(action)
        self._asked += 1
        asked = f"by-now-{self._asked}"
        await self.get("/.activator/nothing", headers={"X-Request-Id": asked})
        await eventually(lambda: any(one.get("request_id") == asked for one in self.log))
        return self.logged(action)

    async def until_logged(self, action: str, *, within: float = 15.0) -> dict[str, Any]:
        try:
            found = await eventually(lambda: self.logged(action), within=within)
        except AssertionError:
            raise AssertionError(f"no {action} in {self.log[-20:]}") from None
        return found[-1]

    async def listens(self) -> None:
        listening = await self.until_logged("listening", within=STARTED_WITHIN)
        self.data = int(listening["data"].rpartition(":")[2])
        self.admin = int(listening["admin"].rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process.returncode is None

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, within: float = 15.0) -> int:
        async with asyncio.timeout(within):
            status = await self.process.wait()
            await self._reading
        return status

    async def aclose(self) -> None:
        """At once, if it still runs; nothing more is read of what it logs."""
        try:
            if self.runs:
                self.tell(signal.SIGCONT)
                self.process.kill()
            await self.process.wait()
        finally:
            if isinstance(self.process, Forked):
                self.process.close()  # uvloop's close may hang on pipes that are open

    async def get(
        self, target: str = "/", *, headers: Mapping[str, str] | None = None, within: float = 20.0
    ) -> Reply:
        return await self.ask(request(target, headers=headers), within=within)

    async def ask(self, raw: bytes, *, within: float = 20.0) -> Reply:
        client = await RawClient.connect("127.0.0.1", self.data)
        try:
            client.send(raw)
            return await client.reply(within=within)
        finally:
            await client.close()

    async def ask_admin(self, target: str) -> Reply:
        client = await RawClient.connect("127.0.0.1", self.admin)
        try:
            client.send(request(target, host=f"127.0.0.1:{self.admin}"))
            return await client.reply()
        finally:
            await client.close()

    async def order(self, verb: str, **body: Any) -> Reply:
        """An operator's, for the one endpoint."""
        client = await RawClient.connect("127.0.0.1", self.admin)
        target, host = f"/api/endpoints/{NAME}/{verb}", f"127.0.0.1:{self.admin}"
        headers = {"Content-Type": "application/json"}
        raw = json.dumps(body).encode()
        try:
            client.send(request(target, method="POST", host=host, headers=headers, body=raw))
            return await client.reply(within=15.0)
        finally:
            await client.close()

    async def status(self) -> dict[str, Any]:
        """Of the one endpoint, as an operator is told."""
        told: dict[str, Any] = json.loads((await self.ask_admin(f"/api/endpoints/{NAME}")).body)
        return told

    async def until_status(self, *, within: float, **expected: Any) -> None:
        deadline = asyncio.get_running_loop().time() + within
        while not expected.items() <= (told := await self.status()).items():
            assert asyncio.get_running_loop().time() < deadline, told
            await asyncio.sleep(0.02)

    async def metric(self, name: str) -> float:
        """The sum over all its labels."""
        text = (await self.ask_admin("/metrics")).body.decode()
        values = [
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name} ", f"{name}{{"))
        ]
        return sum(values)

    async def leads(self) -> bool:
        return bool(await self.metric("activator_leader"))


class Several:
    """See the module; made by `several`."""

    def __init__(
        self,
        folder: Path,
        *,
        redis: RedisServer,
        behave: Behaviour,
        grace: str,
        own: bool,
        endpoint: dict[str, Any],
    ) -> None:
        self.folder = folder
        self.redis = redis
        self.prefix = fresh_prefix()
        self.behave = behave
        """Of replicas that start from now on."""
        self.starts_ready = True
        """False: replicas that start from now on answer their probe with 503."""
        self.grace = grace
        self.endpoint = endpoint
        self.own = own
        self.sections: Mapping[str, Any] = {}
        """More of the file, for those that start from now on."""
        self.store = ""
        """The URL of those that start from now on, if they do not reach `redis` directly."""
        self.world = World(folder / "world.sock")
        self.activators: list[Activator] = []
        self.replicas: dict[str, Replica] = {}
        self.cut: list[tuple[str, int]] = []
        """Replicas that were stopped with so many requests in flight."""
        self.tasks = Tasks("several")

    # --- the replicas

    async def open(self) -> None:
        await self.world.open()
        self.driver = self.world.add(NAME, factory=self._start, dispose=self._stop)

    async def _start(self, replica_id: str) -> tuple[str, int]:
        replica = self.replicas[replica_id] = Replica(self.behave)
        replica.ready = self.starts_ready
        await replica.start()
        return replica.host, replica.port

    async def _stop(self, replica_id: str) -> None:
        replica = self.replicas.get(replica_id)
        if replica is not None:
            if replica.in_flight:
                self.cut.append((replica_id, replica.in_flight))
            await replica.stop()

    @property
    def running(self) -> list[Replica]:
        return [self.replicas[each] for each in self.driver.running]

    @property
    def most_in_flight(self) -> int:
        """At any replica, ever."""
        return max((each.most_in_flight for each in self.replicas.values()), default=0)

    # --- the activators

    async def start(self, count: int, *, hesitates: float = 0.0) -> list[Activator]:
        """So many more, all at the same time."""
        made = [await self._spawn(hesitates) for _ in range(count)]
        self.activators += made
        for each in made:
            await each.listens()
        return made

    async def _spawn(self, hesitates: float) -> Activator:
        path = self.folder / "activator.yaml"
        if not path.exists():
            path.write_text(yaml.safe_dump(self._config()), encoding="utf-8")
        world = "-" if self.own else str(self.world.address)
        process = await forked("tests.activator_process", str(path), world, str(hesitates))
        return Activator(process, self.tasks)

    def _config(self) -> dict[str, Any]:
        backend = {"type": "process", "command": ["never-started", "{port}"]}
        one = {"name": NAME, "backend": backend, "probe": {"path": PROBE_PATH, "interval": "20ms"}}
        listen = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0}
        return {
            "server": {**listen, "shutdownGrace": self.grace},
            "store": {"url": self.store or self.redis.url, "prefix": self.prefix},
            "endpoints": [{**one, **self.endpoint}],
            **self.sections,
        }

    async def leader(self, *, within: float = 15.0, other_than: int = 0) -> Activator:
        """The one that leads, once one does; `other_than` this pid."""
        deadline = asyncio.get_running_loop().time() + within
        while asyncio.get_running_loop().time() < deadline:
            for each in self.activators:
                if each.runs and each.pid != other_than and await each.leads():
                    return each
            await asyncio.sleep(0.02)
        raise AssertionError("nobody leads")

    async def until_all_know_each_other(self) -> None:
        """Each has seen all the others that run."""
        running = [each for each in self.activators if each.runs]
        for each in running:
            await eventually(
                lambda each=each: len(each.logged("activator_joined")) >= len(running) - 1,  # type: ignore[misc]
                within=10.0,
            )

    async def until_acquainted(self) -> None:
        """Each knows what its share of a limit is."""
        for each in self.activators:
            await each.until_logged("acquainted")

    async def in_line(self) -> int:
        """Requests that wait for a slot, over all activators."""
        key = f"{self.prefix}:{{{NAME}}}:slots:line"
        return int(self.redis.ask("ZCARD", key))

    def members(self) -> set[bytes]:
        """Who waits for a slot, over all activators: each as one that stands in line by itself."""
        key = f"{self.prefix}:{{{NAME}}}:slots:line"
        return set(self.redis.ask("ZRANGE", key, 0, -1))

    async def until_in_line(self, count: int, *, within: float = 5.0) -> None:
        deadline = asyncio.get_running_loop().time() + within
        while (now := await self.in_line()) != count:
            assert asyncio.get_running_loop().time() < deadline, f"{now} are in line, not {count}"
            await asyncio.sleep(0.005)

    async def until_zero(self, *, within: float = 15.0) -> None:
        await eventually(lambda: not self.driver._replicas and self.replicas, within=within)

    async def tell_what_happened(self) -> None:
        """For whoever reads why a test failed."""
        for each in self.activators:
            print(f"--- activator {each.pid}, {'runs' if each.runs else 'has ended'}")
            with contextlib.suppress(Cut, OSError, TimeoutError):
                print(await each.ask_admin(f"/api/endpoints/{NAME}"))
            told = [one for one in each.log if one.get("action") not in ("request", "job_run")]
            for record in (*told[-60:], *each.log[-20:]):
                print("   ", {key: value for key, value in record.items() if value != "info"})
        print("--- the last orders")
        for asked in self.world.asked[-20:]:
            print("   ", asked)

    async def aclose(self) -> None:
        for each in self.activators:
            await each.aclose()
        await self.tasks.aclose()
        await self.world.aclose()
        for replica in self.replicas.values():
            await replica.stop()


@contextlib.asynccontextmanager
async def several(
    count: int,
    *,
    behave: Behaviour = hello,
    hesitates: float = 0.0,
    redis_options: Sequence[str] = (),
    grace: str = "5s",
    own: bool = False,
    **endpoint: Any,
) -> AsyncIterator[Several]:
    """`endpoint`: keys of the one endpoint as in the file; `hesitates`: see SharedDriver;
    `redis_options` as for redis-server; `grace`: `server.shutdownGrace`; `own`: the
    replicas are processes of the activators."""
    async with asyncio.timeout(WITHIN), contextlib.AsyncExitStack() as endings:
        folder = Path(endings.enter_context(tempfile.TemporaryDirectory()))
        redis = endings.enter_context(redis_server(*redis_options))
        s = Several(folder, redis=redis, behave=behave, grace=grace, own=own, endpoint=endpoint)
        endings.push_async_callback(s.aclose)
        await s.open()
        await s.start(count, hesitates=hesitates)
        await s.until_all_know_each_other()
        try:
            yield s
        except BaseException:
            await s.tell_what_happened()
            raise
    failures = [failure for each in s.replicas.values() for failure in each.failures]
    assert not failures, failures
