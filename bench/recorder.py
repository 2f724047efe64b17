"""A model server that records when and in which order requests reach it.

Own edge-triggered epoll loop: its ready list holds sockets in the order in which their data came,
which neither level-triggered epoll nor an event loop on top of it promises. All times are
CLOCK_MONOTONIC seconds, which every process on the machine shares.

`GET /health`: 200. `GET /journal`: what was recorded, as JSON. Everything else is recorded by its
path, counted as in flight for `--work` seconds, and answered with its path.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import resource
import select
import socket
import time
from collections import deque
from typing import Final

PIECE: Final = 256 << 10
BACKLOG: Final = 1024
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Recorder:
    """The server. `listen` once, then `run` for ever."""

    def __init__(self, *, work: float) -> None:
        self._work = work
        self._epoll = select.epoll()
        self._connections: dict[int, socket.socket] = {}
        self._partial: dict[int, bytes] = {}
        self._due: deque[tuple[float, int, bytes]] = deque()
        self._listening_at = 0.0
        self._arrivals: list[tuple[float, str]] = []
        self._in_flight = 0
        self._most_in_flight = 0

    def listen(self, host: str, port: int) -> None:
        server = self._server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((host, port))
        server.setblocking(False)
        server.listen(BACKLOG)
        self._listening_at = time.monotonic()
        self._epoll.register(server.fileno(), select.EPOLLIN | select.EPOLLET)

    def run(self) -> None:
        listener = self._server.fileno()
        while True:
            for fd, _ in self._epoll.poll(self._until_due()):
                if fd == listener:
                    self._accept()
                else:
                    self._read(fd)
            self._finish_work()

    def _until_due(self) -> float | None:
        if not self._due:
            return None
        return max(0.0, self._due[0][0] - time.monotonic())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[connection.fileno()] = connection
            self._epoll.register(connection.fileno(), select.EPOLLIN | select.EPOLLET)

    def _read(self, fd: int) -> None:
        connection = self._connections[fd]
        while True:
            try:
                data = connection.recv(PIECE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._forget(fd)
                return
            self._feed(fd, self._partial.pop(fd, b"") + data)

    def _feed(self, fd: int, data: bytes) -> None:
        """One request at a time: this package's load never pipelines."""
        end = data.find(b"\r\n\r\n")
        found = _LENGTH.search(data, 0, end) if end >= 0 else None
        if end < 0 or len(data) < end + 4 + (int(found.group(1)) if found else 0):
            self._partial[fd] = data
            return
        path = data.split(b" ", 2)[1]
        if path == b"/health":
            self._answer(fd, b"well")
        elif path == b"/journal":
            self._answer(fd, self._journal())
        else:
            now = time.monotonic()
            self._arrivals.append((now, path.decode("latin-1")))
            self._in_flight += 1
            self._most_in_flight = max(self._most_in_flight, self._in_flight)
            if self._work:
                self._due.append((now + self._work, fd, path))
            else:
                self._in_flight -= 1
                self._answer(fd, path)

    def _finish_work(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, fd, path = self._due.popleft()
            self._in_flight -= 1
            self._answer(fd, path)

    def _answer(self, fd: int, body: bytes) -> None:
        connection = self._connections.get(fd)
        if connection is None:
            return
        whole = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
        try:
            sent = connection.send(whole)
            if sent < len(whole):  # the journal: nothing is recorded while it leaves
                connection.setblocking(True)
                connection.sendall(whole[sent:])
                connection.setblocking(False)
        except OSError:
            self._forget(fd)

    def _journal(self) -> bytes:
        journal = {
            "listening_at": self._listening_at,
            "arrivals": self._arrivals,
            "most_in_flight": self._most_in_flight,
        }
        return json.dumps(journal).encode()

    def _forget(self, fd: int) -> None:
        self._partial.pop(fd, None)
        connection = self._connections.pop(fd, None)
        if connection is not None:
            connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--work", type=float, default=0.0, help="seconds a request takes")
    parser.add_argument("--core", type=int, help="the core to run on")
    parser.add_argument(
        "--load-seconds", type=float, nargs=2, default=(0.0, 0.0), metavar=("MIN", "MAX"),
        help="listens after a random time between these",
    )  # fmt: skip
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.disable()
    recorder = Recorder(work=options.work)
    time.sleep(random.uniform(*options.load_seconds))
    recorder.listen(options.host, options.port)
    recorder.run()


if __name__ == "__main__":
    main()
