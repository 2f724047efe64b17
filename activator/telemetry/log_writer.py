"""Lines of text to a descriptor that may not take them: by a thread, within a bound.

Whoever logs never waits: a collector that does not read, or a disk that is full, costs lines and
not requests. What is lost is counted, and said in its place as soon as something is read again.
"""

from __future__ import annotations

import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST: Final = 4 << 20
"""Bytes of lines that wait to be written: seconds of a line a request, and little memory."""
BATCH: Final = 256
"""Lines in one write: some tens of KiB, as much as a pipe takes at once."""
GATHER: Final = 0.01
"""Seconds in which lines come together: the thread takes its share of the interpreter from who
serves requests each time it wakes."""
LEAVE: Final = 1.0
"""Seconds that the end of the process waits for the last lines to be taken."""

_Item = bytes | int | threading.Event | None
"""A line, a number of lines that are missing here, whom to tell that it came so far, the end."""


class LogWriter:
    """Who logs and the thread that writes share this without a lock: each number has one of the
    two that adds to it, and only grows. Who reads one of the other's may see an older value: so who
    logs may find less room than there is by now, never more.
    """

    def __init__(
        self, write: Callable[[bytes], None], *, lost: Callable[[int], str], most: int = MOST
    ) -> None:
        """`write`: all of it, or OSError. `lost`: the line that says that so many are missing."""
        self._write = write
        self._lost = lost
        self._most = most
        self._lines: deque[_Item] = deque()
        # of who logs
        self._put = 0
        """Bytes."""
        self._bound = most
        """Of `_put`, as far as is known: beyond it, the thread's number is looked at. So a line
        costs one comparison, and whatever else has to be done before one is put is done there: no
        line is refused, and none follows a refused one, but by that way."""
        self._refused = self._said = 0
        """Lines, and those of them that were said to be lost."""
        # of the thread
        self._taken = 0
        """Bytes."""
        self._failed = self._unsaid = 0
        """Lines that could not be written, and how many are still to be said to be lost."""
        # of both
        self._called = False
        """The thread is going to look at what there is by now."""
        self._call = threading.Event()
        self._stuck_at = -1
        """Bytes taken when the last `flush` gave up."""
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        return self._put - self._taken >= self._most

    @property
    def dropped(self) -> int:
        """Lines that were not written, since the beginning."""
        return self._refused + self._failed

    def put(self, line: str) -> None:
        """With its end. Never waits; the line is lost if too much waits already."""
        self.put_encoded(line.encode(errors="backslashreplace"))

    def put_encoded(self, line: bytes) -> None:
        """The same, of a line as it is written."""
        if self._put >= self._bound and not self._finds_room():
            self._refused += 1
            return
        size = len(line)  # before: nothing is called while the sum is on its way, so that what
        self._put += size  # a second thread logs meanwhile is not left out of it
        self._lines.append(line)
        if not self._called:
            self._rouse()

    def refuse(self) -> None:
        """A line was not even made, since it was `full`."""
        self._refused += 1

    def flush(self, *, within: float = LEAVE) -> None:
        """Until everything put so far has been written, or it is plain that nobody reads."""
        if self._stuck_at == self._taken or not self._thread.is_alive():
            return
        self._say_refused()
        written = threading.Event()
        self._hurry.set()
        self._lines.append(written)
        self._rouse()
        if not written.wait(within):
            self._stuck_at = self._taken

    def close(self) -> None:
        """No more lines; what was put is still written, if the process lasts."""
        self._hurry.set()
        self._lines.append(None)
        self._rouse()

    def _finds_room(self) -> bool:
        self._bound = self._taken + self._most
        if self._put >= self._bound:
            return False
        self._say_refused()
        return True

    def _say_refused(self) -> None:
        refused = self._refused - self._said
        if refused:
            self._said += refused
            self._lines.append(refused)

    def _rouse(self) -> None:
        self._called = True
        self._call.set()

    def _run(self) -> None:
        lines = self._lines
        while True:
            self._hurry.wait(GATHER)
            if lines:
                # those that come meanwhile may gather, too: each write gives the interpreter away
                # and has to ask for it again
                for some in _batches(lines):
                    if self._write_batch(some):
                        return
                continue
            # whoever puts a line from here on calls; whoever did before is found without
            self._called = False
            if not lines:
                self._call.wait()
            self._call.clear()

    def _write_batch(self, some: list[_Item]) -> bool:
        """True: the end is among them."""
        if self._unsaid:
            return self._write_mixed(some)
        try:
            data = b"".join(some)  # type: ignore[arg-type]  # nothing but lines, mostly
        except TypeError:
            return self._write_mixed(some)
        self._deliver(data, size=len(data), lines=len(some))
        return False

    def _write_mixed(self, some: list[_Item]) -> bool:
        data: list[bytes] = []
        flushed: list[threading.Event] = []
        size = lines = said = 0
        missing = self._unsaid  # those that came before
        ended = False
        for one in some:
            match one:
                case bytes():
                    if missing:
                        data.append(self._lost(missing).encode())
                        said, missing = said + missing, 0
                    data.append(one)
                    lines, size = lines + 1, size + len(one)
                case int():
                    missing += one
                case threading.Event():
                    flushed.append(one)
                case None:
                    ended = True
        if missing:
            data.append(self._lost(missing).encode())
            said += missing
        self._unsaid = 0
        self._deliver(b"".join(data), size=size, lines=lines, said=said)
        if flushed:
            self._hurry.clear()
        for each in flushed:
            each.set()
        return ended

    def _deliver(self, data: bytes, *, size: int, lines: int, said: int = 0) -> None:
        """`size`: of what was put. `said`: lines whose loss is told in it."""
        try:
            self._write(data)
        except (OSError, ValueError):
            self._failed += lines
            self._unsaid += lines + said
        # not sooner: what is being written waits, too
        self._taken += size


def _batches(lines: deque[_Item]) -> Iterator[list[_Item]]:
    """Of what there is now."""
    left = len(lines)
    while left:
        size = min(left, BATCH)
        left -= size
        yield [lines.popleft() for _ in range(size)]


def to_descriptor(descriptor: int) -> Callable[[bytes], None]:
    """Writes that take all of what they are given, also where somebody has made the descriptor a
    non-blocking one. Not through a file object, whose lock would outlast the thread."""

    def write(data: bytes) -> None:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(descriptor, left) :]
            except BlockingIOError:
                room = select.poll()
                room.register(descriptor, select.POLLOUT)
                room.poll()

    return write
