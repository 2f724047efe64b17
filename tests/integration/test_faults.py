"""A fault of ours, a bug, in what lasts as long as the activator: it begins again, and requests and
jobs are served as ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from activator.app.stores import Times
from activator.control import upkeep
from activator.control.bookkeeper import Bookkeeper
from activator.control.controller import Controller
from activator.control.keeper import Keeper
from activator.control.key_accounts import KeyAccounts
from activator.control.prober import Prober
from activator.control.upkeep import Upkeep
from activator.control.worker import Worker
from activator.coordination import ledger_talk
from activator.coordination.lease import SharedLease
from activator.coordination.ledger_talk import Talk
from activator.coordination.roster import SharedRoster
from activator.coordination.shared_events import SharedEvents
from activator.coordination.words import Words
from activator.queueing.redis_job_running import Running
from activator.redisio import watch
from activator.redisio.hub import Hub
from activator.redisio.link import Link
from activator.redisio.watch import Watch
from tests.faults import Faulty, failures
from tests.integration.jobs.test_jobs import echo, post_job, until_state
from tests.redis_server import fresh_prefix, shared_server
from tests.stage import stage
from tests.support import eventually

if TYPE_CHECKING:
    from tests.stage import Stage

AT_ONCE = [
    (Bookkeeper, "tick"),
    (Controller, "_observe"),
    (Controller, "_seen"),
    (Keeper, "tick"),
    (KeyAccounts, "tick"),
    (Prober, "_until_due"),
    (Worker, "_claim_some"),
]
WITH_A_STORE = [
    (Hub, "_is_confirmed"),
    (Running, "lost"),
    (SharedEvents, "_take"),
    (Talk, "_join"),
    (Words, "_join_these"),
    (Words, "_joined"),
]
LATER = [
    (Link, "run"),
    (SharedEvents, "_write"),
    (SharedLease, "_ask"),
    (SharedRoster, "_beat_once"),
    (Talk, "_heard"),
    (Upkeep, "tick"),
    (Watch, "look"),
]
SOONER = [(ledger_talk, "OTHER_CHECK", 0.5), (upkeep, "TICK", 0.2), (watch, "LOOK_EVERY", 0.4)]
"""Seconds, of a second or two otherwise."""


def store() -> dict[str, Any]:
    return {"store": {"url": shared_server().url, "prefix": fresh_prefix(), "timeout": "2s"}}


async def serves(s: Stage, faulty: Faulty) -> None:
    assert (await s.get()).status == 201
    job = await post_job(s)
    await until_state(s, job, "succeeded")
    await eventually(lambda: faulty.has_gone_on)
    assert (await s.get()).status == 201


@pytest.mark.parametrize("from_zero", [False, True])
@pytest.mark.parametrize(("of", "name"), AT_ONCE)
async def test_what_fails_as_soon_as_it_is_at_work_begins_again(
    of: Any,
    name: str,
    *,
    from_zero: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    faulty = Faulty(monkeypatch, of, name)
    async with stage(echo, from_zero=from_zero, ready=False) as s:
        for replica in s.replicas:
            await replica.start()
        await serves(s, faulty)
    if of is Controller:
        assert "control_failed" in [each.action for each in s.app.events.since(0)]
    else:
        assert len(failures(caplog)) == 1


@pytest.mark.parametrize(("of", "name"), WITH_A_STORE)
async def test_so_does_what_has_to_do_with_the_store(
    of: Any, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faulty = Faulty(monkeypatch, of, name)
    async with stage(echo, concurrency=4, config=store()) as s:
        await serves(s, faulty)
    assert len(failures(caplog)) == 1


@pytest.mark.parametrize(("of", "name"), LATER)
async def test_so_does_what_has_been_at_work_for_a_while(
    of: Any, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module, name_of_time, seconds in SOONER:
        monkeypatch.setattr(module, name_of_time, seconds)
    async with stage(echo, concurrency=4, config=store(), times=Times(beat=0.2)) as s:
        faulty = Faulty(monkeypatch, of, name)
        s.app.events.record("m", "reconfigured", "something to write")
        await serves(s, faulty)
    assert len(failures(caplog)) == 1


async def test_an_end_that_meets_a_fault_of_ours_leaves_nothing_running(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with stage(echo, from_zero=True, config=store()) as s:
        assert (await s.get()).status == 201
        Faulty(monkeypatch, Keeper, "_note_all")
        Faulty(monkeypatch, KeyAccounts, "tick")
        await s.stop()
        assert s.driver is not None
        assert not s.driver.running
    assert failures(caplog) == ["upkeep/end"] * 2
