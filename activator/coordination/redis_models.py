"""Which models replicas said they serve, in Redis: one value an endpoint, in the words of
OpenAI's list."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from activator.core.catalogue import cards_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from activator.core.catalogue import ModelCard
    from activator.redisio.link import Link

KEPT: Final = 90 * 86400
"""Seconds after they were last told: an endpoint that rests for a season is known afterwards."""
AT_ONCE: Final = 20
"""Values asked for together: of a hundred kilobytes each at most."""


class RedisModelList:
    """Implements `coordination.base.ModelList`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def note(self, endpoint: str, cards: Sequence[ModelCard]) -> None:
        said = json.dumps({"data": [_row(card) for card in cards]}, ensure_ascii=False)
        await self._link.command("SET", self._key(endpoint), said, "EX", KEPT)

    async def last(self, endpoints: Collection[str]) -> Mapping[str, tuple[ModelCard, ...]]:
        names = list(endpoints)
        found: dict[str, tuple[ModelCard, ...]] = {}
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            replies = await self._link.pipeline([("GET", self._key(name)) for name in some])
            found.update(zip(some, map(_read, replies), strict=True))
        return found

    def _key(self, endpoint: str) -> str:
        return self._link.keys.of(endpoint, "models")


def _row(card: ModelCard) -> dict[str, Any]:
    said = {
        "id": card.id,
        "created": card.created,
        "owned_by": card.owned_by,
        "max_model_len": card.context,
        "parent": card.parent,
    }
    return {name: value for name, value in said.items() if value is not None}


def _read(raw: bytes | None) -> tuple[ModelCard, ...]:
    """Nothing for what nobody has noted, or a newer version has in other words."""
    try:
        return () if raw is None else cards_of(json.loads(raw))
    except ValueError:
        return ()
