"""Outcomes that are told on the object that declares an endpoint: which, how, and by whom."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from activator.app.telling import Telling
from activator.telemetry.events import Event, EventLog
from tests.faults import Faulty, failures
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest


class Heard:
    """In the object's place."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, bool]] = []
        self.leads = True
        self.asked = 0
        """How often it was asked whether it leads."""

    def leading(self) -> bool:
        self.asked += 1
        return self.leads

    def tell(self, endpoint: str, *, reason: str, message: str, is_warning: bool) -> None:
        self.told.append((endpoint, reason, message, is_warning))


@contextlib.asynccontextmanager
async def telling() -> AsyncIterator[tuple[EventLog, Heard]]:
    events, heard = EventLog(), Heard()
    made = Telling(events, tell=heard.tell, leading=heard.leading)
    made.start()
    try:
        await eventually(lambda: events.subscribers)
        yield events, heard
    finally:
        await made.aclose()


async def test_a_failed_start_is_a_warning_with_its_cause() -> None:
    async with telling() as (events, heard):
        events.record("models.a", "start_failed", "exited with code 3")
        await eventually(lambda: heard.told)
    assert heard.told == [("models.a", "StartFailed", "exited with code 3", True)]


async def test_what_comes_often_is_said_in_the_same_words_each_time() -> None:
    async with telling() as (events, heard):
        events.record("models.a", "activated", "after 3.2 s")
        events.record("models.a", "first_byte", "3 ms after the replica was ready")
        events.record("models.a", "activated", "after 4.1 s")
        await eventually(lambda: len(heard.told) == 2)
    assert heard.told == [("models.a", "Activated", "it is ready for requests", False)] * 2


async def test_only_who_leads_tells() -> None:
    async with telling() as (events, heard):
        heard.leads = False
        events.record("models.a", "crashed", "out of memory")
        events.record("models.a", "deactivated", "idle")
        await eventually(lambda: heard.asked == 2)
        heard.leads = True
        events.record("models.a", "rescaled", "3, by somebody else")
        await eventually(lambda: heard.told)
    assert [reason for _, reason, *_ in heard.told] == ["Rescaled"]


async def test_what_all_have_seen_is_told_by_who_leads_whoever_said_it_first() -> None:
    async with telling() as (events, heard):
        events.me = "one"
        for number, (action, author) in enumerate(
            (("activated", "other"), ("refused", "other"), ("refused", "one")), 1
        ):
            events.keep(Event(number, 1.0, "models.a", action, "why", activator=author))
        await eventually(lambda: len(heard.told) == 2)
    assert [reason for _, reason, *_ in heard.told] == ["Activated", "ScalingRefused"]


async def test_one_outcome_that_meets_a_fault_of_ours_keeps_no_other_from_being_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with telling() as (events, heard):
        Faulty(monkeypatch, Telling, "_on_event")
        events.record("models.a", "activated", "after 3.2 s")
        events.record("models.a", "start_failed", "exited with code 3")
        await eventually(lambda: heard.told)
    assert [reason for _, reason, _, _ in heard.told] == ["StartFailed"]
    assert failures(caplog) == ["telling/listener"]
