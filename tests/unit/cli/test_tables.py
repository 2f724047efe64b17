"""What is shown in a terminal."""

from __future__ import annotations

import pytest

from activator.cli.tables import span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.42, "0.4s"),
        (42.0, "42s"),
        (59.9, "1m00s"),
        (200, "3m20s"),
        (7500, "2h05m"),
        (270_000, "3d03h"),
    ],
)
def test_spans_are_for_the_eye(seconds: float | None, text: str) -> None:
    assert span(seconds) == text
