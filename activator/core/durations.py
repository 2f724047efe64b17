"""Durations in words, for reasons that people read."""

from __future__ import annotations


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
