"""What every Lease promises, whichever it is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.coordination.memory import MemoryLease
from tests.faults import Faulty, failures, long_pauses
from tests.sharing import LEASE_KINDS, PACE, hall, kill
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from activator.coordination.base import Lease
    from activator.coordination.lease import SharedLease
    from tests.sharing import Hall


@pytest.fixture(params=LEASE_KINDS)
async def h(request: pytest.FixtureRequest) -> AsyncIterator[Hall]:
    async with hall(request.param) as opened:
        yield opened


async def candidates(h: Hall, count: int) -> list[SharedLease]:
    return [await h.lease(await h.roster()) for _ in range(count)]


def leaders(leases: list[SharedLease]) -> list[SharedLease]:
    return [lease for lease in leases if lease.leading]


def test_alone_it_always_leads() -> None:
    lease: Lease = MemoryLease()

    assert lease.leading
    lease.on_change(lambda: None)()


async def test_one_leads_and_goes_on_leading(h: Hall) -> None:
    leases = await candidates(h, 3)
    await eventually(lambda: leaders(leases))
    (first,) = leaders(leases)

    for _ in range(int(2 * PACE.lapse / 0.02)):
        assert leaders(leases) == [first]
        await asyncio.sleep(0.02)


async def test_who_wants_to_know_is_told_until_it_does_not(h: Hall) -> None:
    lease = await h.lease(await h.roster())
    told: list[bool] = []
    heard: list[bool] = []
    end = lease.on_change(lambda: told.append(lease.leading))
    lease.on_change(lambda: heard.append(lease.leading))
    await eventually(lambda: told == [True])
    end()

    await lease.aclose()

    assert told == [True]
    assert heard == [True, False]


async def test_one_that_ends_hands_over_at_once_with_a_higher_term(h: Hall) -> None:
    leases = await candidates(h, 2)
    await eventually(lambda: leaders(leases))
    (first,) = leaders(leases)
    (other,) = (lease for lease in leases if lease is not first)
    term = first.term

    await first.aclose()

    assert not first.leading
    await eventually(lambda: other.leading, within=PACE.lapse / 2)
    assert other.term == term + 1


async def test_one_that_is_killed_has_stopped_leading_before_another_begins(h: Hall) -> None:
    leases = await candidates(h, 2)
    await eventually(lambda: leaders(leases))
    (first,) = leaders(leases)
    (other,) = (lease for lease in leases if lease is not first)

    await kill(first)

    await eventually(lambda: not first.leading)
    assert not other.leading
    await eventually(lambda: other.leading, within=2 * PACE.lapse)
    assert other.term > first.term


async def test_one_that_was_only_stuck_for_a_moment_leads_again(h: Hall) -> None:
    (lease,) = await candidates(h, 1)
    await eventually(lambda: lease.leading)
    term = lease.term
    await kill(lease)
    await eventually(lambda: not lease.leading)

    lease.open()

    await eventually(lambda: lease.leading)
    assert lease.term == term


async def test_a_holder_that_was_seen_to_have_ended_need_not_lapse(h: Hall) -> None:
    roster = await h.roster(ended=lambda _: True)
    first_roster = await h.roster()
    first = await h.lease(first_roster)
    await eventually(lambda: first.leading)
    other = await h.lease(roster)
    await asyncio.sleep(PACE.look * 2)
    await kill(first_roster)

    # it goes on renewing: that nobody waits for it to lapse shows in who leads
    await kill(first)
    await eventually(lambda: other.leading, within=2 * PACE.lapse)


async def test_a_listener_that_fails_costs_neither_the_lease_nor_the_others_their_news(
    h: Hall, caplog: pytest.LogCaptureFixture
) -> None:
    lease = await h.lease(await h.roster())
    heard: list[bool] = []

    def broken() -> None:
        raise RuntimeError("a bug")

    lease.on_change(broken)
    lease.on_change(lambda: heard.append(lease.leading))
    await eventually(lambda: heard == [True])
    await asyncio.sleep(2 * PACE.lapse)

    assert lease.leading
    assert failures(caplog) == ["lease/listener"]


async def test_one_that_cannot_renew_for_a_fault_of_its_own_hands_over_and_leads_again(
    h: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await h.lease(await h.roster())
    await eventually(lambda: first.leading)
    other = await h.lease(await h.roster())
    faulty = Faulty(monkeypatch, first._store, "renew", times=1000)

    await eventually(lambda: other.leading)
    assert not first.leading
    faulty.times = faulty.failed
    await other.aclose()
    await eventually(lambda: first.leading)


async def test_that_one_with_a_fault_of_its_own_leads_no_more_is_told_at_once(
    h: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_pauses(monkeypatch)
    lease = await h.lease(await h.roster())
    told: list[bool] = []
    lease.on_change(lambda: told.append(lease.leading))
    await eventually(lambda: told == [True])
    Faulty(monkeypatch, lease._store, "renew", times=1000)

    await eventually(lambda: told == [True, False], within=PACE.lapse + PACE.hold)
