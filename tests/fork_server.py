"""Activator processes that have imported already what they run: forked, and not started anew.

    process = await forked("activator.__main__", "serve", "-c", "FILE")

Importing is most of what a start takes, and tests start hundreds of activators. So each process of
tests has servers that import what activators run once, do nothing else, and fork a child whenever
they are asked for one. What a process of its own has and a child does not: its chance, so the child
throws all dice anew, and its hashes of strings, so there are two servers that take turns. Starting
an interpreter is proved by those who start one: for what is logged, traced, measured and shipped.

    python -m tests.fork_server FD      the server; ends when the other end of the socket does
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import importlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
from functools import cache
from itertools import count
from typing import Any

ANSWERS_WITHIN = 45.0
"""Seconds: an interpreter starts, perhaps on a busy machine."""
LINE = 1 << 20
"""Bytes of one at most."""
PRELOADED = (
    "activator.__main__",
    "activator.cli.serve",
    "activator.app.redis_stores",
    "tests.activator_process",
)
SERVERS = 2
_numbers = count()


class Forked:
    """A child, of which is known what `asyncio.subprocess.Process` would tell."""

    def __init__(self, pid: int) -> None:
        loop = asyncio.get_running_loop()
        self.pid = pid
        self.returncode: int | None = None
        """Negative: the signal that ended it."""
        self.stderr = asyncio.StreamReader(LINE)
        """Unless it was to write to somebody else's pipe."""
        self._ended: asyncio.Future[int] = loop.create_future()
        self._pipes: list[asyncio.BaseTransport] = []

    async def open(self, stderr: int | None, ending: int) -> None:
        reading = asyncio.StreamReaderProtocol(self.stderr)
        for protocol, read in ((reading, stderr), (_Ending(self), ending)):
            if read is None:
                continue
            pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda protocol=protocol: protocol,  # type: ignore[misc]
                os.fdopen(read, "rb"),
            )
            self._pipes.append(pipe)

    def close(self) -> None:
        """Nothing more is read of it; others may still write there."""
        for pipe in self._pipes:
            pipe.close()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # its end is about to be told
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def end(self, returncode: int) -> None:
        self.returncode = returncode
        self._ended.set_result(returncode)


class _Ending(asyncio.Protocol):
    """The pipe by which the server tells how a child has ended."""

    def __init__(self, forked: Forked) -> None:
        self._forked = forked
        self._told = b""

    def data_received(self, data: bytes) -> None:
        self._told += data

    def connection_lost(self, exc: Exception | None) -> None:
        self._forked.end(int(self._told or -signal.SIGKILL))


async def forked(
    main: str, *arguments: str, stderr: int | None = None, environ: dict[str, str] | None = None
) -> Forked:
    """One that runs `main` of that module with these; `stderr`: where to write instead of where
    `Forked.stderr` reads; `environ`: besides this process's."""
    server = _servers()[next(_numbers) % SERVERS]
    ending, its_ending = os.pipe()
    ours, its_stderr = (None, os.dup(stderr)) if stderr is not None else os.pipe()
    asked = {"main": main, "arguments": arguments, "environ": {**os.environ, **(environ or {})}}
    socket.send_fds(server, [json.dumps(asked).encode()], [its_stderr, its_ending])
    os.close(its_stderr)
    os.close(its_ending)
    process = Forked(int(server.recv(64)))
    await process.open(ours, ending)
    return process


@cache
def _servers() -> list[socket.socket]:
    return [_start_server() for _ in range(SERVERS)]


def _start_server() -> socket.socket:
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(its.fileno())],
            stdin=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )
    ours.settimeout(ANSWERS_WITHIN)

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


# --- in the server --------------------------------------------------------------------------------


class _Server:
    def __init__(self, asking: socket.socket) -> None:
        self._asking = asking
        self._children: dict[int, int] = {}
        """By pid, where to tell how it ended."""
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._waking = wake

    def serve(self) -> dict[str, Any] | None:
        """In each child what it was asked to do; None in the server, at its end."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._asking, selectors.EVENT_READ)
            selector.register(self._wake, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj == self._wake:
                        os.read(self._wake, 512)
                        self._reap()
                        continue
                    raw, fds, *_ = socket.recv_fds(self._asking, 1 << 20, 2)
                    if not raw:
                        self._end()
                        return None
                    asked: dict[str, Any] = json.loads(raw)
                    if self._fork(*fds):
                        return asked

    def _fork(self, stderr: int, ending: int) -> bool:
        """Whether this is the child."""
        pid = os.fork()
        if pid:
            os.close(stderr)
            self._children[pid] = ending
            self._asking.send(b"%d" % pid)
            return False
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(stderr, 2)
        for each in (stderr, ending, self._wake, self._waking, *self._children.values()):
            os.close(each)
        self._asking.close()
        return True

    def _end(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                ending = self._children.pop(pid)
                with contextlib.suppress(BrokenPipeError):  # nobody wants to know any more
                    os.write(ending, b"%d" % os.waitstatus_to_exitcode(status))
                os.close(ending)


def _throw_dice() -> None:
    """Those that modules made when they were imported; `random`'s own is thrown by `fork`."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "activator":
            for value in vars(module).values():
                if isinstance(value, random.Random):
                    value.seed()


def main() -> int:
    for name in PRELOADED:
        importlib.import_module(name)
    asked = _Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if asked is None:
        return 0
    _throw_dice()
    os.environ.clear()
    os.environ.update(asked["environ"])
    sys.argv[1:] = asked["arguments"]
    status: int = importlib.import_module(asked["main"]).main()
    return status


if __name__ == "__main__":
    sys.exit(main())
