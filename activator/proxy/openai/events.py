"""The events of a response's stream, one at a time, as they stand in what a model has sent.

Read are an event's type, its number, and of the response that some carry what is exchanged; a slice
at a time, so that a long one holds nobody up.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from activator.proxy.edits import Edit
from activator.proxy.openai.responses import TOLD, exchanged
from activator.proxy.openai.toplevel import TopLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from activator.proxy.openai.toplevel import Value

CREATED: Final = "response.created"
FINAL: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
"""Types of the events that carry the whole response."""
_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA: Final = re.compile(rb"^data: ?([^\r\n]*)", re.MULTILINE)
_AT_ONCE: Final = 16
"""Slices that are read before the loop has its turn."""


class Splitter:
    """A stream in pieces → its events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        rest = self._rest
        at = max(0, len(rest) - 3)  # a blank line may have come by half
        rest += data
        begin, events = 0, list[bytes]()
        while (end := _END.search(rest, at)) is not None:
            events.append(bytes(rest[begin : end.end()]))
            begin = at = end.end()
        del rest[:begin]
        return events


@dataclass(frozen=True, slots=True)
class StreamEvent:
    raw: bytes
    kind: str = ""
    """Its type; empty: it is no event of a response, but a comment or `[DONE]`."""
    number: int | None = None
    """None: the model has not numbered it."""
    number_at: tuple[int, int] = (0, 0)
    """Where the number stands, or would."""
    response: tuple[int, int] | None = None
    """Where the response stands that it carries."""
    edits: tuple[Edit, ...] = ()
    """What is exchanged in that."""

    def numbered(self, number: int) -> list[Edit]:
        """To be known by this number."""
        if number == self.number:
            return [*self.edits]
        new = b"%d" % number if self.number is not None else b'"sequence_number":%d,' % number
        return [Edit(*self.number_at, new), *self.edits]


async def read_event(raw: bytes, job_id: str) -> StreamEvent:
    """`job_id`: whose response it is."""
    line = _DATA.search(raw)
    if line is None or not line[1].startswith(b"{"):
        return StreamEvent(raw)
    data, at = line[1], line.start(1)
    found = await top_level(data, {"type": 64, "sequence_number": 20, "response": len(data)})
    kind, number, response = (found.get(name) for name in ("type", "sequence_number", "response"))
    if kind is None:
        return StreamEvent(raw)
    is_numbered = number is not None and number.raw.isdigit()
    return StreamEvent(
        raw,
        kind=kind.raw.decode("utf-8", "replace").strip('"'),
        number=int(number.raw) if number is not None and is_numbered else None,
        number_at=(at + number.start, at + number.end)
        if number is not None and is_numbered
        else (at + 1, at + 1),
        response=None if response is None else (at + response.start, at + response.end),
        edits=()
        if response is None
        else tuple(exchanged(await top_level(response.raw, TOLD), job_id, at=at + response.start)),
    )


def written(kind: str, number: int, fields: Mapping[str, object]) -> bytes:
    """An event of ours."""
    said = {"type": kind, "sequence_number": number, **fields}
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps(said).encode())


async def top_level(data: bytes, wanted: Mapping[str, int]) -> Mapping[str, Value]:
    scanner = TopLevel(wanted)
    scanner.feed(data)
    steps = 0
    while scanner.pending:
        scanner.step()
        steps += 1
        if not steps % _AT_ONCE:
            await asyncio.sleep(0)
    return scanner.found
