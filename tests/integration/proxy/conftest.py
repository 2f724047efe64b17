from __future__ import annotations

import pytest

from tests.integration.proxy.ways import Ways


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch)
