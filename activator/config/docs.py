"""The tables of `docs/configuration.md`, out of the schema, so that they cannot disagree.

`python -m activator.config.docs docs/configuration.md` writes them between the page's markers; a
test compares. The words come from `schema` and `endpoint_schema`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activator.config.fields import KIND
from activator.config.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = "<!-- keys: written by python -m activator.config.docs -->"
END = "<!-- end of keys -->"
_FIRST = ("name", "match", "backend")


def render() -> str:
    """A heading and a table for every section, in the order of the file."""
    schema = json_schema()
    lines: list[str] = []
    for path, section in _sections("", schema, schema["$defs"]):
        lines += [f"### `{path}`" if path else "### The file", "", section["description"], ""]
        lines += ["| key | kind | default | |", "| --- | --- | --- | --- |"]
        lines += _rows(section, schema["$defs"])
        lines.append("")
    return "\n".join(lines)


def updated(page: str) -> str:
    """The page with fresh tables between its markers. Raises ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render()}\n{END}{after}"


def _sections(
    path: str, section: dict[str, Any], defs: dict[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, section
    for name, key in _ordered(section):
        if path == "" and name == "defaults":
            continue  # the same keys as an endpoint's
        for inner, suffix in _inner(key, defs):
            kind = inner["properties"].get("type", {}).get("const")
            below = f"{path}.{name}{suffix}" if path else f"{name}{suffix}"
            yield from _sections(f"{below} ({kind})" if kind else below, inner, defs)


def _inner(key: dict[str, Any], defs: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """The sections a key can hold: itself, in a list (`[]`), by name (`.NAME`), or one of many."""
    if "$ref" in key:
        section = defs[key["$ref"].removeprefix("#/$defs/")]
        if "properties" in section:
            yield section, ""
    for option in (*key.get("anyOf", ()), *key.get("oneOf", ())):
        yield from _inner(option, defs)
    for holder, suffix in (("items", "[]"), ("additionalProperties", ".NAME")):
        if isinstance(key.get(holder), dict):
            for section, further in _inner(key[holder], defs):
                yield section, suffix + further


def _ordered(section: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    keys: dict[str, dict[str, Any]] = section["properties"]
    first = [name for name in _FIRST if name in keys and "backend" in keys]
    return [(name, keys[name]) for name in (*first, *(it for it in keys if it not in first))]


def _rows(section: dict[str, Any], defs: dict[str, Any]) -> Iterator[str]:
    required = section.get("required", ())
    for name, key in _ordered(section):
        default = "required" if name in required else f"`{_written(key.get('default'))}`"
        if next(_inner(key, defs), None) and key.get("default") == {}:
            default = ""
        yield f"| `{name}` | {_kind(key, defs)} | {default} | {_words(key, defs)} |"


def _words(key: dict[str, Any], defs: dict[str, Any]) -> str:
    """pydantic leaves a description out where the section it refers to has the same."""
    own: str | None = key.get("description")
    said = own or defs[key["$ref"].removeprefix("#/$defs/")]["description"]
    return str(said).replace("|", "\\|")


def _written(default: object) -> str:
    if isinstance(default, str):
        return default
    if isinstance(default, list) and default and isinstance(default[0], dict):
        inner = ("{" + ", ".join(f"{k}: {v}" for k, v in each.items()) + "}" for each in default)
        return f"[{', '.join(inner)}]"
    return json.dumps(default)


def _kind(key: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in key:
        target = defs[key["$ref"].removeprefix("#/$defs/")]
        return "section" if "properties" in target else _kind(target, defs)
    options = [
        it for it in (*key.get("anyOf", ()), *key.get("oneOf", ())) if it != {"type": "null"}
    ]
    if KIND in key:
        return str(key[KIND])
    if options:
        return " or ".join(dict.fromkeys(_kind(option, defs) for option in options))
    if "enum" in key:
        return " ".join(f"`{value}`" for value in key["enum"])
    match key.get("type"):
        case "array":
            return f"list of {_kind(key['items'], defs)}"
        case "object":
            return "mapping"
        case "integer":
            return "whole number"
        case "boolean":
            return "true or false"
        case "string" if "const" in key:
            return f"`{key['const']}`"
        case "string":
            return "text"
        case kind:
            return str(kind)


def main(arguments: list[str]) -> int:
    page = Path(arguments[0])
    page.write_text(updated(page.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
