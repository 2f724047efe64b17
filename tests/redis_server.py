"""Real Redis servers for tests: alone, with TLS or users, watched by Sentinels, in a cluster.

All of them live in a temporary directory, on ports below the ones that the system gives out, and
die with this process, however it ends. Where there is no `redis-server`, tests are skipped.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from functools import cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from redis.connection import Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from activator.redisio.link import Link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

CERTIFICATES = Path(__file__).parent / "integration" / "wire"
STARTED_WITHIN = 20.0

_PORTS = range(16_000, 22_000)
"""With 10 000 more, where a cluster's nodes talk, still below what connections get."""
_PR_SET_PDEATHSIG = 1
_numbers = count(1)


def executable() -> str:
    """Skips the test that asks if there is none."""
    found = shutil.which(os.environ.get("ACTIVATOR_REDIS_SERVER", "redis-server"))
    if found is None:
        pytest.skip("no redis-server here (install it, or name it in ACTIVATOR_REDIS_SERVER)")
    return found


class RedisServer:
    """One process, which may be started and ended any number of times; its port and folder stay."""

    def __init__(self, folder: Path, *options: str, sentinel: bool = False) -> None:
        """`options` as for redis-server: `--appendonly`, `yes` …"""
        self.port = free_port()
        self.host = "127.0.0.1"
        self._folder = folder / f"redis-{self.port}"
        self._folder.mkdir()
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self._client: Any = None
        self.login: dict[str, Any] = {}
        """How `ask` is let in, as arguments of redis-py's connection."""

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}"

    def start(self) -> None:
        if self._sentinel:
            config = self._folder / "sentinel.conf"
            if not config.exists():
                config.write_text("\n".join(self._options))
            command = [executable(), str(config), "--sentinel"]
        else:
            command = [
                executable(),
                "--save",
                "",
                "--repl-diskless-sync-delay",
                "0",
                *self._options,
            ]
        command += ["--port", str(self.port)] if "--tls-port" not in self._options else []
        command += ["--bind", self.host, "--dir", str(self._folder)]
        log = self._folder / "log"
        self._process = subprocess.Popen(
            [*command, "--logfile", str(log), "--daemonize", "no"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no lock
        )
        wait_until(self._answers, why=lambda: log.read_text()[-2000:] if log.exists() else "")

    def stop(self) -> None:
        """SIGTERM, as on a shutdown: what an append-only file can hold is on disk then."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """It keeps its sockets and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str | bytes | float) -> Any:
        """One command, outside of every event loop; errors that Redis answers are raised."""
        if self._client is None:
            kind: Any = SSLConnection if "ssl_ca_certs" in self.login else Connection
            self._client = kind(host=self.host, port=self.port, protocol=2, **self.login)
        self._client.send_command(*words)
        return self._client.read_response()

    def keys(self, prefix: str) -> list[str]:
        return sorted(key.decode() for key in self.ask("KEYS", f"{prefix}*"))

    def _end(self, how: signal.Signals) -> None:
        if self._client is not None:
            self._client.disconnect()
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            process.wait(timeout=STARTED_WITHIN)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, "redis-server has ended"
        try:
            self.ask("PING")
        except (RedisConnectionError, RedisTimeoutError):
            return False
        return True


def free_port() -> int:
    """One that nobody listens on, nor 10 000 above."""
    while True:
        port = random.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port


def wait_until(check: Callable[[], object], *, why: Callable[[], str] = str) -> None:
    """For what other processes do, outside of the event loop."""
    deadline = time.monotonic() + STARTED_WITHIN
    while not check():
        assert time.monotonic() < deadline, f"not so within {STARTED_WITHIN} s: {why()}"
        time.sleep(0.01)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# --- one alone ----------------------------------------------------------------------------------


@contextmanager
def redis_server(*options: str, login: dict[str, Any] | None = None) -> Iterator[RedisServer]:
    """A server of one's own: it may be killed, paused and filled."""
    with tempfile.TemporaryDirectory(prefix="activator-redis-") as folder:
        server = RedisServer(Path(folder), *options)
        server.login = login or {}
        server.start()
        try:
            yield server
        finally:
            server.kill()


APPEND_ONLY = ("--appendonly", "yes", "--appendfsync", "always")


@contextmanager
def tls_server() -> Iterator[tuple[RedisServer, str]]:
    """(server, URL that accepts its certificate)."""
    certificate, key = CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key"
    port = free_port()
    options = ("--port", "0", "--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    with tempfile.TemporaryDirectory(prefix="activator-redis-") as folder:
        server = RedisServer(Path(folder), *options, *files)
        server.port = port
        server.login = {"ssl_ca_certs": str(certificate)}
        try:
            server.start()
            yield server, f"rediss://localhost:{port}?ssl_ca_certs={certificate}"
        finally:
            server.kill()


@cache
def shared_server() -> RedisServer:
    """The one of this process's tests, for whatever leaves it as it is; keys have a prefix each."""
    executable()
    folder = Path(tempfile.mkdtemp(prefix="activator-redis-"))
    server = RedisServer(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    server.start()
    return server


def fresh_prefix() -> str:
    return f"test{next(_numbers)}"


@asynccontextmanager
async def opened_link(
    url: str | None = None, *, prefix: str | None = None, timeout: float = 2.0
) -> AsyncIterator[Link]:
    """A link of its own, by default to the shared server and with a prefix that nobody uses."""
    link = Link(url or shared_server().url, prefix=prefix or fresh_prefix(), timeout=timeout)
    await link.open()
    try:
        yield link
    finally:
        await link.aclose()


# --- several ------------------------------------------------------------------------------------


class Watched:
    """A master with a replica, and three Sentinels that watch them as `main`."""

    def __init__(self, folder: Path) -> None:
        self.master = RedisServer(folder)
        self.master.start()
        self.replica = RedisServer(folder, "--replicaof", "127.0.0.1", str(self.master.port))
        self.replica.start()
        lines = (
            f"sentinel monitor main 127.0.0.1 {self.master.port} 2",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 3000",
        )
        self.sentinels = [RedisServer(folder, *lines, sentinel=True) for _ in range(3)]
        for sentinel in self.sentinels:
            sentinel.start()
        for sentinel in self.sentinels:
            wait_until(partial(self._is_known, sentinel))

    def _is_known(self, sentinel: RedisServer) -> bool:
        words = sentinel.ask("SENTINEL", "MASTER", "main")
        said = dict(zip(words[::2], words[1::2], strict=True))
        return (said[b"num-other-sentinels"], said[b"num-slaves"]) == (b"2", b"1")

    @property
    def url(self) -> str:
        addresses = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{addresses}/main"

    def end(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.kill()


@contextmanager
def watched_servers() -> Iterator[Watched]:
    executable()
    with tempfile.TemporaryDirectory(prefix="activator-redis-") as folder:
        watched = Watched(Path(folder))
        try:
            yield watched
        finally:
            watched.end()


class ClusterOfThree:
    """Three masters, and a replica of the first one."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.masters = [RedisServer(folder, *options) for _ in range(3)]
        self.replica = RedisServer(folder, *options)
        for server in self.all:
            server.start()
        bounds = [0, 5461, 10923, 16384]
        for index, master in enumerate(self.masters):
            master.ask("CLUSTER", "ADDSLOTS", *range(bounds[index], bounds[index + 1]))
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for server in self.all[1:]:
            server.ask("CLUSTER", "MEET", "127.0.0.1", self.masters[0].port)
        wait_until(lambda: all(self._is_ok(server) for server in self.all))
        first = self.masters[0].ask("CLUSTER", "MYID")
        wait_until(lambda: first in self.replica.ask("CLUSTER", "NODES"))
        self.replica.ask("CLUSTER", "REPLICATE", first)
        wait_until(lambda: b"master_link_status:up" in self.replica.ask("INFO", "replication"))

    @property
    def all(self) -> Sequence[RedisServer]:
        return (*self.masters, self.replica)

    @property
    def url(self) -> str:
        addresses = ",".join(f"127.0.0.1:{master.port}" for master in self.masters)
        return f"redis+cluster://{addresses}"

    def _is_ok(self, server: RedisServer) -> bool:
        said = server.ask("CLUSTER", "INFO")
        return bool(b"cluster_state:ok" in said and b"cluster_known_nodes:4" in said)

    def end(self) -> None:
        for server in self.all:
            server.kill()


@contextmanager
def cluster_of_three() -> Iterator[ClusterOfThree]:
    executable()
    with tempfile.TemporaryDirectory(prefix="activator-redis-") as folder:
        cluster = ClusterOfThree(Path(folder))
        try:
            yield cluster
        finally:
            cluster.end()
