"""Replicas that somebody else runs: reported as they were configured, never scaled."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from activator.drivers.base import DriverError, Phase, Sighting, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.endpoint import StaticBackend


class StaticDriver:
    """Implements `drivers.base.Driver`: every address is a replica that has always been there."""

    def __init__(
        self, name: str, backend: StaticBackend, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._addresses = backend.addresses
        self._clock = clock

    async def run(self, report: Callable[[Snapshot], None]) -> None:
        now = self._clock()
        replicas = tuple(
            Sighting(
                id=f"{self._name}-{number}",
                phase=Phase.STARTED,
                since=now,
                requested_at=now,
                host=host,
                port=port,
                detail="static",
            )
            for number, (host, port) in enumerate(self._addresses, start=1)
        )
        report(Snapshot(wanted=len(replicas), replicas=replicas))
        await asyncio.Event().wait()

    async def scale(
        self,
        replicas: int,
        *,
        victims: tuple[str, ...] = (),
        before: int | None = None,
        fence: str = "",
    ) -> None:
        """Raises DriverError, always."""
        raise DriverError(
            f"endpoint {self._name} has static replicas: they are not the activator's to scale"
        )

    async def bump_fence(self) -> None:
        """No order is ever taken."""

    async def discard(self) -> None:
        """Nothing was made."""

    def last_lines(self, replica_id: str) -> tuple[str, ...]:
        """None are known: whoever runs them reads them."""
        return ()
