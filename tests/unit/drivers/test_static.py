from __future__ import annotations

import pytest

from activator.core.endpoint import StaticBackend
from activator.drivers.base import DriverError, Phase
from activator.drivers.static import StaticDriver
from tests.driving import driving


async def test_configured_addresses_are_started_replicas() -> None:
    subject = StaticDriver("m", StaticBackend((("10.0.0.7", 8000), ("gpu", 1))), clock=lambda: 5.0)

    async with driving(subject) as driven:
        snapshot = await driven.until(lambda s: s.replicas)

    assert snapshot.wanted == 2
    assert [(r.id, r.host, r.port) for r in snapshot.replicas] == [
        ("m-1", "10.0.0.7", 8000),
        ("m-2", "gpu", 1),
    ]
    assert {r.phase for r in snapshot.replicas} == {Phase.STARTED}
    assert {r.since for r in snapshot.replicas} == {5.0}


async def test_scaling_is_refused_by_name() -> None:
    subject = StaticDriver("m", StaticBackend((("10.0.0.7", 8000),)))

    with pytest.raises(DriverError, match="endpoint m has static replicas"):
        await subject.scale(0)
