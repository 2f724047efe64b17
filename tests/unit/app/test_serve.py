"""What `serve` does about garbage: nothing while it starts, and then what everybody does."""

from __future__ import annotations

import asyncio
import gc

import pytest

from activator.app.serve import FEW, LOOKS, SETTLED, _collect_garbage
from activator.cli import _imported
from tests.support import end_of_freezing


@pytest.mark.looptime
async def test_garbage_is_collected_once_nothing_is_made_any_more_but_not_of_what_stays() -> None:
    frozen = gc.get_freeze_count()
    made: list[list[list[int]]] = []
    gc.disable()
    collecting = asyncio.get_running_loop().create_task(_collect_garbage())
    try:
        for _ in range(3):
            await asyncio.sleep(SETTLED)
            made.append([[] for _ in range(2 * FEW)])
            assert not gc.isenabled()

        await asyncio.sleep(2.5 * SETTLED)

        assert gc.isenabled()
        assert gc.get_freeze_count() > frozen
    finally:
        gc.enable()
        end_of_freezing()
    await collecting


@pytest.mark.looptime
async def test_garbage_is_collected_in_the_end_whatever_is_made() -> None:
    made: list[list[list[int]]] = []
    gc.disable()
    collecting = asyncio.get_running_loop().create_task(_collect_garbage())
    try:
        for _ in range(LOOKS + 1):
            await asyncio.sleep(SETTLED)
            made.append([[] for _ in range(2 * FEW)])

        assert gc.isenabled()
    finally:
        gc.enable()
        end_of_freezing()
    await collecting


def test_importing_a_command_leaves_the_collector_at_work() -> None:
    try:
        module = _imported("activator.cli.schema")

        assert module.__name__ == "activator.cli.schema"
        assert gc.isenabled()
    finally:
        end_of_freezing()
