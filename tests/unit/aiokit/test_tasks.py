"""Every task is somebody's, and ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from activator.aiokit.tasks import Tasks

if TYPE_CHECKING:
    import pytest


async def nothing() -> str:
    return "done"


async def fails() -> None:
    raise LookupError("a bug")


async def test_a_task_is_named_after_its_owner_and_forgotten_when_it_has_ended() -> None:
    tasks = Tasks("owner")
    task = tasks.spawn(nothing(), name="work")

    assert task.get_name() == "owner/work"
    assert len(tasks) == 1
    assert await task == "done"
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_a_failure_is_told_once_with_the_tasks_name() -> None:
    told: list[tuple[str, str]] = []
    tasks = Tasks("owner", on_failure=lambda name, failure: told.append((name, str(failure))))
    await asyncio.wait([tasks.spawn(fails(), name="work")])
    await asyncio.sleep(0)
    await tasks.aclose()

    assert told == [("owner/work", "a bug")]


async def test_a_failure_nobody_listens_to_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks("owner")
    with caplog.at_level(logging.ERROR, logger="activator.tasks"):
        await asyncio.wait([tasks.spawn(fails(), name="work")])
        await asyncio.sleep(0)

    assert [record.message for record in caplog.records] == ["task failed"]
    assert caplog.records[0].exc_info is not None


async def test_closing_cancels_and_waits_until_everything_has_been_given_back() -> None:
    given_back = []

    async def holds(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            given_back.append(number)

    tasks = Tasks("owner")
    for number in range(3):
        tasks.spawn(holds(number), name=str(number))
    await asyncio.sleep(0)
    await tasks.aclose()

    assert sorted(given_back) == [0, 1, 2]
    assert len(tasks) == 0


async def test_a_cancellation_is_no_failure() -> None:
    told: list[str] = []
    tasks = Tasks("owner", on_failure=lambda name, _: told.append(name))
    task = tasks.spawn(asyncio.sleep(60), name="work")
    task.cancel()
    await asyncio.wait([task])
    await tasks.aclose()

    assert told == []


async def test_closing_without_tasks_and_twice_is_no_error() -> None:
    tasks = Tasks("owner")

    await tasks.aclose()
    await tasks.aclose()
