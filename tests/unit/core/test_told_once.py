"""What several activators see is told once; what one of them does is its own."""

from __future__ import annotations

from activator.core.told_once import TOGETHER, ToldOnce


class Ears:
    def __init__(self) -> None:
        self._told = ToldOnce()

    def news(
        self, author: str, action: str, at: float, *, replica: str = "", of: str = "m"
    ) -> bool:
        return not self._told.is_repeat(of, action, replica=replica, author=author, at=at)


def test_what_another_has_told_is_a_repeat() -> None:
    ears = Ears()

    assert ears.news("one", "activated", 1.0)
    assert not ears.news("two", "activated", 1.1)
    assert not ears.news("three", "activated", 0.9)


def test_what_one_orders_is_told_by_each_that_does() -> None:
    ears = Ears()

    assert ears.news("one", "scaling_up", 1.0)
    assert ears.news("two", "scaling_up", 1.0)


def test_another_endpoint_or_replica_is_another_matter() -> None:
    ears = Ears()

    assert ears.news("one", "replica_ready", 1.0, replica="r1")
    assert ears.news("two", "replica_ready", 1.0, replica="r2")
    assert ears.news("two", "replica_ready", 1.0, replica="r1", of="n")
    assert not ears.news("two", "replica_ready", 1.0, replica="r1")


def test_who_tells_it_again_tells_of_another_time_and_each_time_is_told_once() -> None:
    ears = Ears()

    assert ears.news("one", "start_failed", 1.0)
    assert ears.news("one", "start_failed", 3.0)
    assert not ears.news("two", "start_failed", 1.2)
    assert not ears.news("two", "start_failed", 3.2)
    assert ears.news("two", "start_failed", 5.0)
    assert not ears.news("one", "start_failed", 5.2)


def test_what_is_told_much_later_is_of_another_time() -> None:
    ears = Ears()

    assert ears.news("one", "activated", 1.0)
    assert ears.news("two", "activated", 2.0 + TOGETHER)
    assert not ears.news("one", "activated", 2.5 + TOGETHER)


def test_what_is_long_past_is_forgotten() -> None:
    ears = Ears()
    for number in range(100):
        assert ears.news("one", "replica_ready", float(number), replica=f"r{number}")

    assert ears.news("one", "activated", 1000.0)
    assert len(ears._told._occasions) == 1
