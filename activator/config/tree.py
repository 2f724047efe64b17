"""Plain data out of a file, in which every key and item knows its line, and defaults over it.

Decides how values and places travel together; reading text is `decode`'s, judging it `schema`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

OVERRIDDEN: Final = 0
"""The line of what does not stand in the file: an option or the environment said it."""


class Table(dict[str, Any]):
    """A mapping; `line` is where it is, `lines` where its keys are."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        self.line = line
        self.lines: dict[str, int] = {}

    def put(self, key: str, value: Any, line: int) -> None:
        self[key] = value
        self.lines[key] = line


class Items(list[Any]):
    """A list; `line` is where it is, `lines` where its items are."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        self.line = line
        self.lines: list[int] = []


def merged(below: Table, above: Table) -> Table:
    """`above` with what it lacks taken from `below`, mapping by mapping; lists are not mixed."""
    result = Table(above.line)
    for key, value in above.items():
        inherited = below.get(key)
        if isinstance(value, Table) and isinstance(inherited, Table):
            value = merged(inherited, value)  # noqa: PLW2901 -- the rest of the loop is for both
        result.put(key, value, above.lines[key])
    for key, value in below.items():
        if key not in above:
            result.put(key, value, below.lines[key])
    return result


def without(tree: Table, locs: Iterable[tuple[str | int, ...]]) -> Table:
    """`tree` less the keys at `locs`; where one is within a list, less the list."""
    result = Table(tree.line)
    for key, value in tree.items():
        inner = [loc[1:] for loc in locs if loc[:1] == (key,)]
        if not inner:
            result.put(key, value, tree.lines[key])
        elif all(inner) and isinstance(value, Table):
            result.put(key, without(value, inner), tree.lines[key])
    return result


def override(tree: Table, path: str, value: Any) -> None:
    """Put `value` at `server.listen`-like `path`, whatever the file says there."""
    *sections, key = path.split(".")
    for section in sections:
        inner = tree.get(section)
        if not isinstance(inner, Table):
            inner = Table(OVERRIDDEN)
            tree.put(section, inner, OVERRIDDEN)
        tree = inner
    if isinstance(value, list):
        items = Items(OVERRIDDEN)
        items.extend(value)
        items.lines = [OVERRIDDEN] * len(value)
        value = items
    tree.put(key, value, OVERRIDDEN)
