"""Which way requests went, and clients whose next one is to go straight."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from activator.proxy.straight import Straight
from tests.calls import calls
from tests.stage import request

if TYPE_CHECKING:
    import pytest

    from tests.rawclient import RawClient
    from tests.replica import Talk
    from tests.stage import Stage


BEFORE = 2
"""Requests that a head needs: once may be never again, twice is kept."""


class Ways:
    """How many requests went straight, and how many of these became something else."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._count = calls(patch, Straight, "whole", "become")

    @property
    def whole(self) -> int:
        return self._count["whole"]

    @property
    def became(self) -> int:
        return self._count["become"]


async def warmed(s: Stage, raw: bytes = request(), *, times: int = BEFORE) -> RawClient:
    """A client that has been answered this request, and whose next one is to go straight."""
    client = await s.connect()
    for _ in range(times):
        client.send(raw)
        assert (await client.reply()).status == 200
    return client


def count(s: Stage) -> dict[tuple[int | str, str], int]:
    return dict(s.live.metrics.requests)


MODEL: dict[str, Any] = {"match": {"models": ["chat"]}, "dialect": "openai"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def chat(text: str) -> bytes:
    body = json.dumps({"model": "chat", "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Content-Type": "application/json"}
    return request("/v1/chat/completions", method="POST", headers=headers, body=body)


async def completes(talk: Talk) -> None:
    asked = json.loads(await talk.body())
    said = {"choices": [], "usage": USAGE, "said": asked["messages"][0]["content"]}
    await talk.answer(200, json.dumps(said).encode(), fields=b"Content-Type: application/json\r\n")
