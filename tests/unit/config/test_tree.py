"""Values and their places through defaults, omissions and overrides."""

from __future__ import annotations

from pathlib import Path

from activator.config.decode import decode
from activator.config.problems import Problems
from activator.config.tree import OVERRIDDEN, Table, merged, override, without


def tree(text: str) -> Table:
    found = decode(text.encode(), problems=Problems(Path("f")))
    assert found is not None
    return found


def test_defaults_are_merged_mapping_by_mapping_with_their_lines() -> None:
    below = tree("scale: {min: 1, max: 2}\nlist: [1]\nonly: below\n")
    above = tree("\n\n\nscale:\n  max: 3\nlist: [2]\n")
    result = merged(below, above)
    assert result == {"scale": {"min": 1, "max": 3}, "list": [2], "only": "below"}
    assert result.lines == {"scale": 4, "list": 6, "only": 3}
    assert result["scale"].lines == {"min": 1, "max": 5}


def test_what_stands_above_wins_even_if_it_is_null_or_of_another_kind() -> None:
    assert merged(tree("a: {x: 1}\nb: 1"), tree("a: null\nb: {x: 1}")) == {"a": None, "b": {"x": 1}}


def test_merging_changes_neither_side() -> None:
    below, above = tree("a: {x: 1}"), tree("a: {y: 2}")
    merged(below, above)
    assert (below, above) == ({"a": {"x": 1}}, {"a": {"y": 2}})


def test_keys_are_left_out_where_they_stand() -> None:
    whole = tree("a: {x: 1, y: 2}\nb: [1, 2]\nc: 3")
    assert without(whole, [("a", "x"), ("b", 0), ("nothing",)]) == {"a": {"y": 2}, "c": 3}


def test_an_override_wins_over_the_file_and_makes_the_sections_it_needs() -> None:
    found = tree("server: {listen: 1, admin: 2}")
    override(found, "server.listen", ["x", "y"])
    override(found, "auth.apiKeysFile", "k")
    assert found == {"server": {"listen": ["x", "y"], "admin": 2}, "auth": {"apiKeysFile": "k"}}
    assert found["server"].lines["listen"] == OVERRIDDEN
