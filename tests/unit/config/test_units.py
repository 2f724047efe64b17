"""Durations and sizes, in both directions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.config.units import (
    DURATION_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("30s", 30.0),
        ("10m", 600.0),
        ("2h", 7200.0),
        ("1h30m", 5400.0),
        ("1.5s", 1.5),
        ("0", 0.0),
        ("90", 90.0),
        (5, 5.0),
        (0.5, 0.5),
    ],
)
def test_durations_are_read(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "bad",
    ["", "s", "10 minutes", "1d", "-5s", "5S", "1:30", True, None, [], float("inf"), -1, 1e12],
)
def test_what_is_no_duration_is_refused_in_words(bad: object) -> None:
    with pytest.raises(ValueError, match=r"duration|hundred years"):
        parse_duration(bad)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("64KiB", 65536),
        ("10MiB", 10 << 20),
        ("4GiB", 4 << 30),
        ("1TiB", 1 << 40),
        ("10MB", 10_000_000),
        ("1kb", 1000),
        ("1.5GiB", 3 << 29),
        ("10 MiB", 10 << 20),
        ("512", 512),
        ("512B", 512),
        (1024, 1024),
        (0, 0),
    ],
)
def test_sizes_are_read(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "bad", ["", "MiB", "10Mi", "1.5", "0.3KiB", "-1", -1, True, None, "1e9", float("nan"), 1 << 61]
)
def test_what_is_no_size_is_refused_in_words(bad: object) -> None:
    with pytest.raises(ValueError, match=r"size|memory"):
        parse_size(bad)


@given(st.integers(0, 10**9).map(lambda ms: ms / 1000))
def test_a_written_duration_reads_back_the_same(seconds: float) -> None:
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds, abs=1e-9)


@given(st.integers(0, 1 << 50))
def test_a_written_size_reads_back_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_values_are_written_in_the_largest_unit_without_loss() -> None:
    assert [format_duration(s) for s in (0.0, 0.05, 90.0, 600.0, 7200.0, 1.5)] == [
        "0s",
        "50ms",
        "90s",
        "10m",
        "2h",
        "1.5s",
    ]
    assert [format_size(n) for n in (0, 1000, 65536, 4 << 30)] == ["0", "1000", "64KiB", "4GiB"]


@given(st.sampled_from(["250ms", "30s", "1h30m", "5", "x", "1d", "s"]))
def test_the_editors_pattern_for_durations_says_what_the_parser_says(text: str) -> None:
    try:
        parse_duration(text)
        valid = True
    except ValueError:
        valid = False
    assert bool(re.search(DURATION_PATTERN, text)) == valid


@given(st.sampled_from(["64KiB", "10MB", "10", "1.5GiB", "10 MiB", "x", "10Mi", "MiB", "7b"]))
def test_the_editors_pattern_for_sizes_says_what_the_parser_says(text: str) -> None:
    try:
        parse_size(text)
        valid = True
    except ValueError:
        valid = False
    assert bool(re.search(SIZE_PATTERN, text)) == valid
