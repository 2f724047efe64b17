"""Which failures may be followed by another attempt, and at which replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.core.dispatch import Ticket, TicketState
from activator.core.endpoint import Replica
from activator.proxy.retrying import ATTEMPTS, Failures
from activator.upstream.forward import Ending, Failure
from activator.upstream.registry import RetryBudget
from tests.unit.upstream.support import ONE, TWO, Later, live_endpoint

if TYPE_CHECKING:
    from activator.upstream.registry import LiveEndpoint

REFUSED = Failure(Ending.UNREACHABLE, "refused", unreachable=True)
UNANSWERED = Failure(Ending.UNANSWERED, "no answer")
UNSENT = Failure(Ending.UNSENT, "closed while the request was sent")
ANEW = Replica("m-3", ONE.host, ONE.port)
"""Another id at the address of the first."""


class Request:
    """In flight at one replica after another, as `Exchange` has it."""

    def __init__(self, *offered: Replica) -> None:
        self.later = Later()
        self.live: LiveEndpoint = live_endpoint(later=self.later, concurrency=1)
        self.told: list[tuple[str, str]] = []
        self.live.unreachable = lambda *said: self.told.append(said)
        self.live.offer([(each, False) for each in offered])
        self.ticket = Ticket()
        self.failures = Failures(self.live, self.ticket)

    def dispatched(self) -> Replica | None:
        """To whom; None: nobody has a slot for it."""

        def granted(_ticket: Ticket, _replica: Replica) -> None:
            raise AssertionError("one that is free is granted at once")

        return self.live.gate.acquire(self.ticket, granted)

    def may_repeat(
        self, ending: Ending, method: bytes = b"GET", *, repeatable: bool = True
    ) -> bool:
        return self.failures.allow_another(ending, method=method, repeatable=repeatable)


@pytest.mark.parametrize(
    ("ending", "of_get", "of_post"),
    [
        (Ending.UNREACHABLE, True, True),
        (Ending.UNSENT, True, True),
        (Ending.UNANSWERED, True, False),
        (Ending.INVALID, False, False),
        (Ending.FIRST_BYTE, False, False),
    ],
)
def test_what_the_model_may_have_worked_on_is_repeated_only_if_that_does_no_harm(
    ending: Ending, of_get: bool, of_post: bool
) -> None:
    assert Request().may_repeat(ending, b"GET") == of_get
    assert Request().may_repeat(ending, b"POST") == of_post
    assert Request().may_repeat(ending, b"PROPFIND") == of_post, "of which nothing is known"


def test_a_body_that_is_not_there_any_more_is_not_sent_again() -> None:
    assert not Request().may_repeat(Ending.UNREACHABLE, repeatable=False)


def test_one_request_meets_no_more_than_so_many_replicas() -> None:
    r = Request()

    allowed = [r.may_repeat(Ending.UNREACHABLE) for _ in range(ATTEMPTS)]

    assert allowed == [True] * (ATTEMPTS - 1) + [False]


def test_only_what_may_be_worked_on_twice_is_counted_against_the_budget() -> None:
    r = Request()
    for ending in (Ending.UNREACHABLE, Ending.UNSENT, Ending.INVALID):
        Failures(r.live, r.ticket).allow_another(ending, method=b"GET", repeatable=True)
    Failures(r.live, r.ticket).allow_another(Ending.UNANSWERED, method=b"POST", repeatable=True)

    def one_more() -> bool:
        failures = Failures(r.live, r.ticket)
        return failures.allow_another(Ending.UNANSWERED, method=b"GET", repeatable=True)

    most = int(RetryBudget.MOST)
    assert [one_more() for _ in range(most + 1)] == [True] * most + [False]


def test_it_goes_back_in_line_for_any_replica_but_the_one_that_failed_it() -> None:
    r = Request(ONE, TWO)
    first = r.dispatched()
    assert first is not None

    r.failures.leave(first, UNSENT, seconds=0.5)

    assert r.live.gate.loads == {}, "the slot is given back"
    assert r.dispatched() == (TWO if first == ONE else ONE)
    assert r.failures.seconds == 0.5
    assert r.live.metrics.retries == {"unsent": 1}


def test_the_time_at_all_of_them_is_added_up() -> None:
    r = Request(ONE, TWO)
    for _ in range(2):
        r.failures.leave(r.dispatched(), UNSENT, seconds=0.5)

    assert r.failures.seconds == 1.0
    assert set(r.ticket.exclude) == {ONE.id, TWO.id}


def test_a_replica_that_had_gone_before_is_not_excluded_by_name() -> None:
    r = Request(ONE)
    assert r.dispatched() == ONE

    r.failures.leave(None, REFUSED, seconds=0.1)

    assert r.ticket.exclude == ()
    assert r.ticket.state == TicketState.DONE
    assert r.dispatched() == ONE


def test_the_last_one_that_could_take_it_is_probed_before_anything_more_is_sent_there() -> None:
    r = Request(ONE, TWO)
    first, other = r.dispatched(), TWO
    if first == TWO:
        other = ONE
    r.failures.leave(first, UNANSWERED, seconds=0.1)
    assert r.told == [], "the other one is left"

    assert r.dispatched() == other
    r.failures.leave(other, UNANSWERED, seconds=0.1)

    assert r.told == [(other.id, UNANSWERED.detail)]


def test_what_refused_the_connection_is_reported_by_whoever_saw_it() -> None:
    r = Request(ONE)

    r.failures.leave(r.dispatched(), REFUSED, seconds=0.1)

    assert r.told == [], "Exchange does, whether or not there is another attempt"


def test_a_server_that_left_it_unanswered_is_known_again_under_another_name() -> None:
    r = Request(ONE, TWO)
    r.live.offer([(ONE, False)])
    r.failures.leave(r.dispatched(), UNANSWERED, seconds=0.1)
    assert r.failures.has_met(ANEW)
    assert not r.failures.has_met(TWO)
    r.live.offer([(ANEW, False), (TWO, False)])

    assert r.failures.pass_over(ANEW), "there is another"

    assert r.dispatched() == TWO
    assert not r.failures.pass_over(TWO), "there is none"
    assert r.live.gate.loads == {}


@pytest.mark.parametrize("failure", [REFUSED, UNSENT])
def test_a_server_that_has_not_seen_it_may_be_met_again(failure: Failure) -> None:
    r = Request(ONE)

    r.failures.leave(r.dispatched(), failure, seconds=0.1)

    assert not r.failures.has_met(ANEW)
