"""How often methods of a class of ours are called, for tests of which way something goes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest


def calls(patch: pytest.MonkeyPatch, owner: type, *names: str) -> Counter[str]:
    """By method, from now on."""
    count: Counter[str] = Counter()

    def counting(name: str, told: Any) -> Any:
        def counted(*args: Any, **more: Any) -> Any:
            count[name] += 1
            return told(*args, **more)

        return counted

    for name in names:
        patch.setattr(owner, name, counting(name, getattr(owner, name)))
    return count
