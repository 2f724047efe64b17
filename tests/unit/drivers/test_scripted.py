"""What tests rely on beyond the contract of drivers when they use the scripted one."""

from __future__ import annotations

import pytest

from activator.core.effects import FailedStart
from activator.drivers.base import DriverError
from tests.driving import driving
from tests.scripted import ScriptedDriver
from tests.support import eventually


class Replicas:
    def __init__(self) -> None:
        self.up: set[str] = set()

    async def start(self, replica_id: str) -> tuple[str, int]:
        self.up.add(replica_id)
        return "127.0.0.1", 20000 + len(self.up)

    async def stop(self, replica_id: str) -> None:
        self.up.discard(replica_id)


async def test_calls_are_recorded_and_replicas_disposed_of() -> None:
    replicas = Replicas()
    subject = ScriptedDriver("m", factory=replicas.start, dispose=replicas.stop)

    async with driving(subject) as driven:
        await subject.scale(2)
        await driven.until_started(2)
        assert subject.running == ("m-1", "m-2")
        await subject.scale(1, victims=("m-1",))
        await eventually(lambda: replicas.up == {"m-2"})

    assert [(call.replicas, call.victims) for call in subject.calls] == [(2, ()), (1, ("m-1",))]
    assert replicas.up == set()


async def test_a_crash_is_an_exit_with_the_given_cause() -> None:
    replicas = Replicas()
    subject = ScriptedDriver("m", factory=replicas.start, dispose=replicas.stop)

    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until_started(1)
        subject.crash("m-1", FailedStart("boom", exit_code=7))

        assert (await driven.until_exit()).cause.exit_code == 7
        await eventually(lambda: not replicas.up)
        with pytest.raises(KeyError):
            subject.crash("m-1")


async def test_a_failure_is_used_up_by_one_start() -> None:
    subject = ScriptedDriver("m", factory=Replicas().start)
    subject.fail_next("no luck")

    async with driving(subject) as driven:
        await subject.scale(1)
        assert (await driven.until_exit()).cause.message == "no luck"
        await subject.scale(1)
        await driven.until_started(1)


async def test_a_refused_order_changes_nothing() -> None:
    subject = ScriptedDriver("m", factory=Replicas().start)
    subject.refuse_next("the API is away")

    async with driving(subject) as driven:
        with pytest.raises(DriverError, match="the API is away"):
            await subject.scale(1)
        await driven.until(lambda s: s.wanted == 0)
        await subject.scale(1)
        await driven.until_started(1)


async def test_a_start_that_was_called_off_leaves_nothing_up() -> None:
    replicas = Replicas()
    subject = ScriptedDriver("m", factory=replicas.start, dispose=replicas.stop, start_delay=0.02)

    async with driving(subject) as driven:
        await subject.scale(1)
        await driven.until(lambda s: s.wanted == 1)
        await subject.scale(0)
        await driven.until_empty()
        subject.start_delay = 0.05
        await subject.scale(1)
        await driven.until_started(1)

        assert replicas.up == {"m-2"}


async def test_an_error_in_the_test_s_own_factory_comes_out_of_run() -> None:
    async def broken(_: str) -> tuple[str, int]:
        raise LookupError("the test is wrong")

    subject = ScriptedDriver("m", factory=broken)
    await subject.scale(1)

    with pytest.raises(LookupError, match="the test is wrong"):
        await subject.run(lambda _: None)
