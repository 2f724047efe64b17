"""YAML text → plain data in which every key and item knows its line.

Decides what text is acceptable as such: one document, no key twice, YAML 1.2's plain scalars (so
`no`, `on` and `1:30` are text), aliases and `<<` within bounds. Which keys there may be is
`schema`'s business.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import yaml

from activator.config.tree import Items, Table
from activator.config.unhurried import empty

if TYPE_CHECKING:
    from activator.config.problems import Problems
    from activator.config.unhurried import Breathe

MAX_BYTES: Final = 16 << 20
"""Of one file: beyond it is not a configuration, and reading it would stall the process."""
MAX_DEPTH: Final = 32
TOO_DEEP: Final = "nested too deeply"
LIBYAML_TOO_DEEP: Final = "exceeded maximum nesting depth"
"""Its own bound, far beyond ours; it looks ahead, and so may come first."""
LIBYAML_DEEPEST: Final = 1_001
"""Beyond it, of one that has a bound."""
MAX_GROWTH: Final = 20
"""How much larger than its text a file may become through aliases (`billion laughs`)."""

_TAG: Final = "tag:yaml.org,2002:"
_TEXT: Final = _TAG + "str"
_INT: Final = re.compile(r"[-+]?[0-9]{1,18}")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # chosen at run time
    """PyYAML resolves YAML 1.1's scalars, where `no` is false and `1:30` is 90; not here."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 -- PyYAML's
    breathe: Breathe | None = None

    def resolve(self, kind: type[yaml.Node], value: str, implicit: tuple[bool, bool]) -> str:
        """PyYAML's own asks by path, too, which costs a fifth of reading a file."""
        if self.breathe is not None:
            self.breathe()
        if kind is not yaml.ScalarNode:
            return _TAG + ("map" if kind is yaml.MappingNode else "seq")
        if implicit[0]:
            for tag, pattern in self.yaml_implicit_resolvers.get(value[:1], ()):
                if pattern.match(value):
                    return tag
        return _TEXT


_FLOAT: Final = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"

for _kind, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)$", "~nN\0"),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("int", r"[-+]?[0-9]+$", "-+0123456789"),
    ("float", _FLOAT + "$", "-+.0123456789"),
):
    _Loader.add_implicit_resolver(
        _TAG + _kind, re.compile(_pattern), ["" if char == "\0" else char for char in _first]
    )


def decode(content: bytes, *, problems: Problems, breathe: Breathe | None = None) -> Table | None:
    """The document's mapping, or None if there is none; whatever is wrong goes to `problems`."""
    if len(content) > MAX_BYTES:
        problems.add(1, "", f"the file is larger than {MAX_BYTES >> 20} MiB")
        return None
    root = _composed(content, problems, breathe)
    if root is None:
        return None
    if not isinstance(root, yaml.MappingNode):
        problems.add(_line(root), "", "the file must be a mapping of keys to values")
        return None
    try:
        decoded = _Decoding(problems, breathe).value(root, path="", depth=0)
    except _TooMuch as stop:
        problems.add(stop.line, "", stop.message)
        return None
    for _, section in root.value:
        if isinstance(section.value, list):
            empty(section.value, breathe)
    assert isinstance(decoded, Table)
    return decoded


def plain(text: str) -> str | int | float | bool:
    """A single word, from where all words are text, as it would be read unquoted in a file."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if re.fullmatch(_FLOAT, text) else text


def _composed(content: bytes, problems: Problems, breathe: Breathe | None) -> yaml.Node | None:
    try:
        if not _bounds_depth():
            _check_depth(content)
        loader = _Loader(content)
        loader.breathe = breathe
        root: yaml.Node | None = loader.get_single_node()
        loader.dispose()
    except _TooMuch as stop:
        problems.add(stop.line, "", stop.message)
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        if error.problem == LIBYAML_TOO_DEEP:
            problems.add(mark.line + 1 if mark else 1, "", TOO_DEEP)
            return None
        said = " ".join(part for part in (error.problem, error.context) if part)
        problems.add(mark.line + 1 if mark else 1, "", f"not valid YAML: {said}")
        return None
    except yaml.reader.ReaderError as error:
        problems.add(1, "", f"not valid YAML: {error.reason} at byte {error.position}")
        return None
    if root is None:
        problems.add(1, "", "the file is empty")
    return root


@cache
def _bounds_depth() -> bool:
    """Whether composing refuses by itself what is nested so deeply that it would end the process:
    it recurses, in libyaml's binding on the C stack. Not every libyaml does, nor does PyYAML
    without one; to look ourselves takes another third of the time that decoding takes."""
    if not yaml.__with_libyaml__:
        return False
    try:
        yaml.compose("[" * LIBYAML_DEEPEST, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        return bool(error.problem == LIBYAML_TOO_DEEP)
    return False


def _check_depth(content: bytes) -> None:
    """Before it is composed."""
    depth = 0
    for event in yaml.parse(content, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _TooMuch(_line(event), TOO_DEEP)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _TooMuch(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Decoding:
    """One walk over the composed nodes, counting what aliases multiply."""

    def __init__(self, problems: Problems, breathe: Breathe | None) -> None:
        self._problems = problems
        self._breathe = breathe
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._written = 0
        """Nodes in the collections that were seen: as many as stand in the text."""
        self._visits = 0
        """Nodes in those that were walked over."""

    def value(self, node: yaml.Node, *, path: str, depth: int) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if self._breathe is not None:
            self._breathe()
        self._enter(node, depth)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._table(node, path, depth)
            return self._items(node, path, depth)
        finally:
            self._open.discard(id(node))

    def _enter(self, node: yaml.Node, depth: int) -> None:
        size = len(node.value) + 1
        self._visits += size
        if id(node) not in self._seen:
            self._seen.add(id(node))
            self._written += size
        if self._visits > 10_000 and self._visits > MAX_GROWTH * self._written:
            raise _TooMuch(_line(node), "aliases make the file too large")
        if id(node) in self._open:
            raise _TooMuch(_line(node), "an alias cannot stand within what it refers to")
        if depth >= MAX_DEPTH:
            raise _TooMuch(_line(node), TOO_DEEP)

    def _items(self, node: yaml.Node, path: str, depth: int) -> Items:
        items = Items(_line(node))
        for index, child in enumerate(node.value):
            items.append(
                child.value
                if _is_text(child)
                else self.value(child, path=f"{path}[{index}]", depth=depth + 1)
            )
            items.lines.append(_line(child))
        return items

    def _table(self, node: yaml.MappingNode, path: str, depth: int) -> Table:
        table = Table(_line(node))
        merged: list[yaml.Node] = []
        for key_node, child in node.value:
            if key_node.value == "<<" and not key_node.style:
                merged += child.value if isinstance(child, yaml.SequenceNode) else [child]
                continue
            line = _line(key_node)
            if not isinstance(key_node, yaml.ScalarNode):
                self._problems.add(line, path, "a key must be plain text")
                continue
            key = str(key_node.value)
            if _is_text(child) and key not in table:
                table.put(key, child.value, line)
                continue
            inner = f"{path}.{key}" if path else key
            if key in table:
                self._problems.add(
                    line, inner, f"the key is given twice, first on line {table.lines[key]}"
                )
                continue
            table.put(key, self.value(child, path=inner, depth=depth + 1), line)
        for source in merged:
            self._merge(table, source, path=path, depth=depth)
        return table

    def _merge(self, table: Table, source: yaml.Node, *, path: str, depth: int) -> None:
        below = self.value(source, path=path, depth=depth + 1)
        if not isinstance(below, Table):
            self._problems.add(_line(source), path, "`<<` takes a mapping or a list of mappings")
            return
        for key, value in below.items():
            if key not in table:
                table.put(key, value, below.lines[key])

    def _scalar(self, node: yaml.ScalarNode, path: str) -> Any:
        if _is_text(node):
            return node.value
        text = str(node.value)
        match node.tag.removeprefix(_TAG):
            case "null":
                return None
            case "bool" if text.lower() in ("true", "false"):
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text):
                return int(text)
            case "float":
                try:
                    return float(text)
                except ValueError:
                    pass
        kind = node.tag.removeprefix(_TAG)
        self._problems.add(_line(node), path, f"{text[:40]!r} cannot be read as {kind}")
        return None


def _is_text(node: yaml.Node) -> bool:
    """As most of a file is."""
    return bool(node.tag == _TEXT) and isinstance(node, yaml.ScalarNode)


def _line(node: yaml.Node | yaml.Event) -> int:
    return node.start_mark.line + 1 if node.start_mark else 1
