"""Lines of text to a descriptor that may not take them: by a thread, within a bound.

Whoever logs never waits: a collector that does not read, or a disk that is full, costs lines and
not requests. What is lost is counted, and said in its place as soon as something is read again.
Lines of which there are tens of thousands in a second are made by the thread, many at a time:
that is cheaper than one by one between other things.
"""

from __future__ import annotations

import os
import select
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 4 << 20
"""Bytes of lines that wait to be written: seconds of a line a request, and little memory."""
BATCH: Final = 256
"""Lines in one write: some tens of KiB, as much as a pipe takes at once."""
GATHER: Final = 0.01
"""Seconds in which lines come together: the thread takes its share of the interpreter from who
serves requests each time it wakes."""
LEAVE: Final = 1.0
"""Seconds that the end of the process waits for the last lines to be taken."""

FACTS: Final = 9
"""Of a line that is still to be made: who makes it, and of what."""
RECKONED: Final = 512
"""Bytes that such a line is counted as: a request's is shorter, unless its path is long."""


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
        self._lines: list[Any] = []
        """Lines; facts of lines, one behind the other; numbers of lines that are missing here; whom
        to tell that it came so far; the end (None). Who logs adds at the end and the thread takes
        from the beginning, each in one operation."""
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

    def put_facts(self, facts: tuple[Any, ...]) -> None:
        """The same, of a line that is made when it is written. `facts`: so many as FACTS; the first
        of them is called with the facts of several such lines, one list that is its own, and
        returns these lines, one behind the other."""
        if self._put >= self._bound and not self._finds_room():
            self._refused += 1
            return
        self._put += RECKONED
        lines = self._lines
        lines += facts  # a tuple each that lived on would be work for the garbage collector
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
                # those that come from here on may gather: each write gives the interpreter away and
                # has to ask for it again
                some = lines[:]
                del lines[: len(some)]
                if self._write_all(some):
                    return
                continue
            # whoever puts a line from here on calls; whoever did before is found without
            self._called = False
            if not lines:
                self._call.wait()
            self._call.clear()

    def _write_all(self, some: list[Any]) -> bool:
        """True: the end is among them."""
        batch: list[bytes] = []
        lines = size = at = 0
        while at < len(some):
            one, begin = some[at], at
            at += 1
            if isinstance(one, bytes):
                batch.append(one)
                lines += 1
                size += len(one)
            elif callable(one):
                at = _end_of_run(some, begin, most=BATCH - lines)
                batch.append(_made(one, some[begin:at]))
                made = (at - begin) // FACTS
                lines += made
                size += made * RECKONED
            else:
                self._deliver(batch, lines=lines, size=size)
                batch, lines, size = [], 0, 0
                if one is None:
                    return True
                if isinstance(one, threading.Event):
                    self._hurry.clear()
                    one.set()
                else:
                    self._unsaid += one
            if lines >= BATCH:
                self._deliver(batch, lines=lines, size=size)
                batch, lines, size = [], 0, 0
        self._deliver(batch, lines=lines, size=size)
        return False

    def _deliver(self, batch: list[bytes], *, lines: int, size: int) -> None:
        """And before these lines, how many are missing there. `lines`: so many they are; `size`: of
        what was put."""
        unsaid = self._unsaid
        if unsaid:
            batch.insert(0, self._lost(unsaid).encode())
        elif not batch:
            return
        try:
            self._write(b"".join(batch))
        except (OSError, ValueError):
            self._failed += lines
            self._unsaid = unsaid + lines
        else:
            self._unsaid = 0
        # not sooner: what is being written waits, too
        self._taken += size


def _end_of_run(some: list[Any], begin: int, *, most: int) -> int:
    """Behind the facts from `begin` on that the same one makes `most` lines of."""
    make, at = some[begin], begin + FACTS
    end = min(len(some), begin + most * FACTS)
    makers = some[begin:end:FACTS]
    if makers.count(make) == len(makers):  # nearly always: nothing else was logged meanwhile
        return end
    while some[at] is make:
        at += FACTS
    return at


def _made(make: Callable[[list[Any]], bytes], facts: list[Any]) -> bytes:
    try:
        return make(facts)
    except Exception as error:  # never the problem of lines that others have logged
        return f"log lines cannot be made: {error!r}\n".encode(errors="backslashreplace")


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
