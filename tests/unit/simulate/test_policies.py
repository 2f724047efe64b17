from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from activator.core.endpoint import ScalePolicy
from activator.simulate.policies import Policy, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


@pytest.mark.parametrize(
    ("moment", "on"),
    [
        ("2026-11-26T07:59:59", False),  # a Thursday
        ("2026-11-26T08:00:00", True),
        ("2026-11-26T18:00:00", False),
        ("2026-11-28T12:00:00", False),
    ],
)
def test_a_schedule_holds_between_its_hours_on_its_days(moment: str, on: bool) -> None:
    assert parse_schedule("mon-fri 8:00-18:00", zone=BERLIN).is_on(at(moment)) is on


def test_a_schedule_may_pass_midnight() -> None:
    schedule = parse_schedule("fri 22:00-06:00", zone=BERLIN)

    assert schedule.is_on(at("2026-11-28T05:59:00"))
    assert not schedule.is_on(at("2026-11-27T05:59:00"))


def test_the_next_change_follows_the_clocks_of_its_zone() -> None:
    """On 2026-10-25 the clocks of Berlin go back at 3:00."""
    schedule = parse_schedule("8:00-18:00", zone=BERLIN)

    assert schedule.next_change(at("2026-10-24T18:00:00")) == at("2026-10-25T08:00:00")
    assert at("2026-10-25T08:00:00") - at("2026-10-24T08:00:00") == 25 * 3600


def test_days_wrap_around_the_week() -> None:
    assert parse_schedule("sat-mon 0:00-1:00").days == {5, 6, 0}


@pytest.mark.parametrize("text", ["", "8-18", "xyz 8:00-9:00", "8:00-25:00", "mon 8:00"])
def test_what_is_no_schedule_is_told_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="is no schedule; one looks like"):
        parse_schedule(text)


def test_a_policy_keeps_one_up_in_the_hours_of_its_schedule() -> None:
    schedule = parse_schedule("8:00-18:00", zone=BERLIN)
    policy = Policy("x", ScalePolicy(max=3), schedule)

    assert policy.scale_at(at("2026-11-26T09:00:00")).min == 1
    assert policy.scale_at(at("2026-11-26T07:00:00")).min == 0
    assert Policy("x", ScalePolicy()).next_change(0.0) == float("inf")
