"""No variable of whoever runs the tests gets into them."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ACTIVATOR_")]:
        monkeypatch.delenv(name)
