"""Which models an endpoint is asked for by, and what is known of each: one row of `/v1/models`.

Decides from the configuration and from what replicas said while they ran. A replica's list adds
what no configuration knows: adapters that a wildcard covers, and how long a context may be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from activator.core.routing import fits, replica_model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activator.core.endpoint import Endpoint

MOST_CARDS: Final = 1000
"""Of one replica: what it says is bounded."""
LONGEST: Final = 512
"""Characters of one text in it."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model. None: nobody has said."""

    id: str
    created: int | None = None
    """Unix time."""
    owned_by: str | None = None
    context: int | None = None
    """Tokens, prompt and answer together."""
    parent: str | None = None
    """Of an adapter: the model it changes."""


def cards_of(answer: object) -> tuple[ModelCard, ...]:
    """A model server's answer to `GET /v1/models`, decoded from JSON; what is not one is empty."""
    listed = cast("dict[str, object]", answer).get("data") if isinstance(answer, dict) else None
    rows = cast("list[object]", listed) if isinstance(listed, list) else []
    found = (_card(cast("dict[str, object]", row)) for row in rows if isinstance(row, dict))
    return tuple(card for card in list(found)[:MOST_CARDS] if card is not None)


def listed(endpoint: Endpoint, said: Iterable[ModelCard]) -> list[ModelCard]:
    """The rows of an endpoint: names and aliases of the configuration first, then what its
    replicas `said` they have and it would be asked for. An endpoint that takes any model and whose
    replicas have said nothing yet goes by its own name."""
    known = {card.id: card for card in said}
    patterns = [name for name in endpoint.match.models if "*" in name]
    exact = [name for name in endpoint.match.models if "*" not in name]
    rows: dict[str, ModelCard] = {}
    for name in (*exact, *endpoint.aliases):
        card = known.get(replica_model(endpoint, name), ModelCard(name))
        rows[name] = replace(card, id=name)
    if endpoint.upstream_model is None:
        for name, card in known.items():
            if not endpoint.match.models or any(fits(name, pattern) for pattern in patterns):
                rows.setdefault(name, card)
    elif not endpoint.match.models:
        card = known.get(endpoint.upstream_model, ModelCard(endpoint.upstream_model))
        rows.setdefault(endpoint.upstream_model, card)
    if not rows and not endpoint.match.models:
        rows[endpoint.name] = ModelCard(endpoint.name)
    return list(rows.values())


def _card(row: dict[str, object]) -> ModelCard | None:
    name = _text(row.get("id"))
    if name is None:
        return None
    return ModelCard(
        name,
        created=_number(row.get("created")),
        owned_by=_text(row.get("owned_by")),
        context=_number(row.get("max_model_len")),
        parent=_text(row.get("parent")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= LONGEST else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
