"""How many tokens an answer took, read from what passes by: `usage` where the model tells it,
otherwise the events of a stream. Nothing is parsed but the last `usage` there is."""

from __future__ import annotations

import json
from typing import Any, Final, NamedTuple, cast

TAIL: Final = 4 << 10
"""Bytes of an answer's end in which its `usage` stands."""
MOST: Final = 1 << 40
"""Tokens of one answer that anybody may be believed to have used."""
_SPARE: Final = 2 << 10
"""Bytes beyond that are kept for a while: of small pieces many are counted at once."""
_EVENTS: Final = b"text/event-stream"
_JSON: Final = b"application/json"
USAGE: Final = b'"usage"'
"""In a text its quotes would be escaped."""
_NO_USAGE: Final = (b'"usage":null', b'"usage": null')
EVENT: Final = b"\ndata:"
WHOLE: Final = (b"\n\n", b"\n\r\n")
"""How events end; by a third way, CR CR, nobody ends them."""
_DECODER: Final = json.JSONDecoder()


class Tokens(NamedTuple):
    prompt: int
    answer: int
    told: bool
    """False: nobody has told how many, each event of the stream counts for one."""


def tokens_of(body: bytes, *, is_stream: bool) -> Tokens | None:
    """Of an answer that is here as a whole."""
    if not is_stream:
        return _told(body[-TAIL:])
    counter = TokenCounter(is_stream=True)
    counter.data(body)
    return counter.tokens()


class TokenCounter:
    """One answer of JSON, or a stream of events."""

    __slots__ = ("_events", "_tail", "_uncounted", "is_stream")

    def __init__(self, *, is_stream: bool) -> None:
        self.is_stream = is_stream
        self._tail = bytearray(b"\n")
        """At least the last TAIL bytes."""
        self._events = 0
        self._uncounted = 0
        """Where in it an event may begin that is not among those."""

    def data(self, data: bytes) -> None:
        tail = self._tail
        tail += data if self.is_stream else data[-TAIL:]
        if len(tail) > TAIL + _SPARE:
            self._count()

    def skip(self, size: int, events: int) -> None:
        """So many bytes of a stream have come where one event had ended and another may begin: some
        events, all whole, that tell nothing but how many they are."""
        self._events += events
        self.data(b"." * (min(size, TAIL) - 2) + b"\n\n")

    def _count(self) -> None:
        """The events that have come whole; and what is beyond the tail is let go."""
        tail = self._tail
        if self.is_stream:
            self._events += tail.count(EVENT, self._uncounted)
        del tail[:-TAIL]
        self._uncounted = max(0, len(tail) + 1 - len(EVENT))

    @property
    def is_between(self) -> bool:
        """Of a stream: another event may begin here."""
        tail = self._tail
        return tail == b"\n" or tail.endswith((*WHOLE, b"\r\r"))

    def tokens(self) -> Tokens | None:
        """Of what has come; None: there is nothing to count."""
        self._count()
        tail = bytes(self._tail)
        told = _told(tail)
        if told is not None:
            return told
        events = self._events - tail.rstrip().endswith(b"data: [DONE]")
        return Tokens(0, events, told=False) if events > 0 else None


def tells(events: bytes) -> bool:
    """Whether events in which USAGE stands tell how many tokens were used; they may be framed."""
    return events.count(USAGE) != sum(map(events.count, _NO_USAGE))


def counter_of(
    *, method: bytes, status: int, form: bytes | None, is_encoded: bool
) -> TokenCounter | None:
    """`form`: the answer's Content-Type. None: nothing is counted in it."""
    is_stream = is_counted(status=status, form=form, is_encoded=is_encoded)
    if method != b"POST" or is_stream is None:
        return None
    return TokenCounter(is_stream=is_stream)


def is_counted(*, status: int, form: bytes | None, is_encoded: bool) -> bool | None:
    """Whether it is a stream; None: nothing is counted in it."""
    kind = (form or b"").partition(b";")[0].strip().lower()
    if status != 200 or is_encoded or kind not in (_EVENTS, _JSON):
        return None
    return kind == _EVENTS


def _told(tail: bytes) -> Tokens | None:
    at = tail.rfind(USAGE)
    while at >= 0:
        text = tail[at + len(USAGE) :].decode("utf-8", "replace").lstrip(" \t\r\n:")
        try:
            said: object = _DECODER.raw_decode(text)[0]
        except (ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            return _read(cast("dict[str, Any]", said))
        at = tail.rfind(USAGE, 0, at)
    return None


def _read(said: dict[str, Any]) -> Tokens | None:
    """As Chat Completions, Completions and Embeddings have it, and as Responses does."""
    prompt = _number(said.get("prompt_tokens", said.get("input_tokens")))
    answer = _number(said.get("completion_tokens", said.get("output_tokens")))
    return Tokens(prompt, answer, told=True) if prompt or answer else None


def _number(value: object) -> int:
    return value if type(value) is int and 0 < value <= MOST else 0  # a bool is none
