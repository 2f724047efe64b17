"""Asks each replica that has become ready which models it has, and keeps what it said.

What was said stays when the replica has gone: it is what the next one will have. What follows from
it is `core.catalogue`'s.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Protocol

from activator.aiokit.tasks import Tasks
from activator.core.catalogue import cards_of
from activator.core.endpoint import Dialect

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.upstream.registry import LiveEndpoint

_log = logging.getLogger("activator.control")


class Asker(Protocol):
    async def fetch(self, replica: Replica, path: str) -> bytes | None:
        """What it answers to GET, bounded; None: it does not, or says no."""


class Catalogue:
    """Of all endpoints."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._tasks = Tasks("catalogue")

    def follow(self, live: LiveEndpoint) -> None:
        """Ask its replicas from now on."""
        live.arrived = lambda replica: self._arrived(live, replica)

    async def aclose(self) -> None:
        await self._tasks.aclose()

    def _arrived(self, live: LiveEndpoint, replica: Replica) -> None:
        if live.endpoint.dialect is Dialect.OPENAI:
            self._tasks.spawn(self._ask(live, replica), name=f"models of {replica.id}")

    async def _ask(self, live: LiveEndpoint, replica: Replica) -> None:
        said = await self._asker.fetch(replica, "/v1/models")
        try:
            cards = cards_of(json.loads(said)) if said else ()
        except ValueError:
            cards = ()
        if cards:
            live.models = cards
        else:
            _log.debug(
                "replica tells no models",
                extra={"action": "no_models", "endpoint": live.endpoint.name},
            )
