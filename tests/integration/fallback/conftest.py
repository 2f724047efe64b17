"""What every test of fallbacks needs."""

from __future__ import annotations

import pytest

from tests.redis_server import CERTIFICATES


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATES / "localhost.pem"))
