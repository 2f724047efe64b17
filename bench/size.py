"""How long a benchmark takes. Each benchmark says in its `PLANS` what that means for it."""

from __future__ import annotations

from enum import Enum


class Size(Enum):
    FULL = "full"
    """Figures to trust, as far as the machine is quiet."""
    QUICK = "quick"
    """Some minutes for all of them."""
    SMOKE = "smoke"
    """Some seconds each: does the harness still work?"""
