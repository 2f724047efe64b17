"""A load that comes at a steady rate, whatever becomes of it (an open loop).

A request's latency counts from the moment at which it was due. One that cannot be sent, since all
connections wait for answers, is late by its own account: a server that stalls is charged for every
request that it would have had meanwhile (no coordinated omission).
"""

from __future__ import annotations

import gc
import re
import select
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.failure import BenchError
from bench.rounds import percentile

if TYPE_CHECKING:
    from bench.contestant import Contestant

CONNECTIONS: Final = 64
SILENCE: Final = 10.0
"""Seconds without any answer after which it is over."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Steady:
    """Seconds, in order. `lateness`: of sending, from when a request was due; what of it is our
    own shows in the one against the upstream itself."""

    latencies: list[float]
    lateness: list[float]

    @property
    def p50(self) -> float:
        return percentile(self.latencies, 0.5)

    @property
    def p99(self) -> float:
        return percentile(self.latencies, 0.99)

    @property
    def late_p99(self) -> float:
        return percentile(self.lateness, 0.99)


def steady(to: Contestant, *, path: str, rate: float, seconds: float) -> Steady:
    """Each request has a query of its own, so that nobody who remembers heads gains by that. Raises
    BenchError for any answer that is not a 200, and for none."""
    load = _Load(to, path=path, rate=rate, count=round(rate * seconds))
    collecting = gc.isenabled()
    gc.disable()
    try:
        load.run()
    finally:
        load.close()
        if collecting:
            gc.enable()
    return Steady(latencies=sorted(load.latencies), lateness=sorted(load.lateness))


class _Load:
    def __init__(self, to: Contestant, *, path: str, rate: float, count: int) -> None:
        self._name = to.name
        self._before = f"GET {path}?turn=".encode()
        self._after = f" HTTP/1.1\r\nHost: {to.host}\r\n\r\n".encode()
        self._interval = 1 / rate
        self._count = count
        self._idle = [_connect(to.address) for _ in range(CONNECTIONS)]
        self._all = list(self._idle)
        self._busy: dict[socket.socket, float] = {}
        """When the request on it was due."""
        self._partial: dict[socket.socket, bytes] = {}
        self.latencies: list[float] = []
        self.lateness: list[float] = []

    def run(self) -> None:
        start = last = time.monotonic() + 0.01
        due: deque[float] = deque()
        announced = 0
        while len(self.latencies) < self._count:
            now = time.monotonic()
            while announced < self._count and start + announced * self._interval <= now:
                due.append(start + announced * self._interval)
                announced += 1
            while due and self._idle:
                self._send(due.popleft())
            wait = SILENCE
            if announced < self._count:
                wait = max(0.0, start + announced * self._interval - time.monotonic())
            readable, _, _ = select.select(list(self._busy), (), (), wait)
            for connection in readable:
                self._receive(connection)
                last = time.monotonic()
            if self._busy and time.monotonic() - last > SILENCE:
                raise BenchError(f"{self._name} answers no more")

    def close(self) -> None:
        for connection in self._all:
            connection.close()

    def _send(self, due: float) -> None:
        connection = self._idle.pop()
        self._busy[connection] = due
        self.lateness.append(time.monotonic() - due)
        connection.sendall(b"%b%d%b" % (self._before, len(self.lateness), self._after))

    def _receive(self, connection: socket.socket) -> None:
        data = connection.recv(65536)
        if not data:
            raise BenchError(f"{self._name} closed a connection")
        if connection in self._partial:
            data = self._partial.pop(connection) + data
        end = data.find(b"\r\n\r\n")
        found = _LENGTH.search(data, 0, end) if end >= 0 else None
        if found is None or len(data) < end + 4 + int(found.group(1)):
            self._partial[connection] = data
            return
        self.latencies.append(time.monotonic() - self._busy.pop(connection))
        if not data.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"{self._name} answered {data[:200]!r}")
        self._idle.append(connection)


def _connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
