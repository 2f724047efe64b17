from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from activator.core.history import CELLS, SPAN, History
from activator.core.lifecycle import State

START = 1000 * SPAN


def asleep() -> History:
    return History(State.INACTIVE, at=START)


def test_what_was_before_the_activator_is_not_known() -> None:
    day = asleep().day(at=START + 1)

    assert day.until == START + SPAN
    assert len(day.states) == len(day.requests) == CELLS
    assert day.states[-2:] == ("", "inactive")


def test_a_state_goes_on_until_another_begins() -> None:
    history = asleep()

    history.enter(State.ACTIVE, at=START + 2.5 * SPAN)

    assert history.day(at=START + 4 * SPAN).states[-5:] == (
        "inactive",
        "inactive",
        "active",
        "active",
        "active",
    )


def test_a_cell_shows_a_start_however_short_and_a_failure_before_all() -> None:
    history = asleep()

    history.enter(State.ACTIVATING, at=START + 10)
    history.enter(State.ACTIVE, at=START + 11)
    history.enter(State.DRAINING, at=START + 500)
    history.enter(State.INACTIVE, at=START + 501)
    history.enter(State.ACTIVATING, at=START + SPAN)
    history.enter(State.FAILED, at=START + SPAN + 1)

    assert history.day(at=START + SPAN + 2).states[-2:] == ("activating", "failed")


def test_requests_count_in_the_cell_in_which_they_are_seen_to_have_ended() -> None:
    history = asleep()

    history.count(3, at=START + 10)
    history.count(3, at=START + 20)
    history.count(10, at=START + SPAN)

    assert history.day(at=START + SPAN).requests[-2:] == (3, 7)


def test_a_day_later_it_is_forgotten() -> None:
    history = asleep()
    history.count(5, at=START)
    history.enter(State.FAILED, at=START)
    history.enter(State.INACTIVE, at=START + 1)

    day = history.day(at=START + CELLS * SPAN)

    assert set(day.states) == {"inactive"}
    assert set(day.requests) == {0}


@given(
    steps=st.lists(
        st.tuples(st.floats(-1e3, 2e5), st.sampled_from(list(State)), st.integers(0, 5)),
        max_size=60,
    )
)
def test_memory_is_bounded_and_no_request_is_counted_twice(
    steps: list[tuple[float, State, int]],
) -> None:
    history, at, ended = asleep(), START, 0
    for passed, state, more in steps:
        at, ended = at + passed, ended + more
        history.enter(state, at=at)
        history.count(ended, at=at)

    assert len(history._seen) <= CELLS
    assert sum(history.day(at=at).requests) <= ended
