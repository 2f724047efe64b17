"""What tests over real sockets can ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.aiokit import outbox
from tests import stage
from tests.redis_server import fresh_prefix, shared_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["memory", "redis"])
def each_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Once with everything in this process, once with a real Redis that is asked for each slot."""
    if request.param == "memory":
        yield
        return
    url, prefix = shared_server().url, fresh_prefix()
    before = stage.store.set({"url": url, "prefix": prefix, "timeout": "2s"})
    yield
    stage.store.reset(before)
    lasting = [key for key in shared_server().keys(prefix) if shared_server().ask("PTTL", key) < 0]
    assert lasting == []


@pytest.fixture(params=["at once", "together"])
def each_write(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once as where little comes in, once with all writes of a turn together, however few."""
    if request.param == "together":
        monkeypatch.setattr(outbox, "TRIED_AGAIN", 0)
