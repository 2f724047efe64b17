"""Loops that control is played on, in virtual time."""

from __future__ import annotations

import pytest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Here nothing comes from outside, so there is nothing to wait for before time goes on: by
    default the loop makes 42 empty turns before each of its steps, most of what a test took."""
    if item.get_closest_marker("looptime"):
        item.add_marker(pytest.mark.looptime(noop_cycles=0))
