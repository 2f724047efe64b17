"""Durations in words, for reasons that people read, and back again."""

from __future__ import annotations

import re

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_WORDS = re.compile(r"([0-9.e+-]+) ([smh])\b")


def in_words(seconds: float) -> str:
    """`0.25 s`, `59 s`, `10 m 0 s`, `2 h 5 m`: the two largest units, or what a second splits to.

    Infinity reads `ever`; less than nothing reads as nothing.
    """
    if seconds == float("inf"):
        return "ever"
    seconds = max(seconds, 0.0)
    if seconds < 59.95:
        return f"{round(seconds, 2 if seconds < 10 else 1):g} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} m {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m"


def seconds_in(words: str) -> float:
    """What `in_words` wrote, as precisely as it wrote it. Raises ValueError if it did not."""
    parts = _WORDS.findall(words)
    if not parts:
        raise ValueError(f"{words.strip()!r} is no duration in words")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
