"""`activator serve` as a process of its own, in front of a small real model server."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.fork_server import Forked, forked
from tests.rawclient import RawClient
from tests.stage import request
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.rawclient import Reply

STARTED_WITHIN = 45.0
"""Seconds: an interpreter starts, perhaps on a busy machine."""
MODEL = """
import os, signal, sys, time
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def note(pid):
    with open(sys.argv[2], "a") as pids:
        pids.write(f"{pid}\\n")
note(os.getpid())
if (child := os.fork()) == 0:
    time.sleep(60)
    os._exit(0)
note(child)
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        seconds = float(self.path[6:]) if self.path.startswith("/slow/") else 0.0
        self.send_response(503 if self.path == "/never" else 200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"he")
        self.wfile.flush()
        time.sleep(seconds)
        self.wfile.write(b"llo")
    def log_message(self, *_):
        pass
class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""Answers at once, or within `/slow/SECONDS`, `/never` as if it were not ready; has a child that
sleeps. Both note their pids."""


class Serving:
    """See the module; made by `serving`."""

    def __init__(self, folder: Path, config: dict[str, Any], *, fresh: bool = True) -> None:
        """`fresh`: an interpreter of its own, not one that has imported everything."""
        self.folder = folder
        self.config = config
        self.fresh = fresh
        self.path = folder / "activator.yaml"
        self.process: Process | Forked
        self.data = 0
        self.admin = 0
        self.log: list[dict[str, Any]] = []
        self._lines: asyncio.StreamReader

    def write(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or self.config
        self.path.write_text(yaml.safe_dump(self.config), encoding="utf-8")

    async def start(self) -> None:
        self.write()
        lines = self._lines = asyncio.StreamReader()
        read, write = os.pipe()
        self._pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(read, "rb")
        )
        arguments = ("serve", "-c", str(self.path), "--log-format", "json")
        if self.fresh:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "activator", *arguments), stdin=DEVNULL, stderr=write
            )
        else:
            self.process = await forked("activator.__main__", *arguments, stderr=write)
        os.close(write)
        listening = await self.until_logged("listening", within=STARTED_WITHIN)
        self.data = int(listening["data"].rpartition(":")[2])
        self.admin = int(listening["admin"].rpartition(":")[2])

    async def until_logged(self, action: str, *, within: float = 10.0) -> dict[str, Any]:
        """The first log record from now on with this action."""
        async with asyncio.timeout(within):
            while line := await self._lines.readline():
                self.log.append(json.loads(line))
                if self.log[-1].get("action") == action:
                    return self.log[-1]
        raise AssertionError(f"ended without {action}: {self.log}")

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, within: float = 10.0) -> int:
        """Its exit status; everything it logged is in `log`."""
        async with asyncio.timeout(within):
            for line in (await self.rest_of_logs()).splitlines():
                self.log.append(json.loads(line))
            return await self.process.wait()

    def read_no_logs(self) -> None:
        """From now on; and the pipe takes no more than a page."""
        self._pipe.pause_reading()
        fcntl.fcntl(self._pipe.get_extra_info("pipe"), fcntl.F_SETPIPE_SZ, 4096)

    async def rest_of_logs(self) -> bytes:
        """Everything up to the end, whoever has paused it."""
        self._pipe.resume_reading()
        return await self._lines.read()

    async def end(self) -> None:
        """At once, if it still runs; nothing more is read of what it logs."""
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self._pipe.close()

    async def connect(self) -> RawClient:
        return await RawClient.connect("127.0.0.1", self.data)

    async def get(self, target: str = "/", *, within: float = 10.0) -> Reply:
        client = await self.connect()
        try:
            client.send(request(target))
            return await client.reply(within=within)
        finally:
            await client.close()

    async def ask_admin(self, target: str, *, method: str = "GET") -> Reply:
        headers = {} if method == "GET" else {"Content-Type": "application/json"}
        body = None if method == "GET" else b"{}"
        host = f"127.0.0.1:{self.admin}"
        client = await RawClient.connect("127.0.0.1", self.admin)
        try:
            client.send(request(target, method=method, headers=headers, body=body, host=host))
            return await client.reply()
        finally:
            await client.close()

    async def until_status(self, *, within: float = 10.0, **expected: Any) -> None:
        """Of the one endpoint, as an operator is told."""
        async with asyncio.timeout(within):
            while True:
                told = (await self.ask_admin("/api/endpoints/m")).json()
                if expected.items() <= told.items():
                    return
                await asyncio.sleep(0.02)

    @property
    def models(self) -> list[int]:
        """Pids that models, and their children, have written down."""
        notes = self.folder / "pids"
        return [int(pid) for pid in notes.read_text().split()] if notes.exists() else []

    def living(self) -> list[int]:
        """Models and children of them that still run."""
        return [pid for pid in self.models if _lives(pid)]

    async def until_no_model(self, *, within: float = 5.0) -> None:
        assert self.models
        await eventually(lambda: not self.living(), within=within)


@contextlib.asynccontextmanager
async def serving(
    folder: Path,
    *,
    server: dict[str, Any] | None = None,
    stubborn: bool = False,
    before: str = "",
    root: dict[str, Any] | None = None,
    fresh: bool = True,
    **keys: Any,
) -> AsyncIterator[Serving]:
    """A running `activator serve` with one endpoint; killed at the end if it still runs, and so is
    every model that is left. `stubborn`: models ignore SIGTERM and have half a minute to end.
    `before`: what a shell does before it is a model. `root`: more sections of the file. `fresh`:
    see Serving."""
    script = folder / "model.py"
    script.write_text(MODEL, encoding="utf-8")
    command = [sys.executable, "-I", "-S", str(script), "{port}", str(folder / "pids")]
    command += ["stubborn"] if stubborn else []
    if before:
        command = ["sh", "-c", f'{before}; exec "$@"', "sh", *command]
    grace = "30s" if stubborn else "2s"
    backend = {"type": "process", "command": command, "stopGrace": grace}
    listen = {"listen": "127.0.0.1:0", "admin": "127.0.0.1:0", "drainDelay": 0, **(server or {})}
    one = {"name": "m", "backend": backend, "probe": {"path": "/", "interval": "20ms"}, **keys}
    config = {"server": listen, "endpoints": [one], **(root or {})}
    made = Serving(folder, config, fresh=fresh)
    try:
        await made.start()
        yield made
    finally:
        await made.end()
        left = made.living()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    """A zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
