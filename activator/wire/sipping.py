"""Reading a little at a time, for when very many clients begin at once.

A transport reads as much as there is, up to a quarter of a MiB, before anybody can say that
enough has come. In little sips it is a head and not much of the body behind it.
"""

from __future__ import annotations

import asyncio
from typing import Final

SIP: Final = 8 << 10


def make_cup() -> memoryview:
    """Whatever is read lies in it until it is told: one is enough for all connections of a loop."""
    return memoryview(bytearray(SIP))


class Sipping(asyncio.BufferedProtocol):
    """Stands in for a protocol at its transport."""

    __slots__ = ("_cup", "_protocol")

    def __init__(self, protocol: asyncio.Protocol, cup: memoryview) -> None:
        self._protocol = protocol
        self._cup = cup

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._cup

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(self._cup[:nbytes]))

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


def hand_over(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, *, reading: bool
) -> None:
    """From now on `protocol` is told; a transport decides how it reads when it begins to."""
    if reading:
        transport.pause_reading()
    transport.set_protocol(protocol)
    if reading:
        transport.resume_reading()
