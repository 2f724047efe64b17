"""Lua scripts, each a file in the `lua` directory of the room that owns it."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from activator.redisio.commands import Word


@dataclass(frozen=True, slots=True)
class Script:
    """`sha` is what Redis calls it by once it has seen it."""

    name: str
    text: str
    sha: str

    def __call__(self, keys: Sequence[str], args: Sequence[Word] = ()) -> Call:
        return Call(self, tuple(keys), tuple(args))


@dataclass(frozen=True, slots=True)
class Call:
    """A script with what it is to be run on; every key carries the same tag."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Word, ...]


def script(name: str, text: str) -> Script:
    return Script(name, text, sha1(text.encode(), usedforsecurity=False).hexdigest())


def load(package: str, name: str, *, includes: Sequence[str] = ()) -> Script:
    """`lua/NAME.lua` of a package, after the files that it builds on."""
    folder = files(package) / "lua"
    texts = [(folder / f"{each}.lua").read_text("utf-8") for each in (*includes, name)]
    return script(name, "\n".join(texts))
