from __future__ import annotations

from dataclasses import replace

from activator.drivers.base import Phase, Sighting
from activator.drivers.published import Published, decode, encode

REQUESTED = Sighting(
    id="m-1", phase=Phase.REQUESTED, since=10.0, requested_at=10.0, host="", port=0, detail=""
)


def test_what_one_activator_tells_another_reads() -> None:
    told = Published((REQUESTED,), (), {"m-1": ("loading",)})

    read = decode(encode(told, now=12.0), told_at=112.0)

    (seen,) = read.replicas
    assert (seen.since, seen.requested_at) == (110.0, 110.0)
    assert read.lines == {"m-1": ("loading",)}


def test_nothing_happens_to_a_replica_before_it_was_asked_for() -> None:
    first = decode(encode(Published((REQUESTED,), (), {}), now=10.0), told_at=100.003)
    started = replace(REQUESTED, phase=Phase.STARTED, since=10.001, host="127.0.0.1", port=1)

    # this message was on its way for less long than the one before
    now = decode(encode(Published((started,), (), {}), now=10.001), told_at=100.001, before=first)

    (seen,) = now.replicas
    assert seen.requested_at == 100.003
    assert seen.since == 100.003
