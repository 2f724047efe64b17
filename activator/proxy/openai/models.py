"""`GET /v1/models` and `/v1/models/ID`: answered from what is known, without waking anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from activator.aiokit.slices import Slices
from activator.core.catalogue import ModelCard, listed
from activator.core.endpoint import Dialect
from activator.errors import NoRoute
from activator.proxy.talk import Talk

if TYPE_CHECKING:
    from activator.proxy.admission import ModelsAsked
    from activator.proxy.listener import Proxy
    from activator.upstream.registry import LiveEndpoint
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

_LIST: Final = b'{"object": "list", "data": [%b]}'
OWNER = "activator"
"""Of a model whose replicas have not said whose it is."""


class ModelsPage(Talk):
    """One request for all of them, or for one. Many thousands are told in slices."""

    def __init__(
        self,
        proxy: Proxy,
        connection: ServerConnection,
        head: RequestHead,
        asked: ModelsAsked,
        *,
        request_id: bytes,
    ) -> None:
        super().__init__(proxy, connection, head, request_id=request_id)
        self.dialect = Dialect.OPENAI
        self._asked = asked

    async def work(self) -> None:
        if self._asked.model is None:
            async with self.proxy.listing:
                rows = await self._rows()
            self.say_encoded(_LIST % b", ".join(rows.values()))
        else:
            self.say(self._one(self._asked.model))

    def ended(self, *, code: int, reason: str) -> None:
        """It belongs to no endpoint's requests."""
        self.proxy.metrics.unrouted.request(code=code, reason=reason, duration=0.0, overhead=0.0)

    async def _rows(self) -> dict[str, bytes]:
        """By id, encoded. Of several endpoints that have one, that tells of it which would be asked
        for it, else the first. What nobody would be asked for whom this key may use is not told."""
        slices, rows, asked = Slices(), dict[str, bytes](), self._asked
        for endpoint in asked.endpoints:
            await slices.turn()
            live = self.proxy.registry.get(endpoint.name)
            if live is None:  # it has gone meanwhile
                continue
            for card in listed(endpoint, live.models):
                whose = asked.asked_for(card.id)
                if whose is endpoint or (whose is not None and card.id not in rows):
                    rows[card.id] = json.dumps(_row(card, live)).encode()
        return rows

    def _one(self, model: str) -> dict[str, Any]:
        """Of the endpoint that would be asked for it, whether that lists it or takes it by a
        pattern. Raises NoRoute."""
        endpoint = self._asked.asked_for(model)
        live = None if endpoint is None else self.proxy.registry.get(endpoint.name)
        if endpoint is None or live is None:
            raise NoRoute(f"The model {model[:200]!r} does not exist, or this key may not use it")
        cards = (card for card in listed(endpoint, live.models) if card.id == model)
        return _row(next(cards, ModelCard(model)), live)


def _row(card: ModelCard, live: LiveEndpoint) -> dict[str, Any]:
    row = {
        "id": card.id,
        "object": "model",
        "created": card.created or 0,
        "owned_by": card.owned_by or OWNER,
        "state": live.state(),
    }
    if card.context is not None:
        row["max_model_len"] = card.context
    if card.parent is not None:
        row["parent"] = card.parent
    return row
