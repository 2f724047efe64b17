from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from activator.core.versioned import dump, load

if TYPE_CHECKING:
    from collections.abc import Mapping


def name_of(words: Mapping[str, Any]) -> str:
    return str(words["name"].upper())


def test_what_was_told_is_read_in_the_same_version() -> None:
    assert load(3, dump(3, {"name": "é"}), name_of, otherwise=None) == "É"


@pytest.mark.parametrize(
    "told",
    [
        dump(4, {"name": "x"}),
        dump(3, {"other": "x"}),
        dump(3, {"name": 7}),
        b'{"name": "x"}',
        b"[3]",
        b"3",
        b'{"v": 3',
        b"\xff",
        b"",
    ],
)
def test_what_cannot_be_read_is_passed_over(told: bytes) -> None:
    assert load(3, told, name_of, otherwise="nothing") == "nothing"
