"""Durations and sizes as people write them: `250ms 30s 10m 2h`, `64KiB 10MiB`.

Decides the spelling in both directions; which bounds a value has is its key's business.
"""

from __future__ import annotations

import re
from functools import lru_cache
from math import isfinite

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
    "tib": 1 << 40,
}
DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$|^[0-9]+(\.[0-9]+)?$"
SIZE_PATTERN = r"^[0-9]{1,18}(\.[0-9]+)? ?([KMGTkmgt]?[iI]?[bB])?$"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_DURATION = re.compile(DURATION_PATTERN)
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]+)?) ?([A-Za-z]*)")

LONGEST = 100 * 365 * 24 * 3600.0
"""Seconds; beyond it is a slip of the pen, and clocks start to lose fractions."""
LARGEST = 1 << 60
"""Bytes."""


def parse_duration(value: object) -> float:
    """Seconds. Raises ValueError, in words for whoever wrote the value.

    >>> parse_duration("1h30m"), parse_duration("250ms"), parse_duration(5)
    (5400.0, 0.25, 5.0)
    """
    match value:
        case bool():
            seconds = None
        case int() | float():
            seconds = float(value)
        case str() if _DURATION.match(value):
            seconds = _read(value)
        case _:
            seconds = None
    if seconds is None or not isfinite(seconds):
        raise ValueError(f"{_shown(value)} is not a duration; write it like 250ms, 30s, 10m or 2h")
    if seconds < 0:
        raise ValueError("a duration cannot be negative")
    if seconds > LONGEST:
        raise ValueError(f"{_shown(value)} is longer than a hundred years")
    return seconds


@lru_cache(maxsize=256)  # a file of thousands of endpoints says few different ones
def _read(text: str) -> float:
    parts = _PART.findall(text)
    return sum(float(n) * _SECONDS[unit] for n, unit in parts) if parts else float(text)


@lru_cache(maxsize=256)
def format_duration(seconds: float) -> str:
    """The shortest spelling without a loss: `10m`, `90s`, `250ms`, `0s`.

    >>> format_duration(5400.0), format_duration(0.05), format_duration(0.0)
    ('90m', '50ms', '0s')
    """
    if seconds == 0:
        return "0s"
    for unit in ("h", "m", "s"):
        if seconds % _SECONDS[unit] == 0:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    in_ms = round(seconds * 1000, 6)
    if in_ms < 1000 and in_ms * 0.001 == seconds:
        return f"{in_ms:g}ms"
    return f"{seconds:.9f}".rstrip("0") + "s"


def parse_size(value: object) -> int:
    """Bytes. Raises ValueError, in words for whoever wrote the value.

    >>> parse_size("64KiB"), parse_size("10 MB"), parse_size(512)
    (65536, 10000000, 512)
    """
    size: float | None = None
    match value:
        case bool():
            pass
        case int() | float():
            size = value
        case str() if found := _SIZE.fullmatch(value):
            unit = _BYTES.get(found[2].lower() or "b")
            size = float(found[1]) * unit if unit and "." in found[1] else None
            if unit and size is None:
                size = int(found[1]) * unit
    if size is None or not isfinite(size) or size != int(size):
        raise ValueError(f"{_shown(value)} is not a size; write it like 64KiB, 10MiB, 4GiB or 10MB")
    if size < 0:
        raise ValueError("a size cannot be negative")
    if size > LARGEST:
        raise ValueError(f"{_shown(value)} is larger than any memory")
    return int(size)


@lru_cache(maxsize=256)
def format_size(size: int) -> str:
    """The largest binary unit without a loss: `64KiB`, `4GiB`, `1000`.

    >>> format_size(65536), format_size(1000)
    ('64KiB', '1000')
    """
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        whole = _BYTES[unit.lower()]
        if size and size % whole == 0:
            return f"{size // whole}{unit}"
    return str(size)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"
