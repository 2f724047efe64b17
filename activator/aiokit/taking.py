"""Waiting for the other side of a connection to take what was written to it, for as long as it
takes anything of it.

A transport says that there is room again when most of what it keeps is gone; before it gives away
any of that, the kernel must be rid of a third of its own. Somebody who reads slowly takes long to
get there, and is not to be taken for one who has stopped.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from fcntl import ioctl
from math import inf
from termios import TIOCOUTQ
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_COUNT: Final = struct.Struct("i")
_ACKED: Final = struct.Struct("120xQ")
"""`tcpi_bytes_acked` of Linux's `tcp_info`, since 4.1."""


async def taken(waiting: Awaitable[object], so_far: Callable[[], float], *, silence: float) -> None:
    """`waiting`, which ends when there is room again. Raises TimeoutError when nothing has been
    taken for this long, which may be noticed that much later. `so_far`: as `taken_by`."""
    loop = asyncio.get_running_loop()
    now = -inf
    looked: asyncio.Handle

    def look() -> None:
        nonlocal now, looked
        before, now = now, so_far()
        if now > before:
            looked = loop.call_later(silence, look)
        else:
            limit.reschedule(loop.time())

    looked = loop.call_soon(look)  # what `waiting` writes first has been by then
    try:
        async with asyncio.timeout(None) as limit:
            await waiting
    finally:
        looked.cancel()


def taken_by(transport: asyncio.WriteTransport) -> int:
    """Grows with every byte that the other side's system takes, whatever is written meanwhile;
    under TLS, too, where a transport below keeps what nobody else can count."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        try:
            told = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
            (acked,) = _ACKED.unpack(told)
        except (OSError, ValueError, struct.error):  # it is closed, or no TCP, or an old system
            pass
        else:
            return int(acked)
    return -unsent(transport)


def unsent(transport: asyncio.WriteTransport) -> int:
    """Bytes that were written to it and that the other side's system has not taken. What the kernel
    keeps is among them; what lies between it and TLS is not."""
    kept: int = transport.get_write_buffer_size()
    sock = transport.get_extra_info("socket")
    if sock is None:
        return kept
    try:
        queued = ioctl(sock.fileno(), TIOCOUTQ, bytes(_COUNT.size))
    except (OSError, ValueError):  # it is closed
        return kept
    (sent,) = _COUNT.unpack(queued)
    return kept + int(sent)
