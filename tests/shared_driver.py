"""Replicas that several activator processes share, as they would share a cluster's.

A `World` lives in the test's process: it starts and stops replicas by a ScriptedDriver an endpoint,
and listens on a Unix socket. Each activator process has a `SharedDriver` that is connected to it.
The semantics are those of a cluster's API: what is asked for is kept there, outlives whoever asked,
and an order that was prepared before somebody moved the fence is refused there.

On the socket: a line of JSON each way. An activator says which endpoint it means, then gives
orders; the world tells snapshots and, by its number, what became of an order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import asdict, dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from activator.aiokit.tasks import Tasks
from activator.core.effects import FailedStart
from activator.drivers.base import DriverError, Exit, Phase, Sighting, Snapshot
from tests.scripted import ScriptedDriver

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

LINE = 1 << 20
"""Bytes of one message at most."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One order as it came; `refused`: why it was not taken."""

    endpoint: str
    pid: int
    replicas: int
    fence: str
    refused: str | None


class World:
    """See the module. Used between `open` and `aclose`."""

    def __init__(self, address: Path) -> None:
        self.address = address
        self.drivers: dict[str, ScriptedDriver] = {}
        self.asked: list[Asked] = []
        """Every order for a number of replicas, oldest first."""
        self.about: list[tuple[str, int, int]] = []
        """(endpoint, pid, replicas) of orders that are about to be given: see SharedDriver."""
        self._snapshots: dict[str, bytes] = {}
        self._writers: dict[asyncio.StreamWriter, str] = {}
        self._tasks = Tasks("world")
        self._server: asyncio.Server | None = None

    def add(
        self,
        endpoint: str,
        *,
        factory: Callable[[str], Awaitable[tuple[str, int]]],
        dispose: Callable[[str], Awaitable[None]],
    ) -> ScriptedDriver:
        driver = ScriptedDriver(endpoint, factory=factory, dispose=dispose)
        self.drivers[endpoint] = driver

        def report(snapshot: Snapshot) -> None:
            self._snapshots[endpoint] = _line({"snapshot": asdict(snapshot)})
            for writer, name in self._writers.items():
                if name == endpoint:
                    writer.write(self._snapshots[endpoint])

        self._tasks.spawn(driver.run(report), name=endpoint)
        return driver

    async def open(self) -> None:
        self._server = await asyncio.start_unix_server(
            self._connected, str(self.address), limit=LINE
        )

    async def aclose(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._tasks.aclose()

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.spawn(self._serve(reader, writer), name="activator")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            hello = json.loads(await reader.readline())
            endpoint, pid = str(hello["endpoint"]), int(hello["pid"])
            self._writers[writer] = endpoint
            if endpoint in self._snapshots:
                writer.write(self._snapshots[endpoint])
            while line := await reader.readline():
                order = json.loads(line)
                if order["do"] == "about":
                    self.about.append((endpoint, pid, order["replicas"]))
                    continue
                refused = await self._carry_out(endpoint, pid, order)
                writer.write(_line({"order": order["number"], "refused": refused}))
        except ConnectionError:
            pass
        finally:
            self._writers.pop(writer, None)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _carry_out(self, endpoint: str, pid: int, order: dict[str, Any]) -> str | None:
        driver = self.drivers[endpoint]
        if order["do"] == "bump":
            await driver.bump_fence()
            return None
        replicas, before, fence = order["replicas"], order["before"], order["fence"]
        refused = None
        try:
            await driver.scale(
                replicas, victims=tuple(order["victims"]), before=before, fence=fence
            )
        except DriverError as error:
            refused = str(error)
        self.asked.append(Asked(endpoint, pid, replicas, fence, refused))
        return refused


class SharedDriver:
    """Implements `Driver`: one activator's side. `hesitates`: seconds between the moment when an
    order for no replica at all is announced to the world and the one when it is given."""

    def __init__(self, endpoint: str, *, address: Path, pid: int, hesitates: float = 0.0) -> None:
        self._endpoint = endpoint
        self._address = address
        self._pid = pid
        self._hesitates = hesitates
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = count(1)
        self._orders: dict[int, asyncio.Future[str | None]] = {}

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self._address), limit=LINE)
        self._writer = writer
        try:
            writer.write(_line({"endpoint": self._endpoint, "pid": self._pid}))
            while line := await reader.readline():
                said = json.loads(line)
                if "snapshot" in said:
                    report(_snapshot(said["snapshot"]))
                elif said["order"] in self._orders:
                    self._orders.pop(said["order"]).set_result(said["refused"])
        finally:
            self._writer = None
            for order in self._orders.values():
                order.cancel()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        if not replicas and self._hesitates:
            self._say({"do": "about", "replicas": replicas})
            await asyncio.sleep(self._hesitates)
        words = {"replicas": replicas, "victims": victims, "before": before, "fence": fence}
        await self._order({"do": "scale", **words})

    async def bump_fence(self) -> None:
        await self._order({"do": "bump"})

    async def discard(self) -> None:
        """Nothing was made."""

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        return ()

    async def _order(self, words: dict[str, Any]) -> None:
        number = next(self._numbers)
        self._orders[number] = asyncio.get_running_loop().create_future()
        taken = self._orders[number]
        self._say({**words, "number": number})
        if refused := await taken:
            raise DriverError(refused)

    def _say(self, words: dict[str, Any]) -> None:
        if self._writer is None:
            raise DriverError("the world is away")
        self._writer.write(_line(words))


def _line(words: dict[str, Any]) -> bytes:
    return json.dumps(words).encode() + b"\n"


def _snapshot(words: dict[str, Any]) -> Snapshot:
    return Snapshot(
        wanted=words["wanted"],
        replicas=tuple(
            Sighting(**{**each, "phase": Phase(each["phase"])}) for each in words["replicas"]
        ),
        exits=tuple(
            Exit(each["id"], FailedStart(**{**each["cause"], "last_lines": ()}))
            for each in words["exits"]
        ),
        fence=words["fence"],
    )
