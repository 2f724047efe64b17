"""One desk a module: most of what is played on it takes less time than making it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.wire.paper import paper_desk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.unit.wire.paper import Desk


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    with paper_desk() as made:
        yield made
