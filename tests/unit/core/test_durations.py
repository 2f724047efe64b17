"""Durations as people say them."""

from __future__ import annotations

import pytest

from activator.core.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (-3.0, "0 s"),
        (0.25, "0.25 s"),
        (9.876, "9.88 s"),
        (40.04, "40 s"),
        (59.99, "1 m 0 s"),
        (600.0, "10 m 0 s"),
        (90.4, "1 m 30 s"),
        (3599.7, "1 h 0 m"),
        (7500.0, "2 h 5 m"),
        (float("inf"), "ever"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
