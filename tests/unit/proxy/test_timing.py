"""Where the time of a request went."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from activator.proxy.timing import overhead, timing

if TYPE_CHECKING:
    from activator.proxy.holding import Holding
    from activator.proxy.retrying import Failures


class Waited:
    """As much of a holding as is read here."""

    def __init__(self, waited: float, woken_after: float = 0.0) -> None:
        self.waited = waited
        self.woken_after = woken_after


class Failed:
    seconds = 2.0


def held(waited: float, woken_after: float = 0.0) -> Holding:
    return cast("Holding", Waited(waited, woken_after))


def test_overhead_is_what_neither_the_line_nor_a_failing_replica_took() -> None:
    failures = cast("Failures", Failed())

    assert overhead(since=10.0, until=10.5, holding=None, failures=None) == 0.5
    assert overhead(since=10.0, until=15.0, holding=held(4.0), failures=None) == 1.0
    assert overhead(since=10.0, until=17.0, holding=held(4.0), failures=failures) == 1.0
    assert overhead(since=10.0, until=10.0, holding=held(4.0), failures=None) == 0.0


def test_the_line_is_told_apart_from_the_start() -> None:
    assert timing(None, upstream=0.0125) == b"queue;dur=0, activate;dur=0, upstream;dur=12.5"
    assert (
        timing(held(3.0, woken_after=2.0), upstream=0.5)
        == b"queue;dur=1000.0, activate;dur=2000.0, upstream;dur=500.0"
    )
