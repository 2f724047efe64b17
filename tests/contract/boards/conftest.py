"""Seats at a demand board, of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.boards.seats import Seats
from tests.sharing import KINDS, hall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(params=KINDS)
async def seats(request: pytest.FixtureRequest) -> AsyncIterator[Seats]:
    async with hall(request.param) as h:
        yield Seats(h)
