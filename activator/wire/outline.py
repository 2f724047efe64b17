"""Heads that are alike but for what each says of its own: a query, a length, a date, ids.

One of them is read as a whole; of the next one only what is its own. That is no more than what
cannot change how the rest is understood, cut out by its bytes: whatever is not exactly as it
should be fits no outline and is read as if there were none.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Generic, TypeVar

from activator.wire.heads import NOTHING_OWN, RequestHead, ResponseHead

Head = TypeVar("Head", RequestHead, ResponseHead)
_LENGTH: Final = b"content-length"
_OF_REQUESTS: Final = (
    b"baggage", _LENGTH, b"sentry-trace", b"traceparent", b"tracestate",
    b"x-amzn-trace-id", b"x-cloud-trace-context", b"x-correlation-id", b"x-request-id",
)  # fmt: skip
"""Fields that differ with every request where a client sends them. None of them decides what any
other means, or who asks; one may decide where a request belongs, if a route says so."""
_OF_ANSWERS: Final = (
    _LENGTH, b"date", b"openai-processing-ms", b"server-timing", b"traceparent",
    b"x-process-time", b"x-request-id",
)  # fmt: skip
"""Nor does any of these, in answers."""
_SIZE: Final = re.compile(rb"[1-9][0-9]{0,17}")
"""Of a body; one of no bytes is none, which may mean something else."""
_QUERY: Final = re.compile(rb"[\x21\x22\x24-\x7e]++")

Key = tuple[bytes, ...]
"""All of a head but what is its own: the pieces between, and the names."""
Cut = tuple[Key, bytes, list[bytes]]
"""A head taken apart: what to find others by, its query with the question mark, and the values of
its own fields."""


def _lines_of(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """Such a line and the CRLF before it; its groups are the name and the value."""
    return re.compile(
        rb"\r\n((?i:%b)): ([\x21-\x7e\x80-\xff]++(?:[\t ]++[\x21-\x7e\x80-\xff]++)*+)(?=\r\n)"
        % b"|".join(names)
    )


_IN_REQUESTS: Final = _lines_of(_OF_REQUESTS)
_IN_ANSWERS: Final = _lines_of(_OF_ANSWERS)


def cut_request(raw: bytes) -> Cut | None:
    """None: nothing in it is of its own, or that is not as it should be."""
    query, end = b"", raw.find(b"\r\n")
    mark = raw.find(b"?", 0, end)
    if mark >= 0:
        space = raw.find(b" ", mark, end)
        query = raw[mark:space]
        if _QUERY.fullmatch(query) is None:
            return None
        raw = raw[: mark + 1] + raw[space:]
    pieces = _IN_REQUESTS.split(raw)
    values = pieces[2::3]
    if not values and not query:
        return None
    del pieces[2::3]
    return tuple(pieces), query, values


def cut_answer(raw: bytes) -> Cut | None:
    """As `cut_request`; an answer has no query."""
    pieces = _IN_ANSWERS.split(raw)
    values = pieces[2::3]
    if not values:
        return None
    del pieces[2::3]
    return tuple(pieces), b"", values


class _Common(Generic[Head]):
    """What heads alike but for what is their own have in common."""

    __slots__ = ("_has_length", "_like", "names", "note")

    def __init__(self, like: Head, names: tuple[bytes, ...]) -> None:
        """`like`: one of them. `names`: of its own fields, in lower case, as they come."""
        self._like: Head = like
        self._has_length = _LENGTH in names
        self.names = names
        self.note: object = None
        """What their reader has concluded from what they have in common."""


class Outline(_Common[RequestHead]):
    """What all of these requests have in common."""

    __slots__ = ("_path",)

    def __init__(self, like: RequestHead, names: tuple[bytes, ...]) -> None:
        super().__init__(like, names)
        self._path = like.target.partition(b"?")[0]

    def filled(self, raw: bytes, query: bytes, values: list[bytes]) -> RequestHead | None:
        """The head that these bytes are; None: it is to be read as a whole."""
        like, names = self._like, self.names
        head = _new_request(RequestHead)
        head._own = own = dict(zip(names, values, strict=True)) if names else like.own
        if self._has_length:
            size = own[_LENGTH]
            if _SIZE.fullmatch(size) is None:
                return None
            head.length = int(size)
        else:
            head.length = like.length
        head.method = like.method
        head.target = self._path + query if query else like.target
        head.query = query
        head.minor = like.minor
        head.host = like.host
        head.connection = like.connection
        head.keep_alive = like.keep_alive
        head.expects_continue = like.expects_continue
        head.websocket = False
        head.folded = raw
        head.outline = self
        head.is_kept = True
        head.note = self.note
        return head


class AnswerOutline(_Common[ResponseHead]):
    """What all of these answers have in common."""

    __slots__ = ()

    def filled(self, raw: bytes, query: bytes, values: list[bytes]) -> ResponseHead | None:
        """As `Outline`'s; there is no query."""
        like = self._like
        head = _new_answer(ResponseHead)
        head.own = own = dict(zip(self.names, values, strict=True))
        if self._has_length:
            size = own[_LENGTH]
            if _SIZE.fullmatch(size) is None:
                return None
            head.length = int(size)
        else:
            head.length = like.length
        head.status = like.status
        head.reason = like.reason
        head.minor = like.minor
        head.connection = like.connection
        head.keep_alive = like.keep_alive
        head.is_usual = like.is_usual
        head.folded = raw
        head.outline = self
        head.is_kept = True
        head.note = None
        return head


_new_request: Final = RequestHead.__new__
_new_answer: Final = ResponseHead.__new__
_IDS: Final = frozenset(_OF_REQUESTS) - {_LENGTH}


def outline_request(head: RequestHead, cut: Cut) -> Outline | None:
    """The outline of this head, of which this was cut; notes in it what is its own. None: it has
    none, since that cannot be told apart from the rest."""
    if head.target[:1] != b"/" or b"upgrade" in head.connection:
        return None
    names = _note_own(head, cut, _OF_REQUESTS)
    if names is None:
        return None
    head.outline = Outline(head, names)
    return head.outline


def outline_answer(head: ResponseHead, cut: Cut) -> AnswerOutline | None:
    """As `outline_request`."""
    if head.status < 200 or head.status in (204, 304):
        return None
    names = _note_own(head, cut, _OF_ANSWERS)
    if names is None:
        return None
    head.outline = AnswerOutline(head, names)
    return head.outline


def _note_own(
    head: RequestHead | ResponseHead, cut: Cut, own: tuple[bytes, ...]
) -> tuple[bytes, ...] | None:
    """The names of what is its own, if each is there once, and written as others would write it."""
    key, _, values = cut
    names = _lower(key[1::2])
    there = [name for name, _, _ in head.fields if name in own]
    if sorted(there) != sorted(set(names)) or (_LENGTH in names and not head.length):
        return None
    head.own = dict(zip(names, values, strict=True)) if names else NOTHING_OWN
    head.is_kept = True
    return names


@lru_cache(maxsize=256)  # one for all that say the same: thousands may wait
def _lower(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple([name.lower() for name in names])


def may_stand_for_others(head: RequestHead) -> bool:
    """It has no ids but those that were told apart."""
    return bool(head.own) or _IDS.isdisjoint(head.first)
