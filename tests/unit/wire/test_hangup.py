"""The watch over sockets that nobody reads: who has left, who has not, and whose number it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING

import pytest

from activator.wire.hangup import HangupWatch
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def watch() -> AsyncIterator[HangupWatch]:
    made = HangupWatch(asyncio.get_running_loop())
    yield made
    made.close()


@contextlib.contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    with ours, theirs:
        yield ours, theirs


def reset(theirs: socket.socket) -> None:
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    theirs.close()


class Told:
    def __init__(self) -> None:
        self.times = 0

    def gone(self) -> None:
        self.times += 1


async def test_a_shutdown_is_told_once_although_bytes_lie_before_it(watch: HangupWatch) -> None:
    told = Told()
    with tcp_pair() as (ours, theirs):
        watch.add(ours.fileno(), told.gone)
        theirs.sendall(b"unread")
        theirs.shutdown(socket.SHUT_WR)
        await eventually(lambda: told.times == 1)
        await asyncio.sleep(0.02)
        assert told.times == 1
        assert len(watch) == 0


async def test_one_who_has_left_before_the_watch_began_is_told_too(watch: HangupWatch) -> None:
    told = Told()
    with tcp_pair() as (ours, theirs):
        theirs.close()
        watch.add(ours.fileno(), told.gone)
        await eventually(lambda: told.times == 1)


async def test_bytes_alone_are_no_reason(watch: HangupWatch) -> None:
    told = Told()
    with tcp_pair() as (ours, theirs):
        watch.add(ours.fileno(), told.gone)
        theirs.sendall(b"unread")
        await asyncio.sleep(0.02)
        assert told.times == 0
        watch.remove(ours.fileno(), told.gone)
        theirs.close()
        await asyncio.sleep(0.02)
        assert told.times == 0


async def test_where_half_closing_is_not_leaving_a_reset_still_is(watch: HangupWatch) -> None:
    told = Told()
    with tcp_pair() as (ours, theirs):
        watch.add(ours.fileno(), told.gone, half=False)
        theirs.shutdown(socket.SHUT_WR)
        await asyncio.sleep(0.02)
        assert told.times == 0
        reset(theirs)
        await eventually(lambda: told.times == 1)


async def test_a_socket_that_was_closed_without_a_word_leaves_its_number_to_others(
    watch: HangupWatch,
) -> None:
    """Under TLS a connection hears of its end after its socket is closed, and the next one accepted
    may have got the number."""
    before, after = Told(), Told()
    with tcp_pair() as (ours, _):
        number = ours.fileno()
        watch.add(number, before.gone)
    with tcp_pair() as (ours, theirs):
        if ours.fileno() != number:
            os.dup2(ours.fileno(), number)
        watch.add(number, after.gone)
        watch.remove(number, before.gone)
        theirs.close()
        await eventually(lambda: after.times == 1)
        assert before.times == 0
        if ours.fileno() != number:
            os.close(number)


async def test_taking_a_closed_socket_out_is_nothing_special(watch: HangupWatch) -> None:
    told = Told()
    with tcp_pair() as (ours, _):
        number = ours.fileno()
        watch.add(number, told.gone)
    watch.remove(number, told.gone)
    watch.remove(number, told.gone)
    assert len(watch) == 0


async def test_one_who_fails_when_told_does_not_keep_the_others_from_hearing() -> None:
    loop, told, failed = asyncio.get_running_loop(), Told(), []
    loop.set_exception_handler(lambda _, context: failed.append(context["exception"]))
    watch = HangupWatch(loop)

    def broken() -> None:
        raise RuntimeError("a bug")

    with tcp_pair() as (ours, theirs), tcp_pair() as (more, others):
        for each in (theirs, others):
            each.close()
        watch.add(ours.fileno(), broken)
        watch.add(more.fileno(), told.gone)
        await eventually(lambda: told.times == 1)
        assert [type(each) for each in failed] == [RuntimeError]
    watch.close()
