"""Until an order is carried out, look after look."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from activator.cli.outcome import Failed
from activator.cli.waiting import EVERY, TAKEN_UP, wait
from activator.core.status import ReplicaStatus
from tests.unit.admin.support import status

if TYPE_CHECKING:
    from collections.abc import Iterator

GOING = ReplicaStatus("r1", "pulled", "", 0, 3.0, detail="image is there")
READY = ReplicaStatus("r1", "ready", "127.0.0.1:4000", 0, 3.0)


def seen(state: str, *replicas: ReplicaStatus, **more: Any) -> dict[str, Any]:
    return asdict(status("llama", state=state, replicas=replicas, wanted=1, **more))


def waited(verb: str, *looks: dict[str, Any]) -> tuple[dict[str, Any], list[str], float]:
    """The last status, what was said meanwhile, and the seconds it took; the last look stays."""
    said: list[str] = []
    pauses: list[float] = []

    def each() -> Iterator[dict[str, Any]]:
        yield from looks
        while True:
            yield looks[-1]

    following = each()
    last = wait(
        verb,
        next(following),
        look=lambda: next(following),
        say=said.append,
        pause=pauses.append,
    )
    return last, said, sum(pauses)


def test_a_start_is_waited_for_until_a_replica_answers() -> None:
    last, said, took = waited(
        "activate", seen("activating", eta=12.0), seen("activating", GOING), seen("active", READY)
    )

    assert last["state"] == "active"
    assert said == [
        "llama: activating, about 12s more",
        "llama: activating, pulled, image is there",
    ]
    assert took == 2 * EVERY


def test_what_runs_already_is_not_waited_for() -> None:
    assert waited("activate", seen("active", READY))[2] == 0.0
    assert waited("deactivate", seen("inactive"))[2] == 0.0


def test_a_start_that_fails_has_failed_with_its_cause() -> None:
    with pytest.raises(Failed, match=r"exited with 3.*it was not started"):
        waited("activate", seen("activating"), seen("failed", failure="exited with 3"))


def test_an_order_that_did_not_last_has_failed() -> None:
    with pytest.raises(Failed, match="did not last"):
        waited("activate", seen("activating"), seen("draining"))
    with pytest.raises(Failed, match="did not last"):
        waited("deactivate", seen("draining", READY), seen("active", READY))


def test_an_order_that_nothing_shows_of_has_failed_in_the_end() -> None:
    with pytest.raises(Failed, match="nothing shows of the order after 30s"):
        waited("activate", seen("inactive"))
    late = [seen("inactive")] * int(TAKEN_UP / EVERY)
    assert waited("activate", *late, seen("active"))[0]["state"] == "active"


def test_stopping_is_waited_for_until_the_replicas_are_gone() -> None:
    stopping = ReplicaStatus("r1", "stopping", "", 0, 3.0)
    last, said, _ = waited(
        "deactivate",
        seen("draining", READY, in_flight=2),
        seen("inactive", stopping),
        seen("inactive"),
    )

    assert last["replicas"] == ()
    assert said == ["llama: draining, 2 in flight", "llama: inactive, stopping"]
