"""Which TCP port the next replica gets: free now, not promised to another, and safe to probe.

Ports inside the kernel's ephemeral range are avoided: while a model loads for a minute an
outgoing connection could be given its port, and a probe of a port in that range on which nobody
listens yet can connect to itself and take that for an answer.
"""

from __future__ import annotations

import errno
import random
import socket
import time
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HANDED_OUT_FOR = 30.0
"""Seconds for which a port is not given again after it was let go: clients may still try it."""

_LOWEST = 10000
_HIGHEST = 65535
_ATTEMPTS = 128
_RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
_USUAL_RANGE = (32768, 60999)


class Ports:
    """Hands out ports for all replicas of one activator."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        dice: random.Random | None = None,
    ) -> None:
        self._clock = clock
        self._dice = dice or random.Random()
        self._ephemeral = _ephemeral_range()
        self._held: set[int] = set()
        self._rest_until: dict[int, float] = {}

    def take(self, host: str) -> int:
        """A port that can be listened on at `host` now; held until `give_back`.

        Raises OSError when `host` is no address of this machine or no port is free.
        """
        now = self._clock()
        self._rest_until = {port: at for port, at in self._rest_until.items() if at > now}
        for port in self._draw():
            free = _listenable(host, port)
            if free is not None and free not in self._held and free not in self._rest_until:
                self._held.add(free)
                return free
        raise OSError(errno.EADDRINUSE, "no free port was found")

    def _draw(self) -> Iterator[int]:
        low, high = self._ephemeral
        for _ in range(_ATTEMPTS):
            port = self._dice.randint(_LOWEST, _HIGHEST)
            if not low <= port <= high:
                yield port
        # the kernel's choice, where nothing else is free
        yield from repeat(0, _ATTEMPTS)

    def give_back(self, port: int) -> None:
        """The replica that had this port has ended."""
        self._held.discard(port)
        self._rest_until[port] = self._clock() + HANDED_OUT_FOR


def _ephemeral_range() -> tuple[int, int]:
    try:
        with open(_RANGE_FILE, encoding="ascii") as file:
            low, high = map(int, file.read().split())
    except (OSError, ValueError):
        return _USUAL_RANGE
    return low, high


def _listenable(host: str, port: int) -> int | None:
    """The port if it can be bound at `host`, None if it is taken; 0 is the kernel's choice."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return None
            raise
        return int(probe.getsockname()[1])


SHARED = Ports()
"""The ports of this process: endpoints do not know each other, but must not get the same one."""
