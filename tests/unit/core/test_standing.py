"""Which of two orders is the later one."""

from __future__ import annotations

from activator.core.standing import Standing


def test_an_order_is_later_than_all_that_is_known_of() -> None:
    kept = Standing(5, paused=True)

    assert kept.follow(paused=False, known=0, clock=3) == Standing(6, paused=False)
    assert kept.follow(paused=False, known=8, clock=3) == Standing(9, paused=False)
    assert kept.follow(paused=False, known=0, clock=50) == Standing(50, paused=False)


def test_of_two_the_later_one_holds_and_of_none_the_only_one() -> None:
    earlier, later = Standing(5, paused=True), Standing(6, paused=False)

    assert earlier.meet(later) == later.meet(earlier) == later
    assert Standing().meet(earlier) == earlier
    assert not Standing().paused
