"""An activator begins and ends as a whole, and keeps nobody waiting when it ends."""

from __future__ import annotations

import pytest

from activator.aiokit.tasks import AT_ONCE
from activator.control.controller import Controller
from activator.control.supervisor import Supervisor
from activator.control.worker import Worker, Workers
from tests.faults import Faulty, failures
from tests.slicing import counted
from tests.support import eventually
from tests.town import endpoint, town

MANY = 100


async def test_whoever_comes_at_the_start_finds_every_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with counted(monkeypatch) as turns:
        turns.step_with(monkeypatch, Supervisor, "_add")
        async with town(*(f"e{number}" for number in range(MANY))):
            pass

    assert turns.longest == turns.steps == MANY


@pytest.mark.parametrize(
    ("of", "name"),
    [(Worker, "stop_claiming"), (Worker, "aclose"), (Controller, "aclose")],
)
async def test_however_many_endpoints_end_others_have_their_turns(
    of: type, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with town(*(f"e{number}" for number in range(MANY))) as t:
        with counted(monkeypatch) as turns:
            turns.step_with(monkeypatch, of, name)
            await t.stop()

        assert turns.steps == MANY
        assert turns.longest <= 2 * AT_ONCE


@pytest.mark.parametrize("part", ["_proxy", "_hooks", "_stores", "_probes"])
async def test_a_part_whose_end_meets_a_bug_does_not_keep_the_others_from_theirs(
    part: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with town() as t:
        Faulty(monkeypatch, getattr(t.app, part), "aclose", after=True)
        last = Faulty(monkeypatch, t.app._deadlines, "close", times=0)
        await t.stop()

        assert failures(caplog) == ["upkeep/end"]
        assert last.called == 1


async def test_no_change_is_taken_up_any_more_when_endpoints_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with town("a") as t:
        taking_up: list[int] = []

        def follows(of: type, name: str) -> None:
            ends = getattr(of, name)

            async def noted(self: object) -> None:
                taking_up.append(len(t.app.reloading._tasks) + len(t.app._declared._tasks))
                await ends(self)

            monkeypatch.setattr(of, name, noted)

        assert t.app.reloading._tasks
        follows(Workers, "aclose")
        follows(Supervisor, "aclose")
        await t.stop()

    assert taking_up == [0, 0]


async def test_an_endpoint_that_is_added_while_what_is_in_flight_ends_claims_no_jobs() -> None:
    async with town("a") as t:
        await t.app.workers.stop_claiming()
        t.build_driver("b")
        await t.reloaded(t.config | {"endpoints": [endpoint("a"), endpoint("b")]})
        await eventually(lambda: t.app.registry.get("b"))
        claims = t.app.workers._workers["b"]._claims

        assert claims is not None
        await eventually(claims.done)
