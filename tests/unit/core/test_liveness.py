"""Who is alive: only a record that stands still while the store answers proves anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from activator.core.liveness import BEAT, SILENCE, Joined, Left, Liveness, News, Silent

if TYPE_CHECKING:
    from collections.abc import Mapping


class Watcher:
    """`me`, watching others whose records are numbers."""

    def __init__(self, *, beat: float = BEAT, silence: float = SILENCE) -> None:
        self.liveness = Liveness("me", beat=beat, silence=silence)
        self.now = 100.0

    def beat(
        self,
        others: Mapping[str, int],
        *,
        after: float = 1.0,
        took: float = 0.01,
        was_lost: bool = False,
    ) -> list[News]:
        """`after` seconds later; the answer takes `took`."""
        self.now += after
        asked, self.now = self.now, self.now + took
        records = {act: str(number).encode() for act, number in others.items()}
        records["me"] = str(self.now).encode()
        return self.liveness.beat(records, was_lost=was_lost, asked=asked, now=self.now)


@pytest.fixture
def w() -> Watcher:
    return Watcher()


def test_is_a_member_itself_before_anybody_has_answered(w: Watcher) -> None:
    assert w.liveness.members == {"me"}


def test_one_that_is_seen_for_the_first_time_is_alive(w: Watcher) -> None:
    assert w.beat({"a": 1}) == [Joined("a")]
    assert w.liveness.members == {"me", "a"}


def test_it_knows_how_many_there_are_once_all_have_had_time_to_count_it(w: Watcher) -> None:
    w.liveness.failed()
    assert not w.liveness.is_acquainted
    w.beat({"a": 1})
    w.beat({"a": 2})
    assert not w.liveness.is_acquainted  # another may have read a moment before our first beat

    w.beat({"a": 3})

    assert w.liveness.is_acquainted
    w.liveness.failed()
    assert w.liveness.is_acquainted


def test_one_that_stands_still_for_the_silence_is_silent_and_unknown(w: Watcher) -> None:
    w.beat({"a": 1})
    since = w.now
    news = [w.beat({"a": 1}) for _ in range(5)]

    assert news == [[], [], [], [], [Silent("a")]]
    assert w.liveness.members == {"me"}
    assert w.liveness.unknown == {"a"}
    assert w.liveness.silent_since("a") == since


def test_silence_is_told_once(w: Watcher) -> None:
    w.beat({"a": 1})
    for _ in range(5):
        w.beat({"a": 1})

    assert w.beat({"a": 1}, after=3600.0) == []
    assert w.beat({"a": 1}) == []


def test_one_that_moves_now_and_then_is_alive(w: Watcher) -> None:
    for number in range(10):
        w.beat({"a": number}, after=1.0)
        for _ in range(3):
            w.beat({"a": number})
    assert w.liveness.members == {"me", "a"}


def test_one_that_comes_back_has_joined_again(w: Watcher) -> None:
    w.beat({"a": 1})
    for _ in range(5):
        w.beat({"a": 1})

    assert w.beat({"a": 2}) == [Joined("a")]
    assert w.liveness.unknown == frozenset()
    assert w.liveness.silent_since("a") is None


def test_one_that_signs_off_has_left(w: Watcher) -> None:
    w.beat({"a": 1, "b": 1})

    assert w.beat({"b": 2}) == [Left("a")]
    assert w.liveness.members == {"me", "b"}


def test_one_that_is_seen_gone_has_left_whatever_its_record_says(w: Watcher) -> None:
    w.beat({"a": 1})

    assert w.liveness.seen_gone("a") == [Left("a")]
    assert w.liveness.seen_gone("a") == []
    assert w.liveness.members == {"me"}


def test_a_beat_that_failed_proves_nothing_about_the_time_before_it(w: Watcher) -> None:
    w.beat({"a": 1})
    for _ in range(4):
        w.beat({"a": 1})
    w.liveness.failed()

    assert w.beat({"a": 1}) == []
    for _ in range(4):
        assert w.beat({"a": 1}) == []
    assert w.beat({"a": 1}) == [Silent("a")]


def test_a_slow_answer_proves_nothing_either(w: Watcher) -> None:
    w.beat({"a": 1})
    assert w.beat({"a": 1}, took=30.0) == []

    assert w.liveness.members == {"me", "a"}


@pytest.mark.parametrize(("beat", "silence"), [(1.0, 5.0), (0.2, 1.0), (0.05, 0.3)])
@given(paused=st.floats(0.0, 10.0), before=st.floats(0.0, 1.0))
def test_a_store_that_was_paused_for_any_time_shows_nobody_silent(
    beat: float, silence: float, paused: float, before: float
) -> None:
    w = Watcher(beat=beat, silence=silence)
    w.beat({"a": 1}, after=beat)
    # its next beat came in the moment before the pause, and ours was not due yet
    w.beat({"a": 1}, after=beat, took=0.0)
    asked_into_it = before * min(beat, paused)

    assert w.beat({"a": 1}, after=asked_into_it, took=paused - asked_into_it) == []
    assert w.liveness.members == {"me", "a"}


def test_a_pause_of_ones_own_proves_nothing_about_others(w: Watcher) -> None:
    w.beat({"a": 1})

    assert w.beat({"a": 1}, after=60.0) == []


def test_a_silence_is_not_forgotten_when_the_store_is_away(w: Watcher) -> None:
    w.beat({"a": 1})
    since = w.now
    for _ in range(5):
        w.beat({"a": 1})
    w.liveness.failed()
    w.beat({"a": 1}, after=100.0)

    assert w.liveness.silent_since("a") == since


def test_a_store_that_has_lost_everything_does_not_mean_that_everybody_left(w: Watcher) -> None:
    w.beat({"a": 1, "b": 1})

    assert w.beat({}, was_lost=True) == []
    assert w.liveness.members == {"me", "a", "b"}
    assert w.beat({"a": 2}) == []
    assert [w.beat({"a": number}) for number in range(3, 7)] == [[], [], [], [Silent("b")]]
    assert w.liveness.unknown == {"b"}
    assert w.beat({"a": 7, "b": 2}) == [Joined("b")]
    assert w.beat({"a": 8}) == [Left("b")]


@settings(max_examples=300, deadline=None)
@given(
    beats=st.lists(
        st.tuples(
            st.sampled_from(["answered", "answered", "answered", "failed", "slow", "paused"]),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_nobody_is_silent_but_after_a_whole_silence_that_was_watched_without_a_gap(
    beats: list[tuple[str, bool]],
) -> None:
    w, number, watched_since = Watcher(), 0, None
    for how, moves in beats:
        number += moves
        if how == "failed":
            w.now += 1.0
            w.liveness.failed()
            watched_since = None
            continue
        took = 1.5 if how == "slow" else 0.01
        news = w.beat({"a": number}, after=30.0 if how == "paused" else 1.0, took=took)
        if how != "answered" or moves or watched_since is None:
            watched_since = w.now
        if Silent("a") in news:
            assert w.now - watched_since >= SILENCE
