"""Everything that is wrong with a file, each with line, key path and a hint, told at once.

Decides the wording for whoever edits the file. What is wrong is found by others: `decode` (text),
`schema` (values), `rules` (what values mean together).
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_origin

from pydantic import BaseModel

from activator.config.tree import OVERRIDDEN, Items, Table
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Loc = tuple[str | int, ...]

_OWNER = re.compile(r"(defaults|endpoints\[\d+\])\.")
"""Whose key it is; what stands in `defaults` is found again in every endpoint."""


class Problems:
    """Collects problems of one file; a problem that defaults pass on to many is told once."""

    def __init__(self, source: Path | None, *, spell: Callable[[Loc], str] | None = None) -> None:
        """`source` None: what is read stands in no file, and problems are told without a place.
        `spell`: how whoever wrote a key calls it, where that is not the way of the file."""
        self._source = source
        self._spell = spell or spelled
        self._found: dict[tuple[int, str, str], tuple[int, str]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, line: int, path: str, message: str) -> None:
        text = f"{path}: {message}" if path else message
        self._found.setdefault((line, _OWNER.sub("", path, count=1), message), (line, text))

    def at(self, tree: Table, loc: Loc, message: str, *, under: Loc = ()) -> None:
        """A problem at the key `loc` of `tree`, which itself stands at `under` in the file."""
        self.add(line_of(tree, loc), self._spell((*under, *loc)), message)

    def invalid(
        self, error: ValidationError, *, model: type[BaseModel], tree: Table, under: Loc = ()
    ) -> list[Loc]:
        """Tells every mistake that pydantic has found, and returns the keys that have one."""
        details = error.errors(include_url=False)
        written = [in_words(tree, detail["loc"]) for detail in details]
        for loc, detail in zip(written, details, strict=True):
            within = any(len(other) > len(loc) and other[: len(loc)] == loc for other in written)
            if detail["type"] == "too_short" and within:
                continue  # it is short of what was wrong in it
            message = _explained(detail, model=model)
            self.at(tree, loc, message, under=under)
        return written

    def lines(self) -> list[str]:
        """`FILE:LINE: key.path: message`, in the order of the file."""
        if self._source is None:
            return [text for _, text in self._found.values()]
        ordered = sorted(self._found.values(), key=lambda problem: problem[0])
        return [f"{self._where(line)}: {text}" for line, text in ordered]

    def _where(self, line: int) -> str:
        return "option or environment" if line == OVERRIDDEN else f"{self._source}:{line}"

    def raise_any(self) -> None:
        if self._found:
            raise ConfigError(self.lines())


def line_of(tree: Table, loc: Loc) -> int:
    """The line of the innermost part of `loc` that is written down."""
    line, at = tree.line, cast("object", tree)
    for step in loc:
        child = _child(at, step)
        if child is None:
            break
        line, at = child
    return line


def in_words(tree: Table, loc: Loc) -> Loc:
    """A place as pydantic tells it, less the steps that only pydantic knows (the kind of a union,
    `[key]`); a key that is missing stays."""
    known: list[str | int] = []
    at: object = tree
    for index, step in enumerate(loc):
        child = _child(at, step)
        if child is not None:
            _, at = child
            known.append(step)
        elif index == len(loc) - 1 and isinstance(at, Table):
            known.append(step)
    return tuple(known)


def _child(at: object, step: str | int) -> tuple[int, Any] | None:
    match at, step:
        case Table(), str() if step in at:
            return at.lines[step], at[step]
        case Items(), int() if step < len(at):
            return at.lines[step], at[step]
    return None


def spelled(loc: Loc) -> str:
    """`endpoints[0].scale.min`."""
    text = ""
    for step in loc:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def nearest(word: str, known: Iterable[str]) -> str | None:
    lowered = {name.lower(): name for name in known}
    plain = word.replace("_", "").replace("-", "").lower()
    found = get_close_matches(plain, lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else None


def _explained(detail: ErrorDetails, *, model: type[BaseModel]) -> str:
    context: dict[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return _unknown_key(detail["loc"], model=model)
        case "missing":
            return "is required"
        case "string_type":
            said = "must be text; put it in quotes"
        case "int_type" | "int_from_float":
            said = "must be a whole number"
        case "float_type":
            said = "must be a number"
        case "bool_type":
            said = "must be true or false"
        case "tuple_type":
            said = "must be a list, like [a, b]"
        case "dict_type" | "model_type" | "model_attributes_type":
            said = "must be a mapping of keys to values"
        case "too_short" | "string_too_short":
            said = "must not be empty"
        case "greater_than_equal":
            said = f"must be at least {context['ge']}"
        case "less_than_equal":
            said = f"must be at most {context['le']}"
        case "greater_than":
            said = f"must be more than {context['gt']}"
        case "literal_error" | "enum":
            said = _one_of(detail["input"], context["expected"])
        case "union_tag_invalid":
            said = f"`type` {_one_of(context['tag'], context['expected_tags'])}"
        case "union_tag_not_found":
            return "`type` is required: process or static"
        case "value_error":
            said = str(context["error"])
        case _:
            said = detail["msg"]
    written = detail["input"]
    if isinstance(written, str) and "${" in written and "${NAME}" not in said:
        said += " (`${…}` is only filled in where a secret belongs)"
    return said


def _one_of(written: object, expected: str) -> str:
    names = [name.strip(" '") for name in expected.replace(" or ", ",").split(",")]
    close = nearest(str(written), names)
    hint = f"; did you mean `{close}`?" if close else ""
    return f"must be one of {', '.join(names)}{hint}"


def _unknown_key(loc: Loc, *, model: type[BaseModel]) -> str:
    word = str(loc[-1])
    section = _section_at(model, loc[:-1])
    if section is None:
        return "unknown key"
    known = _keys(section)
    for name, inner in known.items():
        if any(word in _keys(nested) for nested in inner):
            return f"unknown key here; `{word}` belongs under `{name}`"
    close = nearest(word, known)
    if close:
        return f"unknown key; did you mean `{close}`?"
    return f"unknown key; known here: {', '.join(known)}"


def _keys(section: type[BaseModel]) -> dict[str, list[type[BaseModel]]]:
    """The keys of a section as the file spells them, each with the sections it may hold."""
    return {
        field.alias or name: _sections(field.annotation)
        for name, field in section.model_fields.items()
    }


def _sections(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _sections(part)]


def _section_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """The section that stands at `loc`, the way pydantic spells it (with the kinds of unions)."""
    candidates = [model]
    for step in loc:
        if isinstance(step, int):
            continue
        kinds = [it for it in candidates if _kind(it) == step]
        if kinds:
            candidates = kinds
            continue
        inner = [_keys(it)[step] for it in candidates if step in _keys(it)]
        if inner:
            candidates = inner[0]
    return candidates[0] if candidates else None


def _kind(section: type[BaseModel]) -> str | None:
    field = section.model_fields.get("type")
    if field is not None and get_origin(field.annotation) is Literal:
        kind = get_args(field.annotation)[0]
        return str(kind.value if isinstance(kind, Enum) else kind)
    return None
