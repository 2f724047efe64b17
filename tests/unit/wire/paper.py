"""Connections without sockets: what the other side sends is a list of reads, cut at will."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Any

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.outbox import Outbox
from activator.wire.client import ClientConnection
from activator.wire.hangup import HangupWatch
from activator.wire.heads import CHUNKED, HeadLimits, ResponseHead
from activator.wire.known import KnownAnswers, KnownRequests
from activator.wire.server import ServerConnection, ServerKit, ServerLimits
from tests.service import RecordingService

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from activator.aiokit.outbox import Transport
    from activator.wire.heads import Field
    from activator.wire.sink import Lost


class PaperTransport(asyncio.Transport):
    """Writes go nowhere but into `written`; closing is told when the test has it told."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Any = None
        self.written = bytearray()
        self.writes = 0
        self.is_closed = False

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data
        self.writes += 1

    def pause_reading(self) -> None:
        return

    def resume_reading(self) -> None:
        return

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        return

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.protocol.connection_lost(None)


class AtOnce(Outbox):
    """No loop turns between what is played here, so that no turn of it ends."""

    def write(self, transport: Transport, data: bytes) -> None:
        transport.write(data)


class Asked:
    """What the sink of one request heard; implements `Sink`."""

    moved_at = 0.0

    def __init__(self, *, takes_whole: bool = True) -> None:
        self.takes_whole = takes_whole
        self.passed_by: ClientConnection | None = None
        """Whom it asks for chunks as they stand."""
        self.ending: bytes | tuple[bytes, ...] = b"\r\n"
        self.chunks: list[bytes] = []
        """Those that it got."""
        self.interims: list[ResponseHead] = []
        self.head: ResponseHead | None = None
        self.body = bytearray()
        self.trailers: list[Field] | None = None
        self.failure: Lost | None = None
        self.tunnelled: bytes | None = None

    @property
    def all_of_it(self) -> tuple[object, ...]:
        """To compare."""
        head = self.head and (self.head.status, self.head.fields)
        interims = [(each.status, each.fields) for each in self.interims]
        return interims, head, self.body, self.trailers, self.failure, self.tunnelled

    def interim(self, head: ResponseHead) -> None:
        self.interims.append(head)

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        assert self.head is None
        self.head = head
        if self.passed_by is not None and head.length == CHUNKED:
            self.passed_by.pass_chunks(
                self.chunk, ending=self.ending, moving=self, clock=lambda: len(self.body) + 1.0
            )

    def upgraded(self, head: ResponseHead, rest: bytes) -> None:
        self.head = head
        self.tunnelled = rest

    def data(self, data: bytes) -> None:
        assert self.trailers is None
        assert self.failure is None
        assert data
        self.body += data

    def chunk(self, chunk: bytes, size: int) -> None:
        data = chunk[-2 - size : -2]
        assert chunk == b"%x\r\n%b\r\n" % (size, data)
        self.chunks.append(chunk)
        self.data(data)

    def ended(self, trailers: list[Field]) -> None:
        assert self.trailers is None
        assert self.failure is None
        self.trailers = trailers

    def whole(self, head: ResponseHead, body: bytes) -> None:
        assert self.takes_whole
        self.answered(head, followed=True)
        if body:
            self.data(body)
        self.ended([])

    def lost(self, lost: Lost) -> None:
        assert self.trailers is None
        assert self.failure is None
        self.failure = lost

    def upstream_writable(self, *, ok: bool) -> None:
        return

    def on_deadline(self, now: float) -> None:
        return


class InAHurry:
    """Has all of an answer told to one who asked, and leaves it to him if it does not come at once;
    implements `Quick`."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._is_over = False

    def whole(self, head: ResponseHead, body: bytes) -> None:
        self._end()
        self._asked.whole(head, body)

    def in_steps(self) -> Asked:
        self._end()
        return self._asked

    def _end(self) -> None:
        assert not self._is_over
        self._is_over = True


class Desk:
    """Where connections on paper are played; made by `desk`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # not the runner's: it minds signals anew each time, for longer than what is played takes
        self._run = loop.run_until_complete
        self.deadlines = Deadlines(loop)
        self.hangups = HangupWatch(loop)
        self.known_requests = KnownRequests()
        self.known_answers = KnownAnswers()
        """Within the default limits: what has been played before is read from here."""

    def kit(self, service: RecordingService, limits: ServerLimits | None = None) -> ServerKit:
        return ServerKit(
            loop=self._loop,
            service=service,
            deadlines=self.deadlines,
            hangups=self.hangups,
            limits=limits or ServerLimits(),
            known=KnownRequests() if limits else self.known_requests,
            outbox=AtOnce(),
        )

    def serve(
        self,
        reads: Sequence[bytes],
        *,
        service: RecordingService | None = None,
        limits: ServerLimits | None = None,
    ) -> Served:
        """One client's connection, fed until it closes or there is no more."""
        recording = service or RecordingService()
        kit = self.kit(recording, limits)

        async def play() -> Served:
            transport = PaperTransport()
            transport.set_protocol(ServerConnection(kit))
            transport.protocol.connection_made(transport)
            for data in reads:
                if data and not transport.is_closed:
                    transport.protocol.data_received(data)
            listens = not transport.is_closed and isinstance(transport.protocol, ServerConnection)
            served = Served(
                recording, bytes(transport.written), writes=transport.writes, is_open=listens
            )
            transport.abort()
            return served

        return self._run(play())

    def ask(
        self,
        reads: Sequence[bytes],
        *,
        method: bytes = b"GET",
        upgrade: bool = False,
        eof: bool = False,
        limits: HeadLimits | None = None,
        passes: bool = False,
        ending: bytes | tuple[bytes, ...] = b"\r\n",
    ) -> tuple[Asked, bool]:
        """(what one request hears, whether its connection could be used again). `passes`: chunks
        are passed on as they stand, those with this `ending`. Who is in a hurry hears the same."""

        async def play(*, in_a_hurry: bool = False) -> tuple[Asked, bool]:
            transport, asked = PaperTransport(), Asked()
            connection = ClientConnection(
                limits=limits or HeadLimits(),
                deadlines=self.deadlines,
                on_closed=lambda connection: None,
                outbox=AtOnce(),
                known=None if limits else self.known_answers,
            )
            if passes:
                asked.passed_by, asked.ending = connection, ending
            transport.set_protocol(connection)
            connection.connection_made(transport)
            if in_a_hurry:
                connection.ask(b"", method, InAHurry(asked), inf)
            else:
                connection.begin(b"", method=method, length=0, upgrade=upgrade, sink=asked)
            for data in reads:
                if data and not transport.is_closed:
                    connection.data_received(data)
            if eof and not transport.is_closed:
                connection.eof_received()
            usable = connection.usable
            connection.close()
            return asked, usable

        heard = self._run(play())
        if method != b"HEAD" and not upgrade:
            asked, usable = self._run(play(in_a_hurry=True))
            assert (asked.all_of_it, usable) == (heard[0].all_of_it, heard[1])
        return heard


class Served:
    """What became of one client's stream; `is_open`: another request would be heard."""

    def __init__(
        self, service: RecordingService, written: bytes, *, writes: int, is_open: bool
    ) -> None:
        self.service = service
        self.written = written
        self.writes = writes
        self.is_open = is_open

    @property
    def whole(self) -> list[tuple[bytes, bytes, int, list[Field], bytes, list[Field]]]:
        """(method, target, minor version, fields, body, trailers) of each whole request."""
        return [
            (h.head.method, h.head.target, h.head.minor, h.head.fields, h.content, h.trailers)
            for h in self.service.heard
            if h.trailers is not None
        ]

    @property
    def is_refused(self) -> bool:
        return bool(self.service.refusals) or any(h.error for h in self.service.heard)


@contextlib.contextmanager
def paper_desk() -> Iterator[Desk]:
    with asyncio.Runner() as runner:
        made = Desk(runner.get_loop())
        yield made
        made.hangups.close()
        made.deadlines.close()


def cut(stream: bytes, places: Sequence[int]) -> list[bytes]:
    """The stream in reads, cut at these places."""
    ends = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(ends)]
