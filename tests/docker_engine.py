"""A scripted Docker engine: the Engine's API over a real Unix socket, with containers that are a
record each. Shapes, statuses and messages were recorded from Docker 20.10 (API 1.41).

A test says what commands do (`programs`), what pulling an image does (`pulls`), what is refused
(`refuse`), and plays the person at the engine (`person_stops`, `crash`, `restart`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    Json = dict[str, Any]

NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Program:
    """What a container's command does."""

    prints: tuple[tuple[int, str], ...] = ()
    """(1 for standard output or 2 for standard error, line)."""
    exits: int | None = None
    """At once, with this code; None: runs until it is stopped."""
    start_error: str = ""
    stop_takes: float = 0.0


@dataclass
class Container:
    id: str
    name: str
    body: Json
    address: str
    created: float = field(default_factory=time.time)
    status: str = "created"
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    started_at: str = NEVER
    output: list[tuple[int, str]] = field(default_factory=list)

    def inspection(self) -> Json:
        host: Json = self.body.get("HostConfig") or {}
        network = host.get("NetworkMode") or "bridge"
        runs = self.status == "running"
        ports = {
            port: [{"HostIp": each["HostIp"], "HostPort": "32768"} for each in bindings]
            for port, bindings in (host.get("PortBindings") or {}).items()
            if runs
        }
        return {
            "Id": self.id,
            "Created": _written(self.created),
            "State": {
                "Status": self.status,
                "Running": runs,
                "Paused": False,
                "Restarting": False,
                "OOMKilled": self.oom_killed,
                "Dead": False,
                "Pid": 4711 if runs else 0,
                "ExitCode": self.exit_code,
                "Error": self.error,
                "StartedAt": self.started_at,
                "FinishedAt": NEVER,
            },
            "Name": f"/{self.name}",
            "RestartCount": 0,
            "HostConfig": host,
            "Config": {
                "ExposedPorts": self.body.get("ExposedPorts"),
                "Tty": False,
                "Cmd": self.body.get("Cmd"),
                "Image": self.body["Image"],
                "Labels": self.body.get("Labels") or {},
            },
            "NetworkSettings": {
                "Ports": ports,
                "Networks": {
                    network: {
                        "IPAddress": self.address if runs and network != "host" else "",
                        "GlobalIPv6Address": "",
                    }
                },
            },
        }


class ScriptedEngine:
    """See the module. Used between `start` and `stop`."""

    def __init__(self, socket: Path) -> None:
        self.address = f"unix://{socket}"
        self.images = {"model:1"}
        self.programs: dict[tuple[str, ...], Program] = {}
        self.pulls: dict[str, list[Json]] = {}
        """The progress that pulling an image tells; it is there afterwards unless it told an
        error. Other images do not exist."""
        self.pulled = asyncio.Event()
        """What a pull waits for before it ends."""
        self.pulled.set()
        self.may_create = asyncio.Event()
        """What a creation waits for before it is looked at."""
        self.may_create.set()
        self.containers: dict[str, Container] = {}
        self.calls: list[tuple[str, str]] = []
        """Method and path of every call, less the version."""
        self.bodies: list[Json] = []
        """Of every creation."""
        self.version = {"ApiVersion": "1.41", "MinAPIVersion": "1.12"}
        self.spoken: set[str] = set()
        self._socket = socket
        self._refusals: list[tuple[str, int, str]] = []
        self._lost: list[str] = []
        self._listeners: set[asyncio.Queue[Json | None]] = set()
        self._numbers = itertools.count(1)
        self._runner: web.AppRunner | None = None

    # --- what a test does -----------------------------------------------------------------------

    async def start(self) -> None:
        app = web.Application()
        app.add_routes([web.route("*", "/{tail:.*}", self._answer)])
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self._socket)).start()

    async def stop(self) -> None:
        """Containers go on, as with an engine that is restarted with live-restore."""
        for listener in self._listeners:
            listener.put_nowait(None)
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._socket.unlink(missing_ok=True)

    def refuse(self, call: str, status: int, message: str, *, times: int = 1) -> None:
        """The next calls whose `METHOD /path` ends with this."""
        self._refusals += [(call, status, message)] * times

    def lose_answer(self, call: str) -> None:
        """The next call that ends with this is carried out, and its connection breaks."""
        self._lost.append(call)

    def make(self, name: str, *command: str, **body: Any) -> Container:
        """As a person does with `docker create`."""
        number = next(self._numbers)
        body = {"Image": "model:1", "Cmd": list(command), **body}
        made = Container(f"{number:064x}", name, body, f"127.0.0.{100 + number}")
        self.containers[made.id] = made
        self._tell("create", made)
        return made

    def run(self, container: Container) -> None:
        program = self._program(container)
        container.status, container.started_at = "running", _written(time.time())
        container.exit_code, container.oom_killed = 0, False
        container.output += program.prints
        self._tell("start", container)
        if program.exits is not None:
            self.crash(container, code=program.exits)

    def crash(self, container: Container, *, code: int, oom_killed: bool = False) -> None:
        container.status, container.exit_code = "exited", code
        container.oom_killed = oom_killed
        if oom_killed:
            self._tell("oom", container)
        self._tell("die", container, exitCode=str(code))

    def person_stops(self, container: Container) -> None:
        self._tell("kill", container, signal="15")
        container.status, container.exit_code = "exited", 143
        self._tell("die", container, exitCode="143")
        self._tell("stop", container)

    def remove(self, container: Container) -> None:
        self.containers.pop(container.id, None)
        self._tell("destroy", container)

    def named(self, name: str) -> Container | None:
        return next(
            (each for each in self.containers.values() if name in {each.name, each.id}), None
        )

    # --- the API --------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        answer = await self._handle(request)
        for call in self._lost:
            if f"{request.method} {request.path}".endswith(call.partition(" ")[2]):
                self._lost.remove(call)
                assert request.transport is not None
                request.transport.abort()
        return answer

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path.startswith("/v1."):
            version, _, rest = path[1:].partition("/")
            self.spoken.add(version)
            path = f"/{rest}"
        self.calls.append((request.method, path))
        for refusal in self._refusals:
            if f"{request.method} {path}".endswith(refusal[0]):
                self._refusals.remove(refusal)
                return _message(refusal[1], refusal[2])
        match request.method, path.strip("/").split("/"):
            case "GET", ["version"]:
                return web.json_response(self.version)
            case "GET", ["events"]:
                return await self._events(request)
            case "POST", ["images", "create"]:
                return await self._pull(request)
            case "GET", ["containers", "json"]:
                return web.json_response(self._list(json.loads(request.query["filters"])))
            case "POST", ["containers", "create"]:
                return await self._create(request)
            case method, ["containers", name, *verb]:
                container = self.named(name)
                if container is None:
                    return _message(404, f"No such container: {name}")
                return await self._one(request, container, [method, *verb])
        return _message(404, "page not found")

    def _list(self, filters: Json) -> list[Json]:
        wanted = dict(label.split("=", 1) for label in filters["label"])
        return [
            {"Id": each.id, "Names": [f"/{each.name}"], "State": each.status}
            for each in self.containers.values()
            if wanted.items() <= (each.body.get("Labels") or {}).items()
        ]

    async def _create(self, request: web.Request) -> web.StreamResponse:
        body, name = await request.json(), request.query["name"]
        await self.may_create.wait()
        if body["Image"] not in self.images:
            return _message(404, f"No such image: {body['Image']}")
        if (holder := self.named(name)) is not None:
            return _message(
                409,
                f'Conflict. The container name "/{name}" is already in use by container'
                f' "{holder.id}". You have to remove (or rename) that container to be able to reuse'
                " that name.",
            )
        self.bodies.append(body)
        made = self.make(name, **body)
        return web.json_response({"Id": made.id, "Warnings": []}, status=201)

    async def _one(
        self, request: web.Request, container: Container, call: list[str]
    ) -> web.StreamResponse:
        match call:
            case ["GET", "json"]:
                return web.json_response(container.inspection())
            case ["GET", "logs"]:
                return web.Response(body=_framed(container.output[-int(request.query["tail"]) :]))
            case ["POST", "start"]:
                return self._start(container)
            case ["POST", "stop"]:
                if container.status != "running":
                    return web.Response(status=304)
                await asyncio.sleep(self._program(container).stop_takes)
                self.person_stops(container)
                return web.Response(status=204)
            case ["DELETE"]:
                self.remove(container)
                return web.Response(status=204)
        return _message(404, "page not found")

    def _start(self, container: Container) -> web.StreamResponse:
        if container.status == "running":
            return web.Response(status=304)
        if error := self._program(container).start_error:
            container.error, container.exit_code = error, 127
            return _message(400, error)
        self.run(container)
        return web.Response(status=204)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        filters = json.loads(request.query["filters"])
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        told: asyncio.Queue[Json | None] = asyncio.Queue()
        self._listeners.add(told)
        try:
            while (event := await told.get()) is not None:
                if _is_among(event, filters):
                    await answer.write(json.dumps(event).encode() + b"\n")
        finally:
            self._listeners.discard(told)
        return answer

    async def _pull(self, request: web.Request) -> web.StreamResponse:
        image, tag = request.query["fromImage"], request.query.get("tag")
        name = f"{image}:{tag}" if tag else image
        if name not in self.pulls:
            return _message(
                404,
                f"pull access denied for {image}, repository does not exist or may require"
                " 'docker login': denied: requested access to the resource is denied",
            )
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        for line in self.pulls[name]:
            await answer.write(json.dumps(line).encode() + b"\r\n")
        await self.pulled.wait()
        if not any("error" in line for line in self.pulls[name]):
            self.images.add(name)
        return answer

    def _program(self, container: Container) -> Program:
        return self.programs.get(tuple(container.body.get("Cmd") or ()), Program())

    def _tell(self, action: str, container: Container, **attributes: str) -> None:
        labels = container.body.get("Labels") or {}
        event = {
            "Type": "container",
            "Action": action,
            "Actor": {
                "ID": container.id,
                "Attributes": {**labels, "name": container.name, **attributes},
            },
        }
        for listener in self._listeners:
            listener.put_nowait(event)


def _is_among(event: Json, filters: Json) -> bool:
    actor = event["Actor"]
    labels = dict(label.split("=", 1) for label in filters.get("label", ()))
    names = filters.get("container", [actor["ID"]])
    named = bool({actor["ID"], actor["Attributes"]["name"]} & set(names))
    return named and labels.items() <= actor["Attributes"].items()


def _message(status: int, text: str) -> web.Response:
    return web.json_response({"message": text}, status=status)


def _written(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


def _framed(output: list[tuple[int, str]]) -> bytes:
    return b"".join(
        bytes([stream, 0, 0, 0]) + (len(line) + 1).to_bytes(4) + line.encode() + b"\n"
        for stream, line in output
    )


@contextlib.asynccontextmanager
async def scripted_engine(directory: Path) -> AsyncIterator[ScriptedEngine]:
    engine = ScriptedEngine(directory / "engine.sock")
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
