"""When waiting is hopeless, and what is said when it is over."""

from __future__ import annotations

import pytest

from activator.core.effects import FailedStart
from activator.errors import DeadlineUnmeetable, NoCapacity, Paused, QueueTimeout, StartFailed
from activator.proxy.waiting import refuse_hopeless, why_over
from tests.unit.upstream.support import ONE, live_endpoint


def test_a_ready_endpoint_is_always_worth_waiting_for() -> None:
    live = live_endpoint()
    live.refusal = lambda: (FailedStart("exits with 1"), 5.0)
    live.eta = lambda: 100.0
    live.offer([(ONE, False)])

    refuse_hopeless(live, within=1.0)


def test_an_open_breaker_is_said_with_its_cause() -> None:
    live = live_endpoint()
    live.refusal = lambda: (FailedStart("exits with 1"), 5.0)

    with pytest.raises(StartFailed, match="exits with 1") as refused:
        refuse_hopeless(live, within=None)
    assert refused.value.retry_after == 5.0


def test_a_cluster_that_is_full_is_said_to_be() -> None:
    live = live_endpoint()
    live.refusal = lambda: (FailedStart("0/4 nodes have a GPU", no_capacity=True), 5.0)

    with pytest.raises(NoCapacity, match="0/4 nodes"):
        refuse_hopeless(live, within=None)


@pytest.mark.parametrize(
    ("eta", "within", "hopeless"),
    [(30.0, 20.0, True), (30.0, 30.0, False), (30.0, None, False), (None, 0.1, False)],
)
def test_a_deadline_before_the_expected_start_is_hopeless(
    eta: float | None, within: float | None, hopeless: bool
) -> None:
    live = live_endpoint()
    live.eta = lambda: eta

    if hopeless:
        with pytest.raises(DeadlineUnmeetable) as refused:
            refuse_hopeless(live, within=within)
        assert refused.value.retry_after == eta
    else:
        refuse_hopeless(live, within=within)


def test_over_means_the_queues_timeout_unless_something_else_is_nearer() -> None:
    live = live_endpoint()
    live.waiting_for = lambda: "the start of a replica"

    late = why_over(live, waited=20.0, within=None)
    passed = why_over(live, waited=20.0, within=20.0)
    not_passed = why_over(live, waited=20.0, within=30.0)

    assert isinstance(late, QueueTimeout)
    assert "the start of a replica" in late.detail
    assert isinstance(passed, DeadlineUnmeetable)
    assert isinstance(not_passed, QueueTimeout)


def test_over_at_a_paused_endpoint_means_that_it_is_paused() -> None:
    live = live_endpoint()
    live.gate.pause()

    assert isinstance(why_over(live, waited=20.0, within=None), Paused)


def test_what_is_over_may_be_tried_again_when_a_replica_is_expected() -> None:
    live = live_endpoint()
    assert why_over(live, waited=1.0, within=None).retry_after == 5.0
    live.eta = lambda: 42.0
    assert why_over(live, waited=1.0, within=None).retry_after == 42.0
