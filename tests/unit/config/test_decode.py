"""YAML with places: what text is refused, and what plain scalars mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.config.decode import MAX_BYTES, MAX_DEPTH, decode
from activator.config.problems import Problems
from activator.config.tree import Items, Table


def decoded(text: str | bytes) -> tuple[Any, list[str]]:
    problems = Problems(Path("f"))
    content = text.encode() if isinstance(text, str) else text
    return decode(content, problems=problems), problems.lines()


def test_every_key_and_item_knows_its_line() -> None:
    tree, problems = decoded("a: 1\n\nb:\n  c: 2\n  d:\n    - x\n    - y\n")
    assert problems == []
    assert tree == {"a": 1, "b": {"c": 2, "d": ["x", "y"]}}
    assert tree.lines == {"a": 1, "b": 3}
    assert isinstance(tree["b"], Table)
    assert tree["b"].lines == {"c": 4, "d": 5}
    assert isinstance(tree["b"]["d"], Items)
    assert tree["b"]["d"].lines == [6, 7]


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-3", -3),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("1:30", "1:30"),
        ("0o17", "0o17"),
        ("017", 17),
        ("2026-11-21", "2026-11-21"),
        ("10m", "10m"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        (".inf", ".inf"),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(written: str, value: object) -> None:
    tree, problems = decoded(f"key: {written}\n")
    assert problems == []
    assert tree["key"] == value
    assert type(tree["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "f:1: the file is empty"),
        ("# only a comment\n", "f:1: the file is empty"),
        ("- a\n", "f:1: the file must be a mapping of keys to values"),
        ("a: 1\nb: 2\na: 3\n", "f:3: a: the key is given twice, first on line 1"),
        ("x:\n  a: 1\n  a: 1\n", "f:3: x.a: the key is given twice, first on line 2"),
        ("? [a]\n: 1\n", "f:1: a key must be plain text"),
        ("a: &x [*x]\n", "f:1: an alias cannot stand within what it refers to"),
        ("a: !!binary eHg=\n", "f:1: a: 'eHg=' cannot be read as binary"),
        ("a: 99999999999999999999\n", "f:1: a: '99999999999999999999' cannot be read as int"),
        ("a:\n  <<: 5\n", "f:2: a: `<<` takes a mapping or a list of mappings"),
    ],
)
def test_what_is_wrong_with_the_text_is_told_with_its_line(text: str, problem: str) -> None:
    assert decoded(text)[1] == [problem]


@pytest.mark.parametrize(
    ("text", "line"),
    [("a: [1\nb: 2\n", 2), ("a: 1\n b: 2\n", 2), ("a: *nowhere\n", 1), ("a: 1\n---\nb: 2\n", 2)],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int) -> None:
    tree, problems = decoded(text)
    assert tree is None
    assert len(problems) == 1
    assert problems[0].startswith(f"f:{line}: not valid YAML: ")


def test_bytes_that_are_no_text_are_refused() -> None:
    assert "not valid YAML" in decoded(b"a: \xff\xfe\x00\n")[1][0]


def test_anchors_aliases_and_merges_work() -> None:
    text = "base: &b {x: 1, y: 2}\none: *b\ntwo: {<<: *b, y: 3}\nthree: {<<: [*b, {z: 4}]}\n"
    tree, problems = decoded(text)
    assert problems == []
    assert tree["one"] == {"x": 1, "y": 2}
    assert tree["two"] == {"x": 1, "y": 3}
    assert tree["three"] == {"x": 1, "y": 2, "z": 4}


def test_a_quoted_double_arrow_is_an_ordinary_key() -> None:
    assert decoded('a: {"<<": 1}\n')[0] == {"a": {"<<": 1}}


def test_a_billion_laughs_are_not_laughed() -> None:
    lines = ["l0: &l0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]"]
    lines += [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]" for i in range(1, 10)]
    tree, problems = decoded("\n".join(lines))
    assert tree is None
    assert "aliases make the file too large" in problems[0]


@pytest.mark.parametrize("depth", [40, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    tree, problems = decoded("a: " + "[" * depth + "]" * depth)
    assert tree is None
    assert "nested too deeply" in problems[0]


@pytest.mark.parametrize("bounded", [True, False], ids=["libyaml", "ours"])
def test_the_bound_on_nesting_is_the_same_whoever_looks_first(
    bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("activator.config.decode._bounds_depth", lambda: bounded)
    inner = MAX_DEPTH - 1  # the file's own mapping is the first

    assert decoded("a: " + "[" * inner + "]" * inner)[1] == []
    (problem,) = decoded("a: " + "[" * (inner + 1) + "]" * (inner + 1))[1]
    assert "nested too deeply" in problem


def test_one_long_list_is_not_repeated_without_end() -> None:
    text = f"long: &l [{', '.join(['x'] * 1000)}]\nmany: [{', '.join(['*l'] * 1000)}]\n"
    tree, problems = decoded(text)
    assert tree is None
    assert "aliases make the file too large" in problems[0]


def test_a_file_beyond_its_bound_is_not_even_read() -> None:
    assert "larger than" in decoded(b"#" * (MAX_BYTES + 1))[1][0]


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@` \n\t<~0?,", max_size=60))
def test_any_text_gives_a_tree_or_problems(text: str) -> None:
    tree, problems = decoded(text)
    assert (tree is not None) or problems
