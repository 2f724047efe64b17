"""Failed starts as clients are told of them."""

from __future__ import annotations

from activator.core.effects import FailedStart
from activator.errors import NoCapacity, StartFailed
from activator.upstream.refusals import failed_start


def test_a_failed_start_is_told_with_its_cause_and_when_to_try_again() -> None:
    error = failed_start(FailedStart("exits with 1", last_lines=("boom",)), retry_after=7.0)

    assert isinstance(error, StartFailed)
    assert "exits with 1" in error.detail
    assert "boom" in error.detail
    assert error.retry_after == 7.0


def test_a_lack_of_capacity_is_an_error_of_its_own() -> None:
    error = failed_start(FailedStart("no node has a GPU", no_capacity=True), retry_after=7.0)

    assert isinstance(error, NoCapacity)
    assert "no node has a GPU" in error.detail
