"""Clients that wait: each sends a numbered request over a connection of its own, one after the
other, and keeps it open until its answer has come."""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from bench.failure import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.processes import Address

BATCH: Final = 512
"""Requests after which we wait until they are held: a listener's backlog is finite, and a
connection that did not fit comes later than those behind it."""
SOURCES: Final = 20_000
"""Connections from one source address: the kernel has some 28 000 ports for them."""
IP_BIND_ADDRESS_NO_PORT: Final = 24
"""ip(7): the port is chosen when the other end is known, so that it may be in use elsewhere."""


class Waiting:
    """`send` once, then `collect` or `close`."""

    def __init__(self, address: Address, *, host: str, body: int) -> None:
        self._address = address
        self._host = host
        self._body = b"x" * body
        self._connections: list[socket.socket] = []

    def send(self, count: int, *, held: Callable[[], int], within: float = 60.0) -> None:
        """`held` tells how many are held by now. Raises BenchError if they never are."""
        for number in range(count):
            connection = _connect(self._address, source=f"127.0.0.{1 + number // SOURCES}")
            self._connections.append(connection)
            head = (
                f"POST /{number} HTTP/1.1\r\nHost: {self._host}\r\n"
                f"Content-Type: text/plain\r\nContent-Length: {len(self._body)}\r\n\r\n"
            )
            connection.sendall(head.encode() + self._body)
            if (number + 1) % BATCH == 0 or number + 1 == count:
                _wait_for(number + 1, held=held, within=within)

    def collect(self, *, within: float = 60.0) -> list[float | None]:
        """When each answer came (monotonic seconds); None: it was not the right one."""
        answered: list[float | None] = [None] * len(self._connections)
        waiting = {each.fileno(): number for number, each in enumerate(self._connections)}
        came: dict[int, bytes] = {}
        until = time.monotonic() + within
        with select.epoll() as poll:
            for fd in waiting:
                poll.register(fd, select.EPOLLIN)
            while waiting and time.monotonic() < until:
                for fd, _ in poll.poll(1.0, 1024):
                    number = waiting[fd]
                    data = self._connections[number].recv(65536)
                    came[fd] = came.get(fd, b"") + data
                    right = _is_answer(came[fd], number)
                    if right or not data:
                        answered[number] = time.monotonic() if right else None
                        poll.unregister(fd)
                        del waiting[fd]
        return answered

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections.clear()


def _connect(address: Address, *, source: str) -> socket.socket:
    connection = socket.socket()
    # closed by a reset: ten thousand ports that rest for a minute would be missed by the next
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    connection.bind((source, 0))
    connection.connect(address)
    return connection


def _is_answer(data: bytes, number: int) -> bool:
    """The recorder answers with the path it was asked for."""
    return data.startswith(b"HTTP/1.1 200") and data.endswith(b"\r\n\r\n/%d" % number)


def _wait_for(count: int, *, held: Callable[[], int], within: float) -> None:
    until = time.monotonic() + within
    while (now := held()) < count:
        if time.monotonic() > until:
            raise BenchError(f"{now} requests are held after {within:g} s, {count} were sent")
        time.sleep(0.005)
