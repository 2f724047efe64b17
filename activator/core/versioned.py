"""What one activator tells another in JSON: an object with the version of its form under `v`.

Activators of two versions run side by side during a rolling upgrade; what one cannot read it
passes over.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
U = TypeVar("U")


def dump(version: int, words: Mapping[str, Any]) -> bytes:
    return json.dumps({"v": version, **words}, separators=(",", ":")).encode()


def load(
    version: int, told: bytes, read: Callable[[Mapping[str, Any]], T], *, otherwise: U
) -> T | U:
    """What `read` makes of it; `otherwise` for what is of another version, or none of ours."""
    try:
        words = json.loads(told)
        return read(words) if words["v"] == version else otherwise
    except (ValueError, KeyError, TypeError, AttributeError):
        return otherwise
