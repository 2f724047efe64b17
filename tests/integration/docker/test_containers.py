"""Containers as replicas, over a scripted engine and over this machine's own where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.driving import driving
from tests.integration.docker.places import FAILS, MISSING, PRINTS, RUNS, Place, a_place
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(params=["scripted", "real"])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    async with a_place(request.param, tmp_path) as made:
        yield made


async def test_what_runs_outlives_its_activator_and_is_adopted_by_the_next(place: Place) -> None:
    first = place.driver(*RUNS)
    async with driving(first) as driven:
        await first.scale(1)
        [before] = await driven.until_started(1)

    assert await place.containers() == [f"{place.instance}-m-1"]
    second = place.driver(*RUNS)
    async with driving(second) as driven:
        [adopted] = driven.started()
        assert (adopted.id, adopted.host, adopted.port) == (before.id, before.host, 8000)
        assert driven.now.wanted == 1

        await second.scale(0)
        await driven.until_empty()

    assert await place.containers() == []


async def test_what_was_made_for_another_configuration_is_replaced(place: Place) -> None:
    first = place.driver(*RUNS)
    async with driving(first) as driven:
        await first.scale(1)
        [before] = await driven.until_started(1)

    second = place.driver(*RUNS, env=(("A", "1"),))
    async with driving(second) as driven:
        assert driven.now.wanted == 0
        await driven.until_empty()
        await second.scale(1)
        [after] = await driven.until_started(1)
        assert after.id != before.id
        await second.discard()

    assert await place.containers() == []


async def test_an_end_is_told_with_its_code_and_last_lines_and_leaves_nothing(place: Place) -> None:
    subject = place.driver(*FAILS)
    async with driving(subject) as driven:
        await subject.scale(1)
        cause = (await driven.until_exit()).cause

        assert cause.message == "exited with code 3 before it was told to stop"
        assert cause.exit_code == 3
        assert cause.last_lines == ("one", "two")
        assert driven.now.wanted == 0
    assert await place.containers() == []


async def test_a_command_that_cannot_be_executed_is_told_and_leaves_nothing(place: Place) -> None:
    subject = place.driver(*MISSING)
    async with driving(subject) as driven:
        await subject.scale(1)
        cause = (await driven.until_exit()).cause

    assert cause.message.startswith("cannot be started: ")
    assert '"no-such-program": executable file not found' in cause.message
    assert await place.containers() == []


async def test_somebody_elses_stop_is_respected_and_no_crash(place: Place) -> None:
    subject = place.driver(*RUNS)
    async with driving(subject) as driven, place.person() as person:
        await subject.scale(1)
        await driven.until_started(1)

        await person.stop(f"{place.instance}-m-1", grace=0.0)

        await driven.until_empty()
        assert driven.now.wanted == 0
        assert driven.now.exits == ()
    assert await place.containers() == []


async def test_an_existing_container_is_started_and_stopped_and_never_removed(place: Place) -> None:
    async with place.created(*RUNS) as name, place.person() as person:
        subject = place.existing(name)
        async with driving(subject) as driven:
            assert driven.now.wanted == 0
            await subject.scale(1)
            [first] = await driven.until_started(1)
            assert first.port == 8000

            await subject.scale(0)
            await driven.until_empty()
            assert await person.inspect(name)

            await subject.scale(1)
            [second] = await driven.until_started(1)
            assert second.id != first.id

        adopting = place.existing(name)
        async with driving(adopting) as driven:
            [adopted] = driven.started()
            assert adopted.id == second.id
            await adopting.discard()
        assert (await person.inspect(name) or {})["State"]["Running"]


async def test_an_existing_container_that_ends_is_told(place: Place) -> None:
    async with place.created(*FAILS) as name:
        subject = place.existing(name)
        async with driving(subject) as driven:
            await subject.scale(1)
            exit_ = await driven.until_exit()

            assert exit_.cause.exit_code == 3
            assert exit_.cause.last_lines == ("one", "two")
            assert driven.now.wanted == 0


async def test_what_a_person_does_with_an_existing_container_holds(place: Place) -> None:
    async with place.created(*RUNS) as name, place.person() as person:
        subject = place.existing(name)
        async with driving(subject) as driven:
            await person.start(name)
            await driven.until_started(1)
            assert driven.now.wanted == 1

            await person.stop(name, grace=0.0)
            await driven.until_empty()
            assert driven.now.wanted == 0
            assert driven.now.exits == ()


async def test_the_last_lines_of_one_that_runs_can_be_asked_for(place: Place) -> None:
    async with place.created(*PRINTS) as name:
        subject = place.existing(name)
        async with driving(subject) as driven:
            await subject.scale(1)
            [replica] = await driven.until_started(1)
            await eventually(lambda: subject.last_lines(replica.id) == ("loading",))
