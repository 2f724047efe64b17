"""Who counts what while controllers of one endpoint take turns."""

from __future__ import annotations

from dataclasses import replace

from activator.control.account import Account
from activator.control.coldstart import ColdStarts
from activator.core.endpoint import Endpoint, ProcessBackend
from activator.core.usage import NOTHING
from activator.telemetry.metrics import Metrics

ENDPOINT = Endpoint("m", ProcessBackend(("model",)), cost_per_replica_hour=3600.0)


class Time:
    now = 100.0

    def open(self) -> Account:
        starts = ColdStarts(Metrics().endpoint("m"), clock=lambda: self.now)
        return Account(ENDPOINT, cold_starts=starts, clock=lambda: self.now)

    def begun(self, *, replicas: int) -> Account:
        account = self.open()
        account.begin()
        account.runs(replicas)
        return account


def test_nothing_counts_before_it_begins() -> None:
    time = Time()
    account = time.open()
    time.now += 10.0
    assert account.usage() == NOTHING

    account.begin()
    account.runs(1)
    time.now += 10.0

    assert (account.usage().cost, account.usage().saved_seconds) == (10.0, 0.0)


def test_what_is_over_counts_no_more() -> None:
    time = Time()
    account = time.begun(replicas=1)
    time.now += 10.0
    account.end()
    time.now += 10.0

    assert account.usage().cost == 10.0


def test_one_that_follows_counts_what_the_one_before_has_used_and_goes_on_to_use_and_its_own() -> (
    None
):
    time = Time()
    before, after = time.begun(replicas=2), time.open()
    time.now += 10.0
    after.follow(before)
    assert after.is_waiting
    time.now += 10.0
    assert (before.usage().cost, after.usage().cost) == (40.0, 40.0)

    before.runs(0)
    before.end()
    after.begin()
    time.now += 10.0

    assert not after.is_waiting
    assert (before.usage().cost, after.usage().cost) == (40.0, 40.0)
    assert (before.usage().saved_seconds, after.usage().saved_seconds) == (0.0, 10.0)


def test_one_that_never_began_has_counted_nothing_by_itself() -> None:
    time = Time()
    before, never, after = time.begun(replicas=1), time.open(), time.open()
    never.follow(before)
    time.now += 10.0
    after.follow(never)
    time.now += 10.0

    assert [each.usage().cost for each in (before, never, after)] == [20.0, 20.0, 20.0]


def test_only_those_that_have_followed_one_another_go_on_from_one_another() -> None:
    time = Time()
    before, never, after, other = time.begun(replicas=1), time.open(), time.open(), time.open()
    never.follow(before)
    after.follow(never)

    assert all(each.goes_on_from(after) for each in (before, never, after))
    assert not other.goes_on_from(after)


def test_replicas_that_finish_cost_what_they_are_said_to_cost_meanwhile() -> None:
    time = Time()
    before, after = time.begun(replicas=1), time.open()
    after.follow(before)
    time.now += 10.0
    after.reprice(replace(ENDPOINT, cost_per_replica_hour=7200.0))
    time.now += 10.0

    assert after.usage().cost == 10.0 + 20.0
