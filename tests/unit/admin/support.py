"""A small house behind a real admin port: the operations of two endpoints, in memory."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web

from activator.admin.api import make_app
from activator.admin.ports import ConfigStatus, Conflict, Unavailable, UnknownEndpoint
from activator.core.held import HeldRequest, HeldRequests
from activator.core.history import Day, History
from activator.core.lifecycle import State
from activator.core.status import (
    ColdStart,
    EndpointHistory,
    EndpointStatus,
    ReplicaStatus,
)
from activator.telemetry.events import EventLog
from activator.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from datetime import date

    from activator.core.key_usage import DayKeyCost
    from activator.core.usage import DayUsage

TOKEN = "correct-horse-battery-staple"


def status(name: str, **changed: Any) -> EndpointStatus:
    calm = EndpointStatus(
        name=name,
        state="inactive",
        seconds_in_state=12.0,
        paused=False,
        replicas=(),
        wanted=0,
        held=0,
        held_bytes=0,
        in_flight=0,
        concurrency=8,
        eta=None,
        typical_start=4.5,
        last_activity=None,
        failure=None,
        retry_in=None,
        cold_starts=0,
        replica_seconds=0.0,
        saved_replica_seconds=0.0,
        cost=0.0,
        cost_saved=0.0,
        hosts=(f"{name}.example.com",),
    )
    return dataclasses.replace(calm, **changed)


def a_working_day() -> list[EndpointStatus]:
    """For pictures in the docs."""

    def replica(number: int, phase: str, detail: str = "") -> ReplicaStatus:
        return ReplicaStatus(f"r{number}", phase, f"10.0.0.{number}:8000", 3, 60.0, detail)

    waiting = replica(3, "requested", "unschedulable: insufficient nvidia.com/gpu")
    money = {"cost_today": 11.25, "saved_today": 48.75}
    return [
        status("llama-8b", state="active", seconds_in_state=11_520.0, wanted=2, in_flight=6,
               cold_starts=4, replicas=(replica(1, "ready"), replica(2, "ready")), **money),
        status("llama-70b", state="activating", seconds_in_state=38.4, wanted=1, held=7, eta=42.0,
               replicas=(waiting,), cost_today=30.0, saved_today=150.0),
        status("sdxl", seconds_in_state=27_900.0, cost_today=1.5, saved_today=58.5),
        status("whisper", state="failed", seconds_in_state=5.2,
               failure="exited with code 3: CUDA out of memory", retry_in=25.0, cost_today=0.2,
               saved_today=28.6),
    ]  # fmt: skip


def held(request_id: str, **changed: Any) -> HeldRequest:
    calm = HeldRequest(request_id, 1, 2.5, "team", "POST", "/v1/x", 3, 2048)
    return dataclasses.replace(calm, **changed)


class House:
    """Operations over plain values: activating is immediate, demand is what the test says."""

    def __init__(self) -> None:
        self.statuses = {name: status(name) for name in ("llama", "whisper")}
        self.why_not_ready: str | None = None
        self.refused = ConfigStatus(at=1_790_000_000.0)
        self.day = History(State.INACTIVE, at=1_790_000_000.0).day(at=1_790_000_000.0)
        self.waiting: dict[str, list[HeldRequest]] = {}
        self.booked: list[DayUsage] = []
        self.divided: list[DayKeyCost] = []
        self.away = False
        self.broken = False

    def names(self) -> list[str]:
        return list(self.statuses)

    def endpoints(self) -> Iterator[EndpointStatus]:
        yield from list(self.statuses.values())
        if self.broken:
            raise RuntimeError("a secret of the inside")

    def endpoint(self, name: str) -> EndpointStatus | None:
        return self.statuses.get(name)

    def days(self) -> Iterator[tuple[str, Day]]:
        return ((name, self.day) for name in self.statuses)

    def history(self, name: str) -> EndpointHistory | None:
        if name not in self.statuses:
            return None
        start = ColdStart(1_790_000_000.0, "ready", {"requested": 0.5, "started": 30.0})
        return EndpointHistory(name, self.day, (start,))

    def held(self, name: str, *, first: int, most: int) -> HeldRequests | None:
        if name not in self.statuses:
            return None
        waiting = self.waiting.get(name, [])
        return HeldRequests(name, tuple(waiting[first : first + most]), len(waiting), 2)

    def cancel_held(self, name: str, request_id: str) -> int:
        if name not in self.statuses:
            raise UnknownEndpoint(name)
        waiting = self.waiting.get(name, [])
        self.waiting[name] = [each for each in waiting if each.id != request_id]
        return len(waiting) - len(self.waiting[name])

    async def costs(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> list[DayUsage]:
        if self.away:
            raise Unavailable("The book of costs cannot be read: connection refused")
        booked = [each for each in self.booked if first <= each.day <= last]
        return [each for each in booked if endpoint in (None, each.endpoint)]

    async def key_costs(
        self, first: date, last: date, *, endpoint: str | None = None
    ) -> list[DayKeyCost]:
        if self.away:
            raise Unavailable("The book of costs cannot be read: connection refused")
        divided = [each for each in self.divided if first <= each.day <= last]
        return [each for each in divided if endpoint in (None, each.endpoint)]

    async def activate(self, name: str) -> None:
        replica = ReplicaStatus("r1", "started", "127.0.0.1:4000", 0, 0.1)
        self._change(name, state="activating", wanted=1, replicas=(replica,))

    async def deactivate(self, name: str, *, force: bool) -> None:
        found = self.statuses.get(name)
        if found is not None and found.held and not force:
            raise Conflict(f"{found.held} requests are held; force breaks them off")
        self._change(name, state="inactive", wanted=0, replicas=(), held=0)

    async def pause(self, name: str) -> None:
        self._change(name, paused=True)

    async def resume(self, name: str) -> None:
        self._change(name, paused=False)

    def config(self) -> Mapping[str, Any]:
        return {"auth": {"adminTokenFile": "***"}}

    def declared(self) -> Iterator[Mapping[str, Any]]:
        return iter([{"name": "llama"}])

    def config_status(self) -> ConfigStatus:
        return self.refused

    def ready(self) -> str | None:
        return self.why_not_ready

    def _change(self, name: str, **changed: Any) -> None:
        if name not in self.statuses:
            raise UnknownEndpoint(name)
        if self.away:
            raise Unavailable("the driver did not take the order")
        self.statuses[name] = dataclasses.replace(self.statuses[name], **changed)


@dataclass
class Admin:
    """A running admin port and a client of it."""

    url: str
    client: aiohttp.ClientSession
    house: House = field(default_factory=House)
    events: EventLog = field(default_factory=EventLog)
    metrics: Metrics = field(default_factory=Metrics)
    connections: Callable[[], Sequence[object]] = tuple
    """The port's, of which one may be the client's."""

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        async with self.client.get(self.url + path, **more) as answer:
            return answer.status, await _content(answer)

    async def post(self, path: str, body: Any = None, **more: Any) -> tuple[int, Any]:
        async with self.client.post(self.url + path, json=body or {}, **more) as answer:
            return answer.status, await _content(answer)


async def _content(answer: aiohttp.ClientResponse) -> Any:
    if answer.content_type.endswith("json"):
        return await answer.json(content_type=None)
    return await answer.text()


@contextlib.asynccontextmanager
async def running(
    *,
    token: str | None = None,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    keep_alive: float = 15.0,
    clock: Callable[[], float] = lambda: 0.0,
) -> AsyncIterator[Admin]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as client:
        admin = Admin("", client)
        app = make_app(
            admin.house,
            admin.metrics,
            admin.events,
            token=token,
            hosts=hosts,
            keep_alive=keep_alive,
            clock=clock,
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            server = runner.server
            assert server is not None
            admin.connections = lambda: server.connections
            admin.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield admin
        finally:
            await runner.cleanup()
