"""Thousands of endpoints, of which a few are used and the others are at zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import contestants
from bench.processes import python

if TYPE_CHECKING:
    from bench.processes import Address

Endpoint = dict[str, object]


def endpoints(count: int, upstream: Address, *, used: int) -> list[Endpoint]:
    """As a configuration file has them."""
    command = python("bench.recorder", "--port", "{port}")
    at_zero: list[Endpoint] = [
        {
            "name": name,
            "match": {"hosts": [name]},
            "backend": {"type": "process", "command": command},
        }
        for name in (f"zero-{number}" for number in range(count - used))
    ]
    return [*(contestants.static(name, upstream) for name in names(used)), *at_zero]


def names(used: int) -> list[str]:
    return [f"used-{number}" for number in range(used)]
