"""One attempt at a replica: the clocks, what a failure allows, and what is given back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.endpoint import Timeouts
from activator.upstream.forward import Attempt, Ending, Failure, Outbound
from activator.upstream.registry import LiveReplica
from tests.faults import Faulty, failures
from tests.support import eventually
from tests.unit.upstream.support import ONE
from tests.unit.upstream.wires import Upstream

if TYPE_CHECKING:
    from activator.wire.client import ClientConnection
    from activator.wire.heads import Field, ResponseHead

pytestmark = pytest.mark.looptime

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


class Asking:
    """Whoever wants the answer; `events` is what it was told, in order."""

    def __init__(
        self, up: Upstream, *, method: bytes = b"GET", length: int = 0, takes_whole: bool = False
    ) -> None:
        self.events: list[Any] = []
        self.failures: list[Failure] = []
        self.up = up
        self.replica = LiveReplica(ONE, up.kit)
        head = b"%b / HTTP/1.1\r\n\r\n" % method
        outbound = Outbound(head, method, length, False)
        whole = self.whole if takes_whole else None
        self.attempt = Attempt(up.live, self.replica, outbound, self, whole=whole)

    def connected(self) -> None:
        self.events.append("connected")

    def interim(self, head: ResponseHead) -> None:
        self.events.append(head.status)

    body_at_hand = False

    def answered(self, head: ResponseHead, *, followed: bool) -> None:
        self.events.append(head.status)

    def data(self, data: bytes) -> None:
        self.events.append(data)

    def whole(self, head: ResponseHead, body: bytes) -> None:
        self.events.append((head.status, body))

    def ended(self, trailers: list[Field]) -> None:
        self.events.append("ended")

    def upgraded(self, head: ResponseHead, rest: bytes, connection: ClientConnection) -> None:
        self.events.append((head.status, rest))

    def failed(self, failure: Failure) -> None:
        self.events.append(failure.ending)
        self.failures.append(failure)

    def upstream_writable(self, *, ok: bool) -> None:
        self.events.append(("writable", ok))

    async def begin(self) -> None:
        self.attempt.begin()
        await eventually(lambda: self.events)

    @property
    def owed(self) -> int:
        return self.replica._owed


async def test_an_answer_passes_and_its_connection_rests() -> None:
    a = Asking(Upstream())
    await a.begin()
    a.up.wire.comes(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"o")
    a.up.wire.comes(b"k")

    assert a.events == ["connected", 103, 200, b"o", b"k", "ended"]
    assert a.up.wire.written == b"GET / HTTP/1.1\r\n\r\n"
    assert len(a.replica.pool.resting) == 1
    assert a.owed == 0


@pytest.mark.parametrize("closes", [False, True])
async def test_an_answer_that_comes_all_at_once_is_told_as_one(closes: bool) -> None:
    a = Asking(Upstream(), takes_whole=True)
    await a.begin()
    head = OK[:-2] + b"Connection: close\r\n\r\n" if closes else OK
    a.up.wire.comes(b"HTTP/1.1 103 Early Hints\r\n\r\n" + head + b"ok")

    assert a.events == ["connected", 103, (200, b"ok")]
    assert len(a.replica.pool.resting) == (0 if closes else 1)
    assert a.owed == 0


async def test_an_answer_with_more_behind_it_is_told_in_steps_and_its_connection_is_not_kept() -> (
    None
):
    a = Asking(Upstream(), takes_whole=True)
    await a.begin()
    a.up.wire.comes(OK + b"ok and more")

    assert a.events == ["connected", 200, b"ok", "ended"]
    assert a.replica.pool.resting == []


async def test_a_connection_at_rest_is_used_without_a_task() -> None:
    up = Upstream()
    first = Asking(up)
    await first.begin()
    up.wire.comes(OK + b"ok")
    second = Attempt(
        up.live, first.replica, Outbound(b"POST / HTTP/1.1\r\n\r\n", b"POST", 3, False), first
    )
    first.events.clear()

    second.begin()
    second.send(b"abc")
    second.finish([])

    assert first.events == ["connected"]
    assert up.wire.written.endswith(b"\r\n\r\nabc")
    assert len(up.live.tasks) == 0
    second.abort()


async def test_who_cannot_be_reached_has_seen_nothing() -> None:
    a = Asking(Upstream(), method=b"POST")
    a.up.network.refuses = ConnectionRefusedError("refused")
    await a.begin()

    assert a.events == [Ending.UNREACHABLE]
    assert a.owed == 0


async def test_opening_a_connection_is_bounded() -> None:
    a = Asking(Upstream(timeouts=Timeouts(connect=2.0)))
    a.up.network.hangs = True
    began = a.up.loop.time()
    await a.begin()

    assert a.events == [Ending.UNREACHABLE]
    assert a.up.loop.time() - began == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("how", ["ends", "breaks"])
async def test_a_connection_lost_before_the_request_was_whole(how: str) -> None:
    a = Asking(Upstream(), method=b"POST", length=10)
    await a.begin()
    a.attempt.send(b"half")
    getattr(a.up.wire, how)()

    assert a.events == ["connected", Ending.UNSENT]
    assert a.owed == 0


@pytest.mark.parametrize("how", ["ends", "breaks"])
async def test_a_connection_lost_before_the_answer_began(how: str) -> None:
    a = Asking(Upstream(), method=b"POST", length=4)
    await a.begin()
    a.attempt.send(b"full")
    a.attempt.finish([])
    getattr(a.up.wire, how)()

    assert a.events == ["connected", Ending.UNANSWERED]


@pytest.mark.parametrize("raw", [b"HTTP/1.1 what\r\n\r\n", b"HTTP/1.1 101 Switch\r\n\r\n"])
async def test_an_answer_that_is_no_http(raw: bytes) -> None:
    a = Asking(Upstream())
    await a.begin()
    a.up.wire.comes(raw)

    assert a.events == ["connected", Ending.INVALID]
    assert a.up.wire.closed


@pytest.mark.parametrize("how", ["ends", "breaks"])
async def test_an_answer_that_ends_too_soon(how: str) -> None:
    a = Asking(Upstream())
    await a.begin()
    a.up.wire.comes(OK + b"o")
    getattr(a.up.wire, how)()

    assert a.events == ["connected", 200, b"o", Ending.MIDWAY]
    assert a.owed == 0


@pytest.mark.parametrize(
    ("timeouts", "after"),
    [(Timeouts(first_byte=3.0), 3.0), (Timeouts(total=4.0), 4.0),
     (Timeouts(first_byte=9.0, total=4.0), 4.0)],
)  # fmt: skip
async def test_no_first_byte_in_time(timeouts: Timeouts, after: float) -> None:
    a = Asking(Upstream(timeouts=timeouts))
    await a.begin()
    await asyncio.sleep(after - 0.1)
    assert a.events == ["connected"]
    await asyncio.sleep(0.2)

    assert a.events == ["connected", Ending.FIRST_BYTE]
    assert a.up.wire.closed
    assert a.owed == 0


async def test_silence_in_the_middle_of_an_answer() -> None:
    a = Asking(Upstream(timeouts=Timeouts(idle=2.0)))
    await a.begin()
    await asyncio.sleep(60.0)  # before the answer has begun, idle does not count
    a.up.wire.comes(OK)
    await asyncio.sleep(1.9)
    a.up.wire.comes(b"o")
    await asyncio.sleep(1.9)
    assert a.events == ["connected", 200, b"o"]
    await asyncio.sleep(0.2)

    assert a.events[3:] == [Ending.MIDWAY]


async def test_silence_begins_with_the_last_byte_of_a_long_answer() -> None:
    a = Asking(Upstream(timeouts=Timeouts(first_byte=1.0, idle=2.0)))
    await a.begin()
    a.up.wire.comes(b"HTTP/1.1 200 OK\r\n\r\nx")
    for _ in range(100):
        await asyncio.sleep(0.13)
        a.up.wire.comes(b"x")
    await asyncio.sleep(1.9)
    assert a.events == ["connected", 200, *[b"x"] * 101]
    await asyncio.sleep(0.2)

    assert a.events[-1] == Ending.MIDWAY


async def test_chunks_that_are_passed_on_are_heard_though_not_told() -> None:
    a = Asking(Upstream(timeouts=Timeouts(idle=2.0)))
    await a.begin()
    passed: list[tuple[bytes, int]] = []
    a.up.wire.comes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    a.attempt.pass_chunks(lambda chunk, size: passed.append((chunk, size)))
    for _ in range(5):
        await asyncio.sleep(1.9)
        a.up.wire.comes(b"1\r\nx\r\n")
        assert a.replica.last_byte == a.up.loop.time()
    assert passed == [(b"1\r\nx\r\n", 1)] * 5
    assert a.events == ["connected", 200]
    await asyncio.sleep(2.1)

    assert a.events[2:] == [Ending.MIDWAY]
    assert a.owed == 0


async def test_chunks_of_the_next_answer_are_not_passed_to_who_had_the_one_before() -> None:
    a = Asking(Upstream())
    await a.begin()
    passed: list[bytes] = []
    began = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    a.up.wire.comes(began)
    a.attempt.pass_chunks(lambda chunk, size: passed.append(chunk))
    a.up.wire.comes(b"1\r\nx\r\n")
    a.up.wire.comes(b"0\r\n\r\n")
    a.events.clear()
    Attempt(a.up.live, a.replica, Outbound(b"GET / HTTP/1.1\r\n\r\n", b"GET", 0, False), a).begin()
    a.up.wire.comes(began)
    a.up.wire.comes(b"1\r\ny\r\n")
    a.up.wire.comes(b"0\r\n\r\n")

    assert len(a.up.network.wires) == 1
    assert passed == [b"1\r\nx\r\n"]
    assert a.events == ["connected", 200, b"y", "ended"]


async def test_total_ends_an_answer_that_goes_on() -> None:
    a = Asking(Upstream(timeouts=Timeouts(idle=2.0, total=5.0)))
    await a.begin()
    a.up.wire.comes(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(4):
        await asyncio.sleep(1.0)
        a.up.wire.comes(b"x")
    assert a.events[-1] == b"x"
    await asyncio.sleep(1.1)

    assert a.events[-1] == Ending.MIDWAY


async def test_nobody_is_silent_while_nobody_listens() -> None:
    a = Asking(Upstream(timeouts=Timeouts(idle=2.0, total=60.0)))
    await a.begin()
    a.up.wire.comes(OK)
    a.attempt.pause()
    a.attempt.pause()
    assert (a.up.wire.reading, a.owed) == (False, 0)

    await asyncio.sleep(10.0)
    assert a.events == ["connected", 200]
    a.attempt.resume()
    assert (a.up.wire.reading, a.owed) == (True, 1)
    await asyncio.sleep(2.1)

    assert a.events[2:] == [Ending.MIDWAY]
    assert a.owed == 0


async def test_total_runs_on_while_nobody_listens() -> None:
    a = Asking(Upstream(timeouts=Timeouts(total=5.0)))
    await a.begin()
    a.up.wire.comes(OK)
    a.attempt.pause()
    await asyncio.sleep(5.1)

    assert a.events == ["connected", 200, Ending.MIDWAY]
    assert a.owed == 0


async def test_aborting_closes_the_connection_and_says_nothing() -> None:
    a = Asking(Upstream())
    await a.begin()
    a.attempt.abort()

    assert a.up.wire.closed
    assert a.events == ["connected"]
    assert a.owed == 0


async def test_aborting_while_a_connection_is_opened_leaves_nothing() -> None:
    a = Asking(Upstream())
    a.up.network.hangs = True
    a.attempt.begin()
    await asyncio.sleep(0)

    a.attempt.abort()

    await eventually(lambda: not len(a.up.live.tasks))
    assert a.events == []
    assert a.owed == 0


async def test_an_upgrade_hands_the_connection_over() -> None:
    up = Upstream()
    a = Asking(up)
    outbound = Outbound(b"GET / HTTP/1.1\r\n\r\n", b"GET", 0, True)
    a.attempt = Attempt(up.live, a.replica, outbound, a)
    await a.begin()
    up.wire.comes(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nfirst")

    assert a.events == ["connected", (101, b"first")]
    assert not up.wire.closed
    assert a.owed == 0


async def test_back_pressure_is_passed_on() -> None:
    a = Asking(Upstream(), method=b"POST", length=10)
    await a.begin()
    a.up.wire.protocol.pause_writing()
    a.up.wire.protocol.resume_writing()

    assert a.events == ["connected", ("writable", False), ("writable", True)]
    a.attempt.abort()


async def test_a_chunked_body_is_framed_with_its_trailers() -> None:
    a = Asking(Upstream(), method=b"POST", length=-1)
    await a.begin()
    a.attempt.send(b"abc")
    a.attempt.finish([(b"x", b"1", b"X: 1")])

    assert a.up.wire.written.endswith(b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n")
    a.attempt.abort()


async def test_a_fault_of_ours_in_connecting_ends_the_attempt_and_is_not_the_replicas(
    caplog: pytest.LogCaptureFixture,
) -> None:
    a = Asking(Upstream())
    a.up.network.refuses = RuntimeError("a secret")
    await a.begin()

    (failure,) = a.failures
    assert a.events == [Ending.UNREACHABLE]
    assert "an error of its own (RuntimeError)" in failure.detail
    assert "secret" not in failure.detail
    assert not failure.unreachable
    assert a.owed == 0
    await asyncio.sleep(0)
    assert failures(caplog) == ["test/connect"]


async def test_a_fault_of_ours_in_sending_ends_the_attempt_and_its_connection(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = Asking(Upstream())
    Faulty(monkeypatch, a, "connected")
    await a.begin()

    assert a.events == [Ending.UNANSWERED]
    assert a.owed == 0
    assert a.up.wire.is_closing()
    await asyncio.sleep(0)
    assert failures(caplog) == ["test/connect"]
