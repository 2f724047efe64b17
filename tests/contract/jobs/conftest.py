from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from tests.contract.jobs.stage import MemoryStage, RedisStage, Stage
from tests.redis_server import opened_link

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.queueing.jobs import JobStore


@asynccontextmanager
async def _memory() -> AsyncIterator[Stage]:
    yield MemoryStage()


@asynccontextmanager
async def _redis() -> AsyncIterator[Stage]:
    async with opened_link() as link:
        stage = RedisStage(link)
        yield stage
        await stage.aclose()


IMPLEMENTATIONS = [pytest.param(_memory, id="memory"), pytest.param(_redis, id="redis")]


@pytest.fixture(params=IMPLEMENTATIONS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """An empty store, for as many activators as are opened."""
    async with request.param() as opened:
        yield opened


@pytest.fixture
def a(stage: Stage) -> JobStore:
    """An activator."""
    return stage.open("a")


@pytest.fixture
def b(stage: Stage) -> JobStore:
    """Another activator over the same store."""
    return stage.open("b")
