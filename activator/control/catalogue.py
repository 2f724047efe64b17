"""Asks each replica that has become ready which models it has, and keeps what it said.

What was said stays when the replica has gone: it is what the next one will have. So it is noted in
the store, and read back by an activator that starts later. What follows from it is
`core.catalogue`'s.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Protocol

from activator.aiokit.tasks import Tasks
from activator.control.keeper import Keeper
from activator.core.catalogue import cards_of
from activator.core.endpoint import Dialect
from activator.errors import NOT_JSON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from activator.coordination.base import ModelList
    from activator.core.catalogue import ModelCard
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
        self._keeper: Keeper[LiveEndpoint] | None = None
        self._noted: dict[str, tuple[ModelCard, ...]] = {}

    def start(
        self,
        notes: ModelList,
        *,
        lives: Callable[[], Iterable[LiveEndpoint]],
        leading: Callable[[], bool],
    ) -> None:
        """Every activator asks for itself, so one of them notes it: the leader."""
        self._notes = notes
        self._leading = leading
        self._keeper = Keeper(
            "models",
            current=lambda: {
                live.endpoint.name: live
                for live in lives()
                if live.endpoint.dialect is Dialect.OPENAI
            },
            recall=self._recall,
            has_news=lambda live: bool(live.models),
            note=self._note,
        )
        self._keeper.start()

    def follow(self, live: LiveEndpoint) -> None:
        """Ask its replicas from now on."""
        live.arrived = lambda replica: self._arrived(live, replica)

    async def aclose(self) -> None:
        """What was told in the last moments is noted still."""
        await self._tasks.aclose()
        if self._keeper is not None:
            await self._keeper.aclose()

    # --- the replicas

    def _arrived(self, live: LiveEndpoint, replica: Replica) -> None:
        if live.endpoint.dialect is Dialect.OPENAI:
            self._tasks.spawn(self._ask(live, replica), name=f"models of {replica.id}")

    async def _ask(self, live: LiveEndpoint, replica: Replica) -> None:
        said = await self._asker.fetch(replica, "/v1/models")
        try:
            cards = cards_of(json.loads(said)) if said else ()
        except NOT_JSON:
            cards = ()
        if cards:
            live.models = cards
            self._noted.pop(live.endpoint.name, None)  # what is noted again is kept for longer
        else:
            _log.debug(
                "replica tells no models",
                extra={"action": "no_models", "endpoint": live.endpoint.name},
            )

    # --- the notes

    async def _recall(self, new: Mapping[str, LiveEndpoint]) -> None:
        noted = await self._notes.last(new.keys())
        for name, live in new.items():
            if noted[name] and not live.models:
                live.models = self._noted[name] = noted[name]

    async def _note(self, name: str, live: LiveEndpoint) -> None:
        told = live.models
        if told and self._noted.get(name) != told and self._leading():
            await self._notes.note(name, told)
            self._noted[name] = told
