"""The page and the schema cannot disagree, and no key goes without its words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from activator.config.docs import BEGIN, END, main, render, updated
from activator.config.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def keys(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section in {"": schema, **schema["$defs"]}.items():
        for key, value in section.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert updated(page) == page, f"run: python -m activator.config.docs {PAGE}"


def test_every_key_says_what_it_is_for() -> None:
    schema = json_schema()
    for name, key in keys(schema):
        words = key.get("description") or schema["$defs"][key["$ref"].split("/")[-1]]["description"]
        assert len(words) > 5, name


def test_every_key_has_its_row() -> None:
    rendered = render()
    for name, _ in keys(json_schema()):
        assert f"| `{name.split('.')[-1]}` |" in rendered, name


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        updated("nothing here")


def test_only_what_stands_between_the_markers_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main([str(page)])
    written = page.read_text()
    assert written.startswith(f"before\n{BEGIN}\n\n### The file\n")
    assert written.endswith(f"{END}\nafter\n")
    assert "old" not in written.split("\n")
