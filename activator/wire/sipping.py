"""Reading a little at a time, for when very many clients begin at once.

A transport reads as much as there is, up to a quarter of a MiB, before anybody can say that
enough has come. In little sips it is a head and not much of the body behind it.
"""

from __future__ import annotations

import asyncio
from typing import Final, Generic, Protocol, TypeVar

SIP: Final = 8 << 10


def make_cup() -> memoryview:
    """Whatever is read lies in it until it is told: one is enough for all connections of a loop."""
    return memoryview(bytearray(SIP))


class Told(Protocol):
    """A protocol that another stands in for."""

    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> bool | None: ...

    def connection_lost(self, exc: Exception | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


ToldT = TypeVar("ToldT", bound=Told)


class StandIn(asyncio.BufferedProtocol, Generic[ToldT]):
    """Reads for a protocol, in its place at its transport; the rest it hears as ever."""

    __slots__ = ("_protocol",)

    def __init__(self, protocol: ToldT) -> None:
        self._protocol = protocol

    def eof_received(self) -> bool | None:
        return self._protocol.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._protocol.connection_lost(exc)

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()


class Sipping(StandIn[Told]):
    """See the module."""

    __slots__ = ("_cup",)

    def __init__(self, protocol: Told, cup: memoryview) -> None:
        super().__init__(protocol)
        self._cup = cup

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._cup

    def buffer_updated(self, nbytes: int) -> None:
        self._protocol.data_received(bytes(self._cup[:nbytes]))


def hand_over(
    transport: asyncio.Transport, protocol: asyncio.BaseProtocol, *, reading: bool
) -> None:
    """From now on `protocol` is told; a transport decides how it reads when it begins to."""
    if reading:
        transport.pause_reading()
    transport.set_protocol(protocol)
    if reading:
        transport.resume_reading()
