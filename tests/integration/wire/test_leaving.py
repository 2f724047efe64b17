"""A client that leaves is noticed within a second, whatever its request is doing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.rawclient import RawClient
from tests.service import Heard, House, RecordingService, listening
from tests.support import eventually

pytestmark = pytest.mark.usefixtures("each_write")

WITHIN = 1.0

Leave = Callable[[RawClient], None]


def fin(client: RawClient) -> None:
    client.half_close()


def rst(client: RawClient) -> None:
    client.reset()


leaves = pytest.mark.parametrize("leave", [fin, rst])

UPLOAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n"


def waiting(*, pause: bool = False) -> RecordingService:
    """A service that answers nothing, and perhaps reads no bodies."""

    def at_head(heard: Heard) -> None:
        if pause:
            heard.connection.pause_body()

    return RecordingService(at_head=at_head, once_whole=lambda heard: None)


async def is_noticed(house: House, heard: Heard) -> None:
    await eventually(lambda: heard.left, within=WITHIN)
    await eventually(lambda: not house.service.connections, within=WITHIN)
    assert len(house.hangups) == 0


@leaves
async def test_while_the_request_is_complete_and_waits(leave: Leave) -> None:
    async with listening(waiting()) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        heard = await house.service.hears()
        leave(client)
        await is_noticed(house, heard)


@leaves
async def test_while_the_body_is_being_read(leave: Leave) -> None:
    async with listening(waiting()) as house:
        client = await house.client()
        client.send(UPLOAD + b"x" * 1000)
        heard = await house.service.hears()
        await eventually(lambda: heard.size == 1000)
        leave(client)
        await is_noticed(house, heard)
        assert not heard.whole


@leaves
async def test_while_the_body_is_paused_and_the_socket_is_empty(leave: Leave) -> None:
    async with listening(waiting(pause=True)) as house:
        client = await house.client()
        client.send(UPLOAD)
        heard = await house.service.hears()
        leave(client)
        await is_noticed(house, heard)


@leaves
async def test_while_the_body_is_paused_and_the_socket_is_full_of_it(leave: Leave) -> None:
    async with listening(waiting(pause=True)) as house:
        client = await house.client()
        client.send(UPLOAD)
        heard = await house.service.hears()
        client.send(b"x" * 50_000)
        await client.drain()
        leave(client)
        await is_noticed(house, heard)
        assert heard.size == 0


@leaves
async def test_while_a_whole_body_lies_unread_in_the_socket(leave: Leave) -> None:
    async with listening(waiting(pause=True)) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n")
        heard = await house.service.hears()
        client.send(b"x" * 1000)
        leave(client)
        await is_noticed(house, heard)


@leaves
async def test_after_the_body_was_paused_and_read_on(leave: Leave) -> None:
    async with listening(waiting(pause=True)) as house:
        client = await house.client()
        client.send(UPLOAD + b"x" * 1000)
        heard = await house.service.hears()
        heard.connection.resume_body()
        client.send(b"x" * 1000)
        await eventually(lambda: heard.size == 2000)
        leave(client)
        await is_noticed(house, heard)


@leaves
async def test_while_more_is_pipelined_than_is_read_in_advance(leave: Leave) -> None:
    """As long as what is unread fits the socket: see `wire.hangup` for what cannot be seen."""
    async with listening(waiting()) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        heard = await house.service.hears()
        client.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n" * 3_000)
        await eventually(lambda: len(house.hangups) == 1)
        leave(client)
        await is_noticed(house, heard)
        assert len(house.service.heard) == 1


@leaves
async def test_in_the_middle_of_an_answer(leave: Leave) -> None:
    service = RecordingService(once_whole=lambda heard: heard.begin())
    async with listening(service) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        heard = await service.hears()
        heard.connection.send(b"data")
        assert await client.head()
        assert await client.chunk() == b"data"
        leave(client)
        await is_noticed(house, heard)


@leaves
async def test_while_it_does_not_read_the_answer(leave: Leave) -> None:
    def pour(heard: Heard) -> None:
        if not heard.connection.answering:
            heard.begin()
        while heard.room[-1:] != [False]:
            heard.connection.send(bytes(1 << 16))

    service = RecordingService(once_whole=pour, at_room=pour)
    async with listening(service) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        heard = await service.hears()
        await eventually(lambda: False in heard.room)
        leave(client)
        await is_noticed(house, heard)


@leaves
@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"])
async def test_between_requests_and_within_a_head_there_is_nobody_to_tell(
    leave: Leave, sent: bytes
) -> None:
    async with listening(RecordingService()) as house:
        client = await house.client()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.reply()
        client.send(sent)
        leave(client)
        await eventually(lambda: not house.service.connections, within=WITHIN)
        assert [heard.left for heard in house.service.heard] == [False]
        assert house.service.refusals == []


async def test_a_client_that_asks_and_shuts_down_gets_what_was_answered_before() -> None:
    """The answer was made when its end of stream came: it is sent, though nobody need want it."""
    answer = bytes(8 << 20)
    service = RecordingService(once_whole=lambda heard: heard.answer(answer))
    async with listening(service) as house:
        client = await house.client()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await service.hears()
        client.half_close()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert len((await client.reply()).body) == len(answer)
        assert await client.ended() == "eof"


async def test_many_paused_clients_that_leave_at_once_are_all_noticed() -> None:
    async with listening(waiting(pause=True)) as house:
        clients = [await house.client() for _ in range(100)]
        for client in clients:
            client.send(UPLOAD + b"x" * 10_000)
        await house.service.hears(100)
        await eventually(lambda: len(house.hangups) == 100)
        for i, client in enumerate(clients):
            (fin, rst)[i % 2](client)
        await eventually(lambda: all(heard.left for heard in house.service.heard), within=WITHIN)
        assert len(house.hangups) == 0


async def test_a_client_that_stays_is_not_taken_for_gone() -> None:
    async with listening(waiting(pause=True)) as house:
        client = await house.client()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n")
        heard = await house.service.hears()
        for _ in range(20):
            client.send(b"x" * 15_000)
            heard.connection.resume_body()
            heard.connection.pause_body()
        heard.connection.resume_body()
        await eventually(lambda: heard.whole)
        assert not heard.left
        heard.answer(b"here")
        assert (await client.reply()).body == b"here"
