"""Commands as Redis reads them (arrays of bulk strings), and the key that decides their node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.redisio.scripts import Call, Script

Word = str | bytes | int | float | tuple[bytes, ...]
"""A tuple is one word in pieces, which are not joined."""
Key = str | bytes
Packed = list[bytes]
"""One command in pieces; long words are pieces of their own, uncopied."""

_LONG: Final = 16 << 10
"""Bytes: from here on a word's copy costs more than a piece of its own."""
_OF_THE_SERVER: Final = (
    "ACL",
    "CLIENT",
    "CONFIG",
    "DBSIZE",
    "INFO",
    "PING",
    "SCAN",
    "TIME",
    "WAIT",
)
_OF_ALL: Final = ("CLUSTER", "PUBLISH", "SCRIPT", "WAITAOF")
_KEYLESS: Final = frozenset((*_OF_THE_SERVER, *_OF_ALL))


class Opening:
    """What many calls of a script begin with, encoded once: the script, its keys, some
    arguments."""

    __slots__ = ("_count", "_data", "args", "keys", "script")

    def __init__(self, script: Script, keys: Sequence[str], args: Sequence[str]) -> None:
        self.script, self.keys, self.args = script, tuple(keys), tuple(args)
        words = ("EVALSHA", script.sha, str(len(keys)), *keys, *args)
        self._count = len(words)
        self._data = _bulks(words)

    def pack(self, rest: Sequence[str]) -> Packed:
        """The whole call, with some short words more."""
        return [b"*%d\r\n%b%b" % (self._count + len(rest), self._data, _bulks(rest))]

    def pack_any(self, rest: Sequence[Word]) -> Packed:
        """The same with words of any kind."""
        return _packed(b"*%d\r\n%b" % (self._count + len(rest), self._data), rest)


def pack(*words: Word) -> Packed:
    return _packed(b"*%d\r\n" % len(words), words)


def pack_call(call: Call, *, whole: bool = False) -> Packed:
    """By its hash, or `whole`, for a Redis that does not know it (any more)."""
    name, body = ("EVAL", call.script.text) if whole else ("EVALSHA", call.script.sha)
    return pack(name, body, len(call.keys), *call.keys, *call.args)


def key_of(words: Sequence[Word]) -> Key | None:
    """The key on whose node a command belongs; None if any node will do."""
    name = words[0]
    if len(words) < 2 or not isinstance(name, str) or name.upper() in _KEYLESS:
        return None
    position = 3 if name.upper() in ("EVAL", "EVALSHA") else 1
    key = words[position] if position < len(words) else None
    return key if isinstance(key, (str, bytes)) else None


def _bulks(words: Sequence[str]) -> bytes:
    text = "".join([f"${len(word)}\r\n{word}\r\n" for word in words])
    if text.isascii():  # a character is a byte
        return text.encode()
    return b"".join([b"$%d\r\n%b\r\n" % (len(data), data) for data in map(str.encode, words)])


def _packed(head: bytes, words: Sequence[Word]) -> Packed:
    pieces: Packed = []
    short = [head]
    for word in words:
        if type(word) is str:
            data = word.encode()
        elif type(word) is bytes:
            data = word
        elif type(word) is tuple:
            pieces += (b"%b$%d\r\n" % (b"".join(short), sum(map(len, word))), *word)
            short = [b"\r\n"]
            continue
        else:
            data = _encode(word)
        if len(data) < _LONG:
            short.append(b"$%d\r\n%b\r\n" % (len(data), data))
        else:
            pieces += (b"%b$%d\r\n" % (b"".join(short), len(data)), data)
            short = [b"\r\n"]
    pieces.append(b"".join(short))
    return pieces


def _encode(word: Word) -> bytes:
    if type(word) is int or type(word) is float:
        return b"%a" % word
    raise TypeError(f"{type(word).__name__} is nothing that Redis stores")
