"""The demo's clients: what they ask, how they read a stream, and what they noted meanwhile.

A client decides nothing: whether an answer is a good one is for `facts`. Every request asks for a
stream, so that its first byte is the model's first token and its end can be told from a cut.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiohttp

from activator.demo.facts import Reply
from activator.demo.generation import Generation
from activator.demo.model import END, TextModel

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@dataclass(frozen=True, slots=True)
class Question:
    """One request. The same question has one answer, whoever is asked."""

    endpoint: str
    prompt: str
    max_tokens: int
    seed: int
    chat: bool = False
    temperature: float = 0.5

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.chat else "/v1/completions"

    def body(self) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
            "stream": True,
        }
        if self.chat:
            return asked | {"messages": [{"role": "user", "content": self.prompt}]}
        return asked | {"prompt": self.prompt}

    def answer(self, model: TextModel) -> str:
        """What a server with this model says."""
        pieces = model.continue_text(
            model.encode(self.prompt + (END if self.chat else "")),
            temperature=self.temperature,
            dice=random.Random(self.seed),
        )
        return "".join(Generation(pieces, max_tokens=self.max_tokens))


class Clients:
    """Sends questions to the activator's data port, each on a connection of its own."""

    def __init__(self, session: aiohttp.ClientSession, *, port: int, model: TextModel) -> None:
        self._session = session
        self._base = f"http://127.0.0.1:{port}"
        self._model = model

    async def ask(
        self, question: Question, *, on_text: Callable[[str], None] | None = None
    ) -> Reply:
        """The reply, complete or not: what goes wrong on the way is in its `problem`."""
        reply = Reply(
            prompt=question.prompt,
            expected=question.answer(self._model),
            sent_at=time.time(),
        )
        request = self._session.post(
            self._base + question.path,
            json=question.body(),
            headers={"Host": f"{question.endpoint}.localhost"},
        )
        try:
            async with request as response:
                if response.status != 200:
                    reason = response.headers.get("X-Activator-Reason", "said by the model")
                    return replace(reply, problem=f"got status {response.status} ({reason})")
                async for text in _texts(response):
                    if reply.first_byte_at is None:
                        reply = replace(reply, first_byte_at=time.time())
                    reply = replace(reply, text=reply.text + text)
                    if text and on_text is not None:
                        on_text(text)
        except _Cut:
            return replace(reply, problem="got an answer that was cut off")
        except (aiohttp.ClientError, TimeoutError) as problem:
            return replace(reply, problem=f"failed: {problem or type(problem).__name__}")
        return replace(reply, problem=None, ended_at=time.time())


class _Cut(Exception):
    """The stream ended without saying that it is complete."""


async def _texts(response: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """The texts of a stream of either API; raises _Cut where it does not end with `[DONE]`."""
    async for line in response.content:
        if not line.startswith(b"data: "):
            continue
        data = line.removeprefix(b"data: ").strip()
        if data == b"[DONE]":
            return
        try:
            choice = json.loads(data)["choices"][0]
        except (ValueError, LookupError, TypeError):
            raise _Cut from None
        yield choice["text"] if "text" in choice else choice["delta"].get("content", "")
    raise _Cut
