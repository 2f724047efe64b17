"""Answers as JSON, and answers about all endpoints, which are made piece by piece.

Decides how an answer is written and sent, not what is in it. All of a long one is there before the
first byte is sent: what goes wrong halfway is an error like any other, and the length is known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, is_dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, cast

from aiohttp import web
from aiohttp.payload import Payload

from activator.aiokit.slices import Slices
from activator.aiokit.taking import taken, taken_by
from activator.telemetry.logs import plain

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_writer import StreamWriter

PART: Final = 64 << 10
"""Bytes that are sent at a time."""
AT_ONCE: Final = 10
"""Items that are written in one piece: half a millisecond."""
STUCK: Final = 30.0
"""Seconds for which a reader may take nothing of an answer: it is kept for them meanwhile. Whoever
reads slowly may take all the time there is."""


# --- one value


def as_json(value: Any) -> str:
    """Dataclasses as objects; what JSON has no word for (NaN, other objects) as text."""
    try:
        return _encode(value)
    except ValueError:  # a number that is none, which is rare: looking for them takes longer
        return _encode(plain(json.loads(_encode_any(value))))


def _said(value: Any) -> Any:
    """What the encoder does not know."""
    if is_dataclass(value):
        return {name: getattr(value, name) for name in value.__dataclass_fields__}
    return plain(value)


_encode: Final = json.JSONEncoder(default=_said, allow_nan=False).encode
_encode_any: Final = json.JSONEncoder(default=_said).encode


def answer(value: Any) -> web.Response:
    return web.json_response(value, dumps=as_json)


# --- many


@dataclass(frozen=True, slots=True)
class Listed:
    """A JSON array, of which each item is made when its turn comes."""

    items: Iterable[Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A JSON object, of which each member is made when its turn comes."""

    members: Iterable[tuple[str, Any]]


def pieces(whole: Mapping[str, Any]) -> Iterator[str]:
    """Of an object that may have a `Listed` or `Named` in it, at any depth of objects; together
    they are its JSON."""
    yield "{"
    between = ""
    for name, value in whole.items():
        yield f"{between}{as_json(name)}: "
        match value:
            case Listed(items):
                yield "["
                yield from _some(items, list)
                yield "]"
            case Named(members):
                yield "{"
                yield from _some(members, dict)
                yield "}"
            case dict():
                yield from pieces(value)
            case _:
                yield as_json(value)
        between = ", "
    yield "}"


def _some(items: Iterable[Any], kind: type[list[Any] | dict[str, Any]]) -> Iterator[str]:
    """What is between the brackets, a few items at a time: to begin takes as long as one does."""
    left = iter(items)
    between = ""
    while some := kind(islice(left, AT_ONCE)):
        yield between + as_json(some)[1:-1]
        between = ", "


async def in_parts(pieces: Iterable[str]) -> list[bytes]:
    """What these texts are together, for `sent`. Everybody else has turns in between."""
    slices = Slices()
    parts: list[bytes] = []
    texts: list[str] = []
    size = 0
    for text in pieces:
        texts.append(text)
        size += len(text)
        if size >= PART:
            parts.append("".join(texts).encode())
            texts, size = [], 0
        await slices.turn()
    if texts:
        parts.append("".join(texts).encode())
    return parts


class Together:
    """A long answer that many ask for: who has come before it is begun is given the same.

    So it costs no more with twenty readers than with two. `lock`: held while one is made; those
    who share it take no more of the loop together than one of them.
    """

    def __init__(self, pieces: Callable[[], Iterable[str]], *, lock: asyncio.Lock) -> None:
        self._pieces = pieces
        self._lock = lock
        self._asked = 0
        self._told = 0
        """So many of these may have the last answer."""
        self._waiting = 0
        self._parts: list[bytes] = []
        """The last answer, while somebody waits."""

    async def parts(self) -> list[bytes]:
        self._asked += 1
        self._waiting += 1
        number = self._asked
        try:
            async with self._lock:
                if number > self._told:
                    before = self._asked
                    self._parts = await in_parts(self._pieces())
                    self._told = before
                return self._parts
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._parts = []


# --- sending


def sent(
    parts: Sequence[bytes],
    *,
    content_type: str = "application/json; charset=utf-8",
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """As a response of its full length."""
    return web.Response(
        body=_Parts(parts), headers={"Content-Type": content_type, **(headers or {})}
    )


async def long_answer(whole: Mapping[str, Any]) -> web.Response:
    """Of `pieces` that only one client has asked for."""
    return sent(await in_parts(pieces(whole)))


class _Parts(Payload):
    """Sent one after another, as they are taken."""

    _autoclose = True

    def __init__(self, parts: Sequence[bytes]) -> None:
        super().__init__(parts)
        self._size = sum(map(len, parts))

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value).decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        slices = Slices()
        for part in self._value:
            transport = cast("StreamWriter", writer).transport
            if transport is None:
                raise ConnectionResetError("nobody is there to read")
            try:
                await taken(writer.write(part), partial(taken_by, transport), silence=STUCK)
            except TimeoutError as stuck:
                transport.abort()
                raise ConnectionResetError("nobody reads") from stuck
            await slices.turn()
