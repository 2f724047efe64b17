"""Jobs over real sockets, looked after and repeated sooner than in production."""

from __future__ import annotations

import pytest

from activator.control import hooks, upkeep, worker
from activator.core import jobs
from activator.core.backoff import Backoff


@pytest.fixture(autouse=True)
def _brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (upkeep, worker):
        monkeypatch.setattr(module, "TICK", 0.1)
    monkeypatch.setattr(hooks, "RETRY", Backoff(first=0.2, cap=1.0))
    monkeypatch.setattr(jobs, "RETRY", Backoff(first=0.2, cap=1.0))
