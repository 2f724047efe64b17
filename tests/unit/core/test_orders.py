"""What was ordered, held against what the world shows."""

from __future__ import annotations

from activator.core.lifecycle import Observation, SeenReplica
from activator.core.orders import ENDED_WITHIN, REFUSED, SPARED_AFTER, Change, Orders, Surprise


def look(
    orders: Orders,
    wanted: int,
    *,
    now: float,
    ended: bool = False,
    scaling: bool = False,
    error: str | None = None,
    out_of_touch: bool = False,
    replicas: tuple[str, ...] = (),
) -> Change | None:
    seen = Observation(
        demand=0,
        wanted=wanted,
        replicas=tuple(SeenReplica(each, ready=True) for each in replicas),
        scaling=scaling,
        scale_error=error,
        out_of_touch=out_of_touch,
    )
    return orders.look(seen, ended=ended, now=now)


def after_a_look(wanted: int) -> Orders:
    orders = Orders()
    assert look(orders, wanted, now=0.0) is None
    return orders


def test_the_first_look_takes_the_world_as_it_is() -> None:
    orders = after_a_look(3)

    assert orders.is_settled
    assert look(orders, 3, now=1.0) is None


def test_an_order_is_under_way_until_it_has_been_carried_out() -> None:
    orders = after_a_look(0)
    orders.place(1, wanted=0)

    assert look(orders, 0, now=1.1, scaling=True) is None
    assert not orders.may_place(now=1.2)
    assert look(orders, 1, now=1.3) is None
    assert orders.may_place(now=1.3)


def test_an_order_that_somebody_has_overtaken_is_over_all_the_same() -> None:
    orders = after_a_look(0)
    orders.place(1, wanted=0)

    look(orders, 1, now=1.1, scaling=True)
    look(orders, 0, now=1.2, scaling=True)

    assert look(orders, 0, now=1.3) == Change(Surprise.FOREIGN, expected=1, wanted=0)
    assert orders.may_place(now=1.3)


def test_replicas_that_end_on_the_way_down_are_nobodys_change() -> None:
    orders = after_a_look(3)
    orders.place(2, wanted=3, victims=("a",))

    assert look(orders, 1, now=0.1, ended=True) is None
    assert orders.is_settled


def test_an_order_for_what_is_wanted_already_shows_at_once() -> None:
    orders = after_a_look(1)
    orders.place(1, wanted=1)

    assert look(orders, 1, now=1.0) is None
    assert orders.is_settled


def test_a_refused_order_is_told_and_the_next_waits_ever_longer() -> None:
    orders = after_a_look(0)
    for attempt, at in ((1, 10.0), (2, 20.0), (3, 30.0)):
        orders.place(2, wanted=0)
        change = look(orders, 0, now=at, error="no route")

        assert change == Change(Surprise.REFUSED, expected=2, wanted=0)
        assert orders.wakes_at() == at + REFUSED.delay(attempt)
        assert not orders.may_place(now=at + REFUSED.delay(attempt) - 0.01)
        assert orders.may_place(now=at + REFUSED.delay(attempt))


def test_what_was_refused_out_of_touch_is_tried_again_as_soon_as_that_is_over() -> None:
    orders = after_a_look(0)
    now = 0.0
    for _ in range(8):
        orders.place(1, wanted=0)
        look(orders, 0, now=now, error="no connection", out_of_touch=True)
        assert not orders.may_place(now=now + 0.4)
        now = orders.wakes_at()

    look(orders, 0, now=now - 3.0, error="no connection")

    assert orders.may_place(now=now - 3.0)
    orders.place(1, wanted=0)
    look(orders, 0, now=now, error="no connection")
    assert orders.wakes_at() == now + REFUSED.first


def test_an_order_that_ends_after_that_waits_no_longer_than_the_first_did() -> None:
    orders = after_a_look(0)
    for _ in range(8):
        orders.place(1, wanted=0)
        look(orders, 0, now=10.0, error="no connection", out_of_touch=True)
    orders.place(1, wanted=0)
    look(orders, 0, now=20.0, scaling=True)

    look(orders, 0, now=21.0, error="no answer in time")

    assert orders.wakes_at() == 21.0 + REFUSED.first


def test_an_order_that_was_taken_resets_the_back_off() -> None:
    orders = after_a_look(0)
    orders.place(1, wanted=0)
    look(orders, 0, now=0.0, error="no route")
    orders.place(1, wanted=0)
    look(orders, 1, now=1.1)
    orders.place(2, wanted=1)

    look(orders, 1, now=2.0, error="no route")

    assert orders.may_place(now=2.5)


def test_an_error_of_an_earlier_order_is_told_once() -> None:
    orders = after_a_look(0)
    orders.place(1, wanted=0)
    look(orders, 0, now=0.0, error="no route")

    assert look(orders, 0, now=0.1, error="no route") is None


def test_an_order_that_failed_but_shows_was_taken() -> None:
    orders = after_a_look(0)
    orders.place(1, wanted=0)

    assert look(orders, 1, now=0.1, error="timeout") is None
    assert orders.may_place(now=0.1)


def test_a_count_that_changes_without_an_order_is_somebody_elses() -> None:
    orders = after_a_look(2)

    assert look(orders, 5, now=1.0) == Change(Surprise.FOREIGN, expected=2, wanted=5)
    assert look(orders, 5, now=1.1) is None, "told once, then it is what is expected"
    assert look(orders, 0, now=1.2) == Change(Surprise.FOREIGN, expected=5, wanted=0)


def test_a_count_that_falls_because_a_replica_ended_is_nobodys() -> None:
    orders = after_a_look(2)

    assert look(orders, 1, now=1.0, ended=True) is None
    later = 1.0 + ENDED_WITHIN + 0.1
    assert look(orders, 0, now=later) == Change(Surprise.FOREIGN, expected=1, wanted=0)


def test_a_replica_that_ends_before_it_was_seen_ends_its_order() -> None:
    orders = after_a_look(0)
    orders.place(1, wanted=0)

    assert look(orders, 0, now=0.1, ended=True) is None
    assert orders.may_place(now=0.1)


def test_another_count_than_the_ordered_one_is_somebody_elses() -> None:
    orders = after_a_look(1)
    orders.place(2, wanted=1)

    assert look(orders, 4, now=0.1) == Change(Surprise.FOREIGN, expected=2, wanted=4)


def test_victims_are_doomed_while_they_are_seen() -> None:
    orders = after_a_look(2)
    orders.place(1, wanted=2, victims=("b",))

    look(orders, 2, now=0.1, replicas=("a", "b"))
    assert orders.doomed == {"b"}
    look(orders, 1, now=0.2, replicas=("a", "b"))
    assert orders.doomed == {"b"}
    look(orders, 1, now=0.3, replicas=("a",))
    assert orders.doomed == frozenset()


def test_victims_of_a_refused_order_are_spared() -> None:
    orders = after_a_look(2)
    orders.place(1, wanted=2, victims=("b",))

    look(orders, 2, now=0.1, replicas=("a", "b"), error="forbidden")

    assert orders.doomed == frozenset()


def test_a_victim_that_was_spared_is_not_doomed_for_ever() -> None:
    orders = after_a_look(2)
    orders.place(1, wanted=2, victims=("b",))
    look(orders, 1, now=1.0, replicas=("a", "b"))
    assert orders.wakes_at() == float("inf"), "one of them still has to go"

    look(orders, 1, now=9.0, replicas=("b",))  # it was the other

    assert orders.doomed == {"b"}
    assert orders.wakes_at() == 9.0 + SPARED_AFTER
    look(orders, 1, now=9.0 + SPARED_AFTER, replicas=("b",))
    assert orders.doomed == frozenset()
    assert orders.wakes_at() == float("inf")


def test_a_victim_that_is_about_to_go_is_not_spared() -> None:
    orders = after_a_look(2)
    orders.place(1, wanted=2, victims=("b",))
    look(orders, 1, now=1.0, replicas=("b",))  # the other is being replaced

    look(orders, 1, now=2.0, replicas=("b", "c"))
    look(orders, 1, now=1.0 + SPARED_AFTER, replicas=("b", "c"))

    assert orders.doomed == {"b"}


def test_what_somebody_else_sent_away_is_doomed_too() -> None:
    orders = after_a_look(1)

    orders.doom(["a"])

    assert orders.doomed == {"a"}
