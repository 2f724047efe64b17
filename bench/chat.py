"""What clients and model servers say to each other in OpenAI's dialect: one request, one answer."""

from __future__ import annotations

import json
from typing import Final

MODEL: Final = "bench"
PATH: Final = "/v1/chat/completions"
REQUEST_SIZE: Final = 2048
ANSWER_SIZE: Final = 4096


def request(size: int = REQUEST_SIZE) -> bytes:
    """A chat of `size` bytes as JSON; the model comes first, where clients put it."""
    return _filled(
        {
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": ""},
            ],
            "max_tokens": 900,
            "temperature": 0.7,
        },
        size,
    )


def completion(size: int = ANSWER_SIZE) -> bytes:
    """The whole answer to one, of `size` bytes as JSON."""
    return _filled(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": ""},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 400, "completion_tokens": 800, "total_tokens": 1200},
        },
        size,
    )


def models() -> bytes:
    """The list of a server that has one model."""
    model = {"id": MODEL, "object": "model", "created": 1_700_000_000, "owned_by": "bench"}
    return json.dumps({"object": "list", "data": [model]}).encode()


def _filled(said: dict[str, object], size: int) -> bytes:
    """With so many words in its empty content that it is `size` bytes."""
    empty = json.dumps(said)
    words = ("several words " * size)[: size - len(empty)]
    return empty.replace('"content": ""', f'"content": "{words}"').encode()
