"""One endpoint's request at a replica of another, where it counts like one of that endpoint's own.

It takes what is free and neither waits nor wakes anybody.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from activator.coordination.base import ASKED

if TYPE_CHECKING:
    from activator.core.dispatch import Ticket
    from activator.core.endpoint import Replica
    from activator.upstream.registry import LiveEndpoint, LiveReplica


class Guest:
    """`leave` ends it, whatever has become of it."""

    def __init__(self, host: LiveEndpoint, ticket: Ticket, *, key: str = "") -> None:
        """`key`: the name of the API key that it came with."""
        self.host = host
        self._key = key
        self._ticket = ticket
        self._replica: LiveReplica | None = None
        self._is_counted = False

    async def enter(self) -> LiveReplica | None:
        """The replica that it has a slot at; None: there is no free one."""
        host = self.host
        if host.cold or host.gate.paused:
            return None
        host.gate.arrive()
        self._is_counted = True
        told: asyncio.Future[Replica | None] = asyncio.get_running_loop().create_future()

        def decided(_: Ticket, replica: Replica | None) -> None:
            if not told.done():
                told.set_result(replica)

        replica = host.gate.acquire_now(self._ticket, decided)
        granted = await told if replica is ASKED else replica
        self._replica = None if granted is None else host.replicas.get(granted.id)
        if self._key and self._replica is not None:
            host.keys.begin(self._key, now=host.kit.clock())
        return self._replica

    def answered(self) -> None:
        """Its answer has begun."""
        self.host.gate.answered(self._ticket)
        if self._replica is not None and self._replica.unproven:
            self._replica.unproven = False
            self.host.answered(self._replica.replica.id)

    def unreachable(self, detail: str) -> None:
        """Its replica refused or reset the connection."""
        if self._replica is not None:
            self.host.unreachable(self._replica.replica.id, detail)

    def leave(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self.host.gate.withdraw(self._ticket)
            self.host.gate.leave(served=self._replica is not None)
            if self._key and self._replica is not None:
                self.host.keys.end(self._key, now=self.host.kit.clock())
