"""Where very many clients begin at once, little is read of each until somebody wants its body."""

from __future__ import annotations

import pytest

from activator.wire.sipping import SIP
from tests.service import Heard, House, RecordingService, listening
from tests.support import eventually

BODY = bytes(range(256)) * 256
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def keep_waiting(heard: Heard) -> None:
    heard.connection.pause_body()


def come_in(house: House) -> None:
    """Whoever is there already learns of the crowd; whoever comes later asks."""
    house.service.crowded = True
    for connection in house.service.connections:
        connection.sip()


async def disperse(house: House) -> None:
    house.service.crowded = False
    for connection in house.service.connections:
        connection.gulp()


@pytest.mark.parametrize("already", [True, False])
async def test_of_a_body_that_waits_hardly_anything_is_read(already: bool) -> None:
    service = RecordingService(at_head=keep_waiting)
    async with listening(service) as house:
        if not already:
            come_in(house)
        client = await house.client()
        await eventually(lambda: service.connections)
        come_in(house)
        client.send(POST)
        heard = await service.hears()
        await eventually(lambda: heard.content)
        assert len(heard.content) < SIP

        heard.connection.resume_body()

        assert (await client.reply()).body == b"POST / " + BODY


async def test_a_whole_body_comes_through_in_sips_and_out_of_them() -> None:
    service = RecordingService()
    async with listening(service) as house:
        client = await house.client()
        await eventually(lambda: service.connections)
        come_in(house)
        for _ in range(3):
            client.send(POST)
            assert (await client.reply()).body == b"POST / " + BODY
            client.send(GET)
            assert (await client.reply()).body == b"GET / "
        await disperse(house)
        client.send(POST)
        assert (await client.reply()).body == b"POST / " + BODY


async def test_a_pipeline_is_answered_in_order() -> None:
    service = RecordingService()
    async with listening(service) as house:
        client = await house.client()
        await eventually(lambda: service.connections)
        come_in(house)
        client.send((GET + POST) * 3)
        for _ in range(3):
            assert (await client.reply()).body == b"GET / "
            assert (await client.reply()).body == b"POST / " + BODY


async def test_a_client_that_leaves_is_noticed() -> None:
    service = RecordingService(at_head=keep_waiting)
    async with listening(service) as house:
        client = await house.client()
        await eventually(lambda: service.connections)
        come_in(house)
        client.send(POST)
        heard = await service.hears()

        await client.close()

        await eventually(lambda: heard.left)
        await eventually(lambda: not service.connections)


async def test_an_answer_before_the_bodys_end_arrives_whole() -> None:
    def refuse(heard: Heard) -> None:
        heard.answer(b"no", status=413)

    service = RecordingService(at_head=refuse)
    async with listening(service) as house:
        client = await house.client()
        await eventually(lambda: service.connections)
        come_in(house)
        client.send(POST * 20)

        reply = await client.reply()

        assert (reply.status, reply.body) == (413, b"no")
        await eventually(lambda: not service.connections)
