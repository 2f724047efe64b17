"""Speaks to a pod's model server directly, past every activator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp

from tests.e2e.manifests import PORT

if TYPE_CHECKING:
    from tests.e2e.api import Json


async def ask(pod: Json, target: str = "/") -> str:
    url = f"http://{pod['status']['podIP']}:{PORT}{target}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.text()


async def stats(pod: Json) -> Json:
    """See `model.Stats`."""
    told: Json = json.loads(await ask(pod, "/stats"))
    return told
