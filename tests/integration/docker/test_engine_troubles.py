"""What an engine can do to the driver: images that are missing, refusals, being away, leftovers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.core.endpoint import DockerBackend
from activator.drivers.base import DriverError, Phase
from activator.drivers.docker import DockerDriver
from activator.drivers.docker_existing import ExistingContainerDriver
from tests.docker_engine import Program, ScriptedEngine, scripted_engine
from tests.driving import driving
from tests.faults import Faulty, failures
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[ScriptedEngine]:
    async with scripted_engine(tmp_path) as made:
        yield made


def driver(engine: ScriptedEngine, image: str = "model:1", **settings: object) -> DockerDriver:
    backend = DockerBackend(image=image, port=80, engine=engine.address, **settings)  # type: ignore[arg-type]  # a test's shorthand
    return DockerDriver("m", backend)


def existing(engine: ScriptedEngine, **settings: object) -> ExistingContainerDriver:
    backend = DockerBackend(container="own", engine=engine.address, **settings)  # type: ignore[arg-type]  # a test's shorthand
    return ExistingContainerDriver("m", backend)


async def test_a_missing_image_is_pulled_and_how_far_it_is_can_be_seen(
    engine: ScriptedEngine,
) -> None:
    engine.pulls["hub/big:2"] = [
        {"status": "Pulling from hub/big", "id": "2"},
        {
            "status": "Downloading",
            "id": "a",
            "progressDetail": {"current": 5_000_000, "total": 20_000_000},
        },
    ]
    engine.pulled.clear()
    subject = driver(engine, "hub/big:2")
    async with driving(subject) as driven:
        await subject.scale(1)
        snapshot = await driven.until(lambda s: s.replicas and "pulls" in s.replicas[0].detail)
        assert snapshot.replicas[0].phase is Phase.REQUESTED
        assert snapshot.replicas[0].detail.startswith("pulls hub/big:2")

        engine.pulled.set()
        await driven.until_started(1)


async def test_an_image_that_cannot_be_had_is_the_cause(engine: ScriptedEngine) -> None:
    subject = driver(engine, "hub/secret:1")
    async with driving(subject) as driven:
        await subject.scale(1)
        exit_ = await driven.until_exit()

        assert exit_.cause.message.startswith(
            "cannot be started: image hub/secret:1: pull access denied for hub/secret"
        )
        assert engine.containers == {}


async def test_an_error_in_the_middle_of_a_pull_is_the_cause(engine: ScriptedEngine) -> None:
    engine.pulls["hub/big:2"] = [{"error": "no space left on device"}]
    subject = driver(engine, "hub/big:2")
    async with driving(subject) as driven:
        await subject.scale(1)
        assert "no space left on device" in (await driven.until_exit()).cause.message


async def test_a_pull_ends_when_nobody_wants_it_any_more(engine: ScriptedEngine) -> None:
    engine.pulls["hub/big"] = engine.pulls["hub/big:latest"] = []
    engine.pulled.clear()
    subject = driver(engine, "hub/big")
    async with driving(subject) as driven:
        await subject.scale(1)
        await eventually(lambda: ("POST", "/images/create") in engine.calls)

        await subject.scale(0)

        await driven.until_empty()
        assert driven.now.exits == ()
        assert engine.containers == {}


async def test_while_the_engine_is_away_nothing_is_concluded_and_orders_are_refused(
    engine: ScriptedEngine,
) -> None:
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        [before] = await driven.until_started(1)

        await engine.stop()
        await eventually(lambda: subject.away)

        assert driven.started() == [before]
        with pytest.raises(DriverError, match="cannot be asked"):
            await subject.scale(0)
        [container] = engine.containers.values()
        engine.crash(container, code=137, oom_killed=True)
        await engine.start()

        exit_ = await driven.until_exit()
        assert exit_.cause.message == "killed: out of memory (the container's limit)"
        await driven.until_empty()
        await subject.scale(1)
        await driven.until_started(1)


async def test_an_engine_that_is_away_from_the_beginning_is_reported_as_nothing_yet(
    engine: ScriptedEngine,
) -> None:
    await engine.stop()
    subject = driver(engine)
    async with driving(subject) as driven:
        assert driven.now.wanted == 0
        with pytest.raises(DriverError, match=r"engine\.sock: no such file"):
            await subject.scale(1)

        await engine.start()

        await eventually(lambda: not subject.away)
        await subject.scale(1)
        await driven.until_started(1)


async def test_an_order_that_was_taken_is_carried_out_when_the_engine_is_back(
    engine: ScriptedEngine,
) -> None:
    engine.pulls["hub/big:2"] = []
    engine.pulled.clear()
    subject = driver(engine, "hub/big:2")
    async with driving(subject) as driven:
        await subject.scale(1)
        await eventually(lambda: ("POST", "/images/create") in engine.calls)
        await engine.stop()
        engine.pulled.set()
        await engine.start()

        [replica] = await driven.until_started(1)

        assert driven.now.exits == ()
        assert {r.id for s in driven.seen for r in s.replicas} == {replica.id}


async def test_a_creation_whose_answer_was_lost_is_not_repeated(engine: ScriptedEngine) -> None:
    engine.lose_answer("POST /containers/create")
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until_started(1)

        assert len(engine.containers) == 1


async def test_two_activators_that_start_at_once_start_one_container(
    engine: ScriptedEngine,
) -> None:
    one, other = driver(engine), driver(engine)
    async with driving(one) as first, driving(other) as second:
        await asyncio.gather(one.scale(1), other.scale(1))
        await first.until_started(1)
        await second.until_started(1)

        assert first.started()[0].id == second.started()[0].id
        assert len(engine.containers) == 1
        assert first.now.exits == second.now.exits == ()


async def test_an_order_for_more_while_the_first_is_being_created_makes_both(
    engine: ScriptedEngine,
) -> None:
    engine.may_create.clear()
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        await eventually(lambda: engine.calls.count(("POST", "/containers/create")) == 1)
        await subject.scale(2)
        await eventually(lambda: engine.calls.count(("POST", "/containers/create")) == 2)
        engine.may_create.set()

        await driven.until_started(2)

        assert len(engine.containers) == 2


async def test_leftovers_of_a_killed_activator_are_cleared_away(engine: ScriptedEngine) -> None:
    first = driver(engine)
    async with driving(first) as driven:
        await first.scale(2)
        await driven.until_started(2)
    ended, never_started = engine.containers.values()
    engine.crash(ended, code=1)
    never_started.status, never_started.created = "created", never_started.created - 60

    second = driver(engine)
    async with driving(second) as driven:
        await eventually(lambda: not engine.containers)

        assert [e.cause.exit_code for e in driven.now.exits] == [1]
        await driven.until_empty()


async def test_the_name_of_somebody_elses_container_is_passed_over(engine: ScriptedEngine) -> None:
    engine.make("activator-m-1")
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until_started(1)

    assert engine.named("activator-m-2")


async def test_a_container_that_cannot_be_removed_is_told_and_tried_again(
    engine: ScriptedEngine,
) -> None:
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until_started(1)
        [container] = engine.containers
        engine.refuse(f"DELETE /containers/{container}", 500, "device or resource busy")

        await subject.scale(0)

        await driven.until(lambda s: s.replicas and "resource busy" in s.replicas[0].detail)
        await driven.until_empty()
        assert engine.containers == {}


async def test_cancelled_it_waits_for_the_end_of_what_is_being_stopped(
    engine: ScriptedEngine,
) -> None:
    engine.programs[()] = Program(stop_takes=0.2)
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(2)
        await driven.until_started(2)
        await subject.scale(1)
        await driven.end()

    assert len(engine.containers) == 1


async def test_an_address_that_was_not_configured_rightly_is_told(engine: ScriptedEngine) -> None:
    engine.make("own", NetworkMode="bridge")
    subject = existing(engine, network="models", port=80)
    async with driving(subject) as driven:
        await subject.scale(1)

        cause = (await driven.until_exit()).cause

        assert cause.message == (
            "cannot be started: it is not in the network models, but in bridge"
        )
        await driven.until_empty()


async def test_a_container_that_does_not_exist_is_told(engine: ScriptedEngine) -> None:
    subject = existing(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        cause = (await driven.until_exit()).cause

        assert cause.message == "cannot be started: there is no container own"
        with pytest.raises(DriverError, match="one container own, not 2"):
            await subject.scale(2)


async def test_a_restart_by_somebody_is_another_incarnation(engine: ScriptedEngine) -> None:
    container = engine.make("own", ExposedPorts={"9000/tcp": {}})
    engine.run(container)
    subject = existing(engine)
    async with driving(subject) as driven:
        [before] = await driven.until_started(1)
        assert before.port == 9000

        engine.person_stops(container)
        engine.run(container)

        await driven.until(lambda _: driven.started() and driven.started()[0].id != before.id)
        assert driven.now.exits == ()


async def test_one_that_the_engine_starts_again_by_itself_is_told_and_comes_back(
    engine: ScriptedEngine,
) -> None:
    container = engine.make("own", ExposedPorts={"9000/tcp": {}})
    subject = existing(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        [before] = await driven.until_started(1)

        engine.crash(container, code=1)
        container.status = "restarting"
        exit_ = await driven.until_exit()
        assert (exit_.id, exit_.cause.exit_code) == (before.id, 1)
        assert driven.now.wanted == 1

        engine.run(container)
        [after] = await driven.until_started(1)
        assert after.id != before.id
        assert len(driven.now.exits) == 1


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"), [("1.41", "1.12", "v1.41"), ("1.52", "1.44", "v1.44")]
)
async def test_the_version_is_one_that_both_speak(
    engine: ScriptedEngine, newest: str, oldest: str, spoken: str
) -> None:
    engine.version = {"ApiVersion": newest, "MinAPIVersion": oldest}
    async with driving(driver(engine)):
        assert engine.spoken == {spoken}


async def test_an_engine_that_is_too_old_is_told_so(engine: ScriptedEngine) -> None:
    engine.version = {"ApiVersion": "1.39", "MinAPIVersion": "1.12"}
    subject = driver(engine)
    async with driving(subject):
        with pytest.raises(DriverError, match=r"speaks API 1\.39, and 1\.41 is needed"):
            await subject.scale(1)


async def test_a_proxy_that_forbids_is_quoted(engine: ScriptedEngine) -> None:
    engine.refuse("GET /events", 403, "<html><body><h1>403 Forbidden</h1>", times=1000)
    subject = driver(engine)
    async with driving(subject):
        with pytest.raises(DriverError, match="403"):
            await subject.scale(1)


async def test_a_look_that_meets_a_fault_of_ours_is_trouble_until_one_does_not(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subject = driver(engine)
    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until_started(1)
        Faulty(monkeypatch, subject, "_see", times=2)
        subject._follower.again()
        await driven.until(lambda s: "an error of its own" in s.trouble)
        await driven.until(lambda s: not s.trouble)

        assert len(driven.started()) == 1
        assert failures(caplog) == ["docker/m/follow"] * 2


async def test_a_start_that_meets_a_fault_of_ours_has_failed(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    subject = driver(engine)
    Faulty(monkeypatch, subject, "_create")
    async with driving(subject) as driven:
        await subject.scale(1)
        assert "an error of its own" in (await driven.until_exit()).cause.message
        assert len(failures(caplog)) == 1
        await subject.scale(1)
        await driven.until_started(1)


async def test_a_container_of_ones_own_whose_start_meets_a_fault_of_ours_can_be_started_again(
    engine: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine.make("own")
    subject = existing(engine, port=80)
    Faulty(monkeypatch, subject, "_start")
    async with driving(subject) as driven:
        await subject.scale(1)
        assert "an error of its own" in (await driven.until_exit()).cause.message
        assert len(failures(caplog)) == 1
        await subject.scale(1)
        await driven.until_started(1)
