"""`GET /v1/models` and `/v1/models/ID`: answered from what is known, without waking anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from activator.core.catalogue import ModelCard, listed
from activator.core.endpoint import Dialect
from activator.errors import NoRoute
from activator.proxy.replies import status_line

if TYPE_CHECKING:
    from activator.core.endpoint import Endpoint
    from activator.proxy.admission import ModelsAsked
    from activator.upstream.registry import LiveEndpoint, Registry
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

OWNER = "activator"
"""Of a model whose replicas have not said whose it is."""


def tell_models(
    connection: ServerConnection,
    head: RequestHead,
    asked: ModelsAsked,
    *,
    registry: Registry,
    request_id: bytes,
) -> None:
    """Answer. Raises NoRoute for a model that there is not."""
    rows: dict[str, dict[str, Any]] = {}
    for endpoint in asked.endpoints:
        live = registry[endpoint.name]
        for card in listed(endpoint, live.models):
            rows.setdefault(card.id, _row(card, live))
    said: dict[str, Any]
    if asked.model is None:
        said = {"object": "list", "data": list(rows.values())}
    else:
        said = rows.get(asked.model) or _of_a_pattern(head, asked, asked.model, registry=registry)
    body = json.dumps(said).encode() + b"\n"
    connection.begin_answer(
        status_line(200) + b"Content-Type: application/json\r\nContent-Length: %d\r\n"
        b"X-Request-Id: %b\r\nCache-Control: no-store\r\n" % (len(body), request_id),
        length=len(body),
    )
    if head.method != b"HEAD":
        connection.send(body)
    connection.finish()


def _of_a_pattern(
    head: RequestHead, asked: ModelsAsked, model: str, *, registry: Registry
) -> dict[str, Any]:
    """Nobody has listed it, but an endpoint would be asked for it."""
    routed = registry.routes.match(host=asked.host, path=asked.path, headers=head.text, model=model)
    endpoint: Endpoint | None = None if routed is None else routed.endpoint
    if endpoint is None or endpoint not in asked.endpoints or endpoint.dialect is Dialect.PLAIN:
        raise NoRoute(f"The model {model[:200]!r} does not exist, or this key may not use it")
    return _row(ModelCard(model), registry[endpoint.name])


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
