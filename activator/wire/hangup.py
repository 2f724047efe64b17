"""Sees that a client has left although nobody reads from its socket.

A paused socket tells its protocol nothing: the end of the stream waits behind unread bytes. The
kernel knows it (EPOLLRDHUP), so one epoll of our own watches every paused socket for just that,
and is itself watched by the loop. What it cannot see: a client behind a full receive window.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable


class HangupWatch:
    """Calls back once when the peer of a watched socket has shut down or reset it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def __len__(self) -> int:
        return len(self._watched)

    def add(self, fd: int, gone: Callable[[], None]) -> None:
        """`gone` is called from the loop, at once if the peer has left already."""
        if fd not in self._watched:
            self._epoll.register(fd, select.EPOLLRDHUP | select.EPOLLONESHOT)
        self._watched[fd] = gone

    def remove(self, fd: int) -> None:
        if self._watched.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def close(self) -> None:
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._watched.clear()

    def _ready(self) -> None:
        for fd, _ in self._epoll.poll(0):
            gone = self._watched.get(fd)
            self.remove(fd)
            if gone is not None:
                gone()
