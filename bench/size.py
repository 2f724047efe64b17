"""How long a benchmark takes. Each benchmark says in its `PLANS` what that means for it."""

from __future__ import annotations

from enum import Enum


class Size(Enum):
    FULL = "full"
    """Figures to trust, as far as the machine is quiet."""
    QUICK = "quick"
    """About a minute for all of them."""
    SMOKE = "smoke"
    """A few seconds: does the harness still work?"""
