"""When to try again and when to give up."""

from __future__ import annotations

from activator.core.effects import FailedStart
from activator.core.failed_starts import ATTEMPTS, FORGET_AFTER, TELL_WITHIN, FailedStarts

CAUSE = FailedStart("exited")


def failing(times: int, *, at: float = 0.0) -> FailedStarts:
    starts = FailedStarts()
    for _ in range(times):
        starts.attempted()
        starts.failed(CAUSE, survivors=(), now=at)
    return starts


def test_nothing_is_given_up_before_anything_failed() -> None:
    starts = FailedStarts()

    assert not starts.gives_up((), now=1e9)
    assert starts.gives_up_at == float("inf")


def test_attempts_follow_each_other_ever_more_slowly() -> None:
    assert [failing(times).retry_at for times in (1, 2, 3)] == [0.5, 1.0, 2.0]


def test_it_gives_up_after_the_last_attempt() -> None:
    assert not failing(ATTEMPTS - 1).gives_up((), now=0.0)
    assert failing(ATTEMPTS).gives_up((), now=0.0)


def test_it_gives_up_when_those_who_wait_must_be_told() -> None:
    starts = failing(1, at=10.0)

    assert starts.gives_up_at == 10.0 + TELL_WITHIN
    assert not starts.gives_up((), now=starts.gives_up_at - 0.01)
    assert starts.gives_up((), now=starts.gives_up_at)


def test_failures_between_two_orders_are_one_attempt() -> None:
    starts = FailedStarts()
    for at in (0.0, 0.1, 0.2, 0.3):
        starts.failed(CAUSE, survivors=(), now=at)

    assert starts.retry_at == 0.5
    assert not starts.gives_up((), now=0.4)


def test_a_survivor_of_the_first_failure_is_waited_for() -> None:
    starts = FailedStarts()
    starts.failed(CAUSE, survivors=("b",), now=0.0)

    assert not starts.gives_up(("b", "c"), now=100.0)
    assert starts.gives_up(("c",), now=100.0)


def test_each_opening_lasts_longer_up_to_a_minute() -> None:
    starts = FailedStarts()

    assert [starts.open(CAUSE, now=0.0) for _ in range(6)] == [5, 10, 20, 40, 60, 60]


def test_after_an_opening_one_failure_is_enough() -> None:
    starts = failing(3)
    starts.open(CAUSE, now=0.0)
    assert not starts.gives_up((), now=100.0)
    starts.attempted()

    starts.failed(CAUSE, survivors=(), now=5.0)

    assert starts.gives_up((), now=5.0)


def test_once_proven_three_attempts_are_allowed_again() -> None:
    starts = failing(3)
    starts.open(CAUSE, now=0.0)
    starts.proven()
    starts.attempted()

    starts.failed(CAUSE, survivors=(), now=50.0)

    assert not starts.gives_up((), now=50.0)
    assert starts.open(CAUSE, now=60.0) == 5.0


def test_failures_long_ago_are_forgotten() -> None:
    starts = failing(2)
    starts.attempted()

    starts.failed(CAUSE, survivors=(), now=FORGET_AFTER + 1.0)

    assert starts.retry_at == FORGET_AFTER + 1.5


def test_forgetting_closes_the_breaker() -> None:
    starts = failing(3)
    starts.open(CAUSE, now=0.0)

    starts.forget()

    assert starts.cause is None
    assert starts.open_until == starts.retry_at == float("-inf")
