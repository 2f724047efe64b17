"""Sees that a client has left although nobody reads from its socket.

A paused socket tells its protocol nothing: the end of the stream waits behind unread bytes. The
kernel knows it (EPOLLRDHUP), so one epoll of our own watches every paused socket for just that,
and is itself watched by the loop. What it cannot see: a client behind a full receive window, and
under TLS a goodbye whose sender keeps its socket open until it is answered.
"""

from __future__ import annotations

import contextlib
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

    def add(self, fd: int, gone: Callable[[], None], *, half: bool = True) -> None:
        """`gone` is called from the loop, at once if the peer has left already.

        `half`: having shut down its sending side is leaving; otherwise only a reset is, and what
        was sent before a shutdown is still going to be read.
        """
        events = select.EPOLLONESHOT | (select.EPOLLRDHUP if half else 0)
        try:
            self._epoll.register(fd, events)
        except FileExistsError:
            self._epoll.modify(fd, events)
        self._watched[fd] = gone

    def remove(self, fd: int, gone: Callable[[], None]) -> None:
        """Nothing if `gone` does not watch `fd` (any more): the number may be another's by now."""
        if self._watched.get(fd) == gone:
            del self._watched[fd]
            with contextlib.suppress(OSError):  # TLS tells of an ending after the socket is closed
                self._epoll.unregister(fd)

    def close(self) -> None:
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
        self._watched.clear()

    def _ready(self) -> None:
        for fd, _ in self._epoll.poll(0):
            gone = self._watched.get(fd)
            if gone is not None:
                self.remove(fd, gone)
                try:
                    gone()
                except Exception as error:  # the others have gone all the same
                    context = {"message": "a hang-up's owner failed", "exception": error}
                    self._loop.call_exception_handler(context)
