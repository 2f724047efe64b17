"""What is booked where controllers of one endpoint take turns, and where one ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from activator.control import bookkeeper
from activator.core.endpoint import ProcessBackend
from tests.unit.control.firm import EPOCH, MIDNIGHT, Firm, firm

if TYPE_CHECKING:
    from activator.core.endpoint import Endpoint
    from activator.core.usage import Usage

pytestmark = pytest.mark.looptime


def used_and_saved(usage: Usage) -> tuple[float, float]:
    """Seconds that a replica ran, and that it would have."""
    return usage.ready_seconds + usage.other_seconds, usage.saved_seconds


async def booked(f: Firm) -> tuple[float, float]:
    """The same, once all until now is in the book: what has just begun is in the next entry."""
    await asyncio.sleep(20.1 - f.wall() % 10.0)
    (told,) = await f.book.days(EPOCH, EPOCH)
    return used_and_saved(told.usage)


def with_backend(f: Firm, command: str, *, name: str = "m") -> Endpoint:
    before = f.houses[0].control(name).live.endpoint
    return replace(before, backend=ProcessBackend((command, "{port}")))


@pytest.mark.parametrize("pause", [None, 0.0, 2.0])
async def test_of_another_backend_and_of_one_that_is_added_again_no_moment_counts_twice(
    pause: float | None,
) -> None:
    """Between two entries, after seconds without it. None: it is changed and stays."""
    async with firm() as f:
        changed = with_backend(f, "another")
        await asyncio.sleep(13.0)
        if pause is not None:
            await f.houses[0].supervisor.apply([])
            await asyncio.sleep(pause)
        await f.houses[0].supervisor.apply([changed])

        at_last = await booked(f)
        assert at_last == pytest.approx((0.0, 30.0 - (pause or 0.0)), abs=0.01)
        assert used_and_saved(f.keepers[0].today("m")) == pytest.approx(at_last, abs=0.2)


@pytest.mark.parametrize("is_added_again", [False, True])
async def test_while_the_replicas_of_the_backend_before_finish_they_are_used(
    *, is_added_again: bool
) -> None:
    """And nothing is saved, whatever is to follow, however often that changes."""
    async with firm() as f:
        h, keeper = f.houses[0], f.keepers[0]
        h.control().verbs.activate()
        await h.world.until(lambda: h.control().live.replicas)
        running = h.call()
        await h.world.until(lambda: running.replica)
        used, saved = used_and_saved(keeper.today("m"))
        for command in ("another", "yet-another", "a-third"):
            await asyncio.sleep(13.0)
            changed = with_backend(f, command)
            if is_added_again:
                await h.supervisor.apply([])
            await h.supervisor.apply([changed])
        await asyncio.sleep(13.0)
        now_used, now_saved = used_and_saved(keeper.today("m"))
        assert now_used - used == pytest.approx(4 * 13.0, abs=0.01)
        assert now_saved == saved

        running.done()
        await h.world.until(lambda: not h.supervisor._finishing)
        began = f.wall()
        assert await booked(f) == pytest.approx((now_used, now_saved + f.wall() - began), abs=0.5)


async def test_the_replicas_of_one_that_is_gone_are_used_until_they_have_finished() -> None:
    async with firm() as f:
        h, keeper = f.houses[0], f.keepers[0]
        h.control().verbs.activate()
        await h.world.until(lambda: h.control().live.replicas)
        running, began = h.call(), f.wall()
        used, _ = used_and_saved(keeper.today("m"))
        await h.supervisor.apply([])
        await asyncio.sleep(35.0)
        running.done()
        await h.world.until(lambda: not h.supervisor._finishing)
        at_last = used + f.wall() - began
        await asyncio.sleep(20.0)

        (told,) = await keeper.days(EPOCH, EPOCH)
        assert used_and_saved(told.usage)[0] == pytest.approx(at_last, abs=0.2)
        assert not keeper._unbooked


async def test_of_many_at_rest_one_that_waits_for_replicas_to_finish_is_read_every_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bookkeeper, "AT_REST", 1)
    async with firm(endpoints=3) as f:
        h = f.houses[0]
        h.control("m2").verbs.activate()
        await h.world.until(lambda: h.control("m2").live.replicas)
        running = h.call("m2")
        await h.supervisor.apply(
            [
                *(h.control(name).live.endpoint for name in ("m0", "m1")),
                with_backend(f, "another", name="m2"),
            ]
        )
        await asyncio.sleep(21.0)
        used = await f.used("m2")
        for ticks in range(1, 5):
            await asyncio.sleep(10.0)
            assert await f.used("m2") - used == pytest.approx(10.0 * ticks, abs=0.1)
        running.done()


async def test_one_that_is_removed_before_it_began_is_booked_once() -> None:
    """Its replicas finish: they are those of the backend before."""
    async with firm() as f:
        h, began = f.houses[0], f.wall()
        h.control().verbs.activate()
        await h.world.until(lambda: h.control().live.replicas)
        running = h.call()
        await asyncio.sleep(33.0)
        for configured in ([with_backend(f, "another")], []):
            await h.supervisor.apply(configured)
            await asyncio.sleep(23.0)
        running.done()
        await h.world.until(lambda: not h.supervisor._finishing)
        ran = f.wall() - began
        await asyncio.sleep(21.0)

        assert await f.used("m") == pytest.approx(ran, abs=0.1)


@pytest.mark.parametrize("is_busy", [False, True])
async def test_of_several_changes_between_two_entries_each_one_counts(*, is_busy: bool) -> None:
    async with firm() as f:
        h = f.houses[0]
        if is_busy:
            h.control().verbs.activate()
            await h.world.until(lambda: h.control().live.replicas)
            running = h.call()
        began = f.wall()
        before = sum(used_and_saved(f.keepers[0].today("m")))
        for number in range(13):
            await asyncio.sleep(3.0)
            await h.supervisor.apply([with_backend(f, f"command-{number}")])
        await asyncio.sleep(20.1 - f.wall() % 10.0)

        assert sum(await booked(f)) - before == pytest.approx(f.wall() - began, abs=1.0)
        if is_busy:
            running.done()


async def test_what_the_next_backend_has_used_before_midnight_is_of_that_day() -> None:
    async with firm(wall=MIDNIGHT - 25.0) as f:
        await asyncio.sleep(19.0)
        await f.houses[0].supervisor.apply([with_backend(f, "another")])
        await asyncio.sleep(16.1)

        assert await f.saved(0) == pytest.approx(25.0, abs=0.01)
        assert await f.saved(1) == pytest.approx(10.0, abs=0.01)
