"""Whoever answers requests in a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.processes import Address, Running


@dataclass(frozen=True, slots=True)
class Contestant:
    """Where requests go, and the process they cost something."""

    name: str
    address: Address
    host: str
    """Of the Host field."""
    running: Running
    is_ours: bool = False
    """An activator: what it does wrong is our failure, not a note."""
