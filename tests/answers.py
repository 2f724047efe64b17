"""Answers of a scripted replica, in the forms in which HTTP lets one come: "hello" in the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.replica import hello

if TYPE_CHECKING:
    from tests.replica import Talk


async def pieces(talk: Talk) -> None:
    await talk.body()
    for piece in (b"HTTP/1.1 200 OK\r\nConte", b"nt-Length: 5\r\n\r\n", b"he", b"llo"):
        talk.send(piece)
        await talk.drain()
        await asyncio.sleep(0.005)


async def chunks(talk: Talk) -> None:
    await talk.body()
    talk.begin_chunks()
    for piece in (b"hel", b"lo", b""):
        talk.chunk(piece)
        await talk.drain()


async def until_close(talk: Talk) -> None:
    await talk.body()
    talk.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
    await talk.close()


async def hint(talk: Talk) -> None:
    await talk.body()
    talk.send(b"HTTP/1.1 103 Early Hints\r\nLink: </s>\r\n\r\n")
    await hello(talk)
