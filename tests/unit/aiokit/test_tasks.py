"""Every task is somebody's, and ends."""

from __future__ import annotations

import asyncio
import logging
from itertools import pairwise

import pytest

from activator.aiokit.tasks import AT_ONCE, SETTLED, Tasks
from tests.slicing import Turns


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


async def test_a_failure_that_cannot_be_told_is_logged_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def deaf(name: str, failure: BaseException) -> None:
        raise LookupError("another bug")

    tasks = Tasks("owner", on_failure=deaf)
    tasks.tell_failure("work", ValueError("a bug"))
    await asyncio.wait([tasks.spawn(fails(), name="work")])
    await asyncio.sleep(0)

    told = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert [str(each) for each in told] == ["a bug", "another bug"] * 2


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


@pytest.mark.looptime
async def test_what_is_to_last_begins_again_ever_later_and_tells_each_failure() -> None:
    told: list[tuple[str, str]] = []
    began: list[float] = []
    made_due: list[int] = []
    clock = asyncio.get_running_loop().time

    async def work() -> None:
        began.append(clock())
        if len(began) < 9:
            raise LookupError(f"bug {len(began)}")

    tasks = Tasks("owner", on_failure=lambda name, failure: told.append((name, str(failure))))
    task = tasks.spawn_lasting(work, name="work", again=lambda: made_due.append(len(began)))
    await task

    assert told == [("owner/work", f"bug {number}") for number in range(1, 9)]
    assert [later - sooner for sooner, later in pairwise(began)] == pytest.approx(
        [0.1, 0.3, 0.9, 2.7, 8.1, 24.3, 60.0, 60.0]
    )
    assert made_due == list(range(1, 9))
    await asyncio.sleep(0)
    assert len(tasks) == 0


@pytest.mark.looptime
async def test_a_failure_after_a_long_time_is_the_first_one_again() -> None:
    began: list[float] = []
    clock = asyncio.get_running_loop().time

    async def work() -> None:
        began.append(clock())
        await asyncio.sleep(SETTLED if len(began) == 3 else 0.0)
        raise LookupError("a bug")

    tasks = Tasks("owner", on_failure=lambda name, failure: None)
    tasks.spawn_lasting(work, name="work")
    await asyncio.sleep(SETTLED + 1.0)
    await tasks.aclose()

    assert began == pytest.approx([0.0, 0.1, 0.4, 0.4 + SETTLED + 0.1, 0.4 + SETTLED + 0.4])


@pytest.mark.looptime
async def test_what_is_to_last_ends_with_its_owner_whether_it_is_at_work_or_pauses() -> None:
    told: list[str] = []

    async def at_work() -> None:
        await asyncio.Event().wait()

    tasks = Tasks("owner", on_failure=lambda name, _: told.append(name))
    tasks.spawn_lasting(at_work, name="works")
    tasks.spawn_lasting(fails, name="pauses")
    await asyncio.sleep(0.05)
    await tasks.aclose()
    await asyncio.sleep(1.0)

    assert told == ["owner/pauses"]
    assert len(tasks) == 0


def test_a_listener_that_fails_is_told_of_and_does_not_keep_the_others_from_hearing() -> None:
    told: list[tuple[str, str]] = []
    heard: list[int] = []

    def broken(_said: int) -> None:
        raise LookupError("a bug")

    tasks = Tasks("owner", on_failure=lambda name, failure: told.append((name, str(failure))))
    tasks.tell_each([broken, heard.append], 7)

    assert heard == [7]
    assert told == [("owner/listener", "a bug")]


async def test_parts_end_one_after_the_other_whatever_becomes_of_those_before() -> None:
    told: list[tuple[str, str]] = []
    ended: list[str] = []

    async def breaks() -> None:
        raise LookupError("a bug")

    async def ends() -> None:
        await asyncio.sleep(0)
        ended.append("later")

    tasks = Tasks("owner", on_failure=lambda name, failure: told.append((name, str(failure))))
    await tasks.end_each(breaks, ends, lambda: ended.append("at once"))

    assert ended == ["later", "at once"]
    assert told == [("owner/end", "a bug")]


async def test_thousands_end_beside_each_other_and_begin_a_few_at_a_time() -> None:
    told: list[str] = []
    last = asyncio.Event()
    turns = Turns()

    async def ends() -> None:
        turns.step()
        await last.wait()

    async def ends_the_others() -> None:
        last.set()
        raise LookupError("a bug")

    tasks = Tasks("owner", on_failure=lambda name, _: told.append(name))
    with turns.counted():
        await tasks.end_all([*[ends] * 1000, ends_the_others])

    assert turns.steps == 1000
    assert turns.longest <= 2 * AT_ONCE
    assert told == ["owner/end"]
    assert len(tasks) == 0
