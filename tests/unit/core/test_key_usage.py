"""What counts as use of a key, and how replica time is divided by it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.key_usage import (
    MOST_KEYS,
    NOBODY,
    OTHERS,
    KeyMeter,
    KeyUse,
    divide,
)
from activator.core.usage import Usage


def test_each_request_counts_for_itself_also_while_it_goes_on() -> None:
    meter = KeyMeter()
    meter.serving(1, now=0.0)
    meter.begin("a", now=1.0)
    meter.begin("a", now=2.0)
    meter.begin("b", now=2.0)
    assert meter.read(now=3.0)["a"] == KeyUse(requests=2, slot_seconds=3.0)

    meter.end("a", now=4.0)
    meter.end("a", now=5.0)
    meter.end("b", now=5.0)
    told = meter.read(now=5.0)
    assert told["a"] == KeyUse(requests=2, slot_seconds=6.0)
    assert told["b"] == KeyUse(requests=1, slot_seconds=3.0)


def test_whoever_used_it_last_keeps_all_that_is_ready_until_the_next_request() -> None:
    meter = KeyMeter()
    meter.serving(1, now=0.0)
    assert meter.read(now=10.0) == {}  # nobody has asked for it

    meter.begin("a", now=10.0)
    meter.begin("b", now=11.0)
    meter.end("b", now=12.0)
    meter.end("a", now=13.0)
    meter.serving(2, now=20.0)
    assert meter.read(now=21.0)["a"].kept_seconds == pytest.approx(7.0 + 2.0)

    meter.begin("b", now=25.0)
    meter.end("b", now=26.0)
    meter.serving(0, now=30.0)
    meter.serving(1, now=40.0)  # somebody else has started it
    told = meter.read(now=50.0)
    assert told["a"].kept_seconds == pytest.approx(7.0 + 10.0)
    assert told["b"].kept_seconds == pytest.approx(8.0)


def test_what_is_used_elsewhere_is_not_kept_here() -> None:
    busy = [False]
    meter = KeyMeter(used_elsewhere=lambda: busy[0])
    meter.serving(1, now=0.0)
    meter.begin("a", now=0.0)
    meter.end("a", now=1.0)
    assert meter.read(now=2.0)["a"].kept_seconds == pytest.approx(1.0)
    busy[0] = True
    assert meter.read(now=9.0)["a"].kept_seconds == pytest.approx(1.0)


def test_whoever_it_was_started_for_and_left_keeps_it() -> None:
    meter = KeyMeter()
    meter.waited("a", 3.0, now=3.0)
    meter.serving(1, now=4.0)
    assert meter.read(now=10.0)["a"] == KeyUse(wait_seconds=3.0, kept_seconds=6.0)


def test_further_keys_are_counted_together() -> None:
    meter = KeyMeter()
    for number in range(MOST_KEYS + 5):
        meter.begin(f"k{number}", now=0.0)
        meter.end(f"k{number}", now=1.0)
    meter.begin("k1", now=1.0)
    meter.end("k1", now=2.0)
    told = meter.read(now=2.0)
    assert len(told) == MOST_KEYS + 1
    assert told[OTHERS].requests == 5
    assert told["k1"].requests == 2


DAY = Usage(ready_seconds=100.0, other_seconds=20.0, cost=12.0)


def test_work_is_divided_by_slots_idle_time_by_who_kept_it_and_starts_by_who_waited() -> None:
    shares = divide(
        DAY,
        {
            "works": KeyUse(1, slot_seconds=30.0),
            "too": KeyUse(1, slot_seconds=10.0, kept_seconds=60.0),
            "woke": KeyUse(0, wait_seconds=5.0),
        },
    )
    assert shares["works"].replica_seconds == pytest.approx(30.0)
    assert shares["too"].replica_seconds == pytest.approx(10.0 + 60.0)
    assert shares["woke"].replica_seconds == pytest.approx(20.0)
    assert shares["too"].cost == pytest.approx(7.0)


def test_where_nobody_waited_starts_are_theirs_who_used_it() -> None:
    shares = divide(DAY, {"a": KeyUse(1, slot_seconds=1.0), "b": KeyUse(1, slot_seconds=3.0)})
    assert shares["b"].replica_seconds == pytest.approx(90.0)


def test_what_no_key_has_caused_is_nobodys() -> None:
    assert divide(DAY, {})[NOBODY].cost == pytest.approx(12.0)
    assert divide(Usage(), {}) == {}


@st.composite
def _uses(draw: st.DrawFn) -> dict[str, KeyUse]:
    amount = st.floats(0.0, 1e5)
    one = st.builds(KeyUse, st.integers(0, 9), amount, amount, amount)
    return draw(st.dictionaries(st.sampled_from("abcdef"), one, max_size=5))


@given(ready=st.floats(0.0, 1e5), other=st.floats(0.0, 1e5), uses=_uses())
def test_the_shares_are_the_whole(ready: float, other: float, uses: dict[str, KeyUse]) -> None:
    usage = Usage(ready_seconds=ready, other_seconds=other, cost=(ready + other) * 0.01)
    shares = divide(usage, uses)
    assert sum(each.replica_seconds for each in shares.values()) == pytest.approx(ready + other)
    assert sum(each.cost for each in shares.values()) == pytest.approx(usage.cost)
    assert all(each.replica_seconds >= 0 for each in shares.values())
    assert {key: each.use for key, each in shares.items() if key} == uses
