"""The model server's dialect: what a request may ask for, and the shapes of its answers.

Pure: JSON values in, JSON values out, after OpenAI's API reference for completions and chat
completions. Fields it does not know are ignored, as other servers do; what it knows is checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

MOST_TOKENS = 4096
"""Of one answer; a bound, not an aim."""


class BadAsk(Exception):
    """A request that cannot be answered; says which field is wrong."""

    def __init__(
        self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Ask:
    """One request for text, whichever of the two APIs it came by."""

    prompt: str
    chat: bool
    model: str
    max_tokens: int
    temperature: float
    seed: int | None
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class Heading:
    """What all parts of one answer have in common. `created` is Unix time in whole seconds."""

    id: str
    created: int
    model: str
    chat: bool


def read_ask(body: object, *, chat: bool, serves: str) -> Ask:
    """Raises BadAsk; `serves` is the one model there is."""
    if not isinstance(body, dict):
        raise BadAsk("The request body must be a JSON object")
    fields = cast("dict[str, object]", body)
    return read_common(
        fields,
        serves=serves,
        prompt=conversation(fields.get("messages"), param="messages") if chat else _prompt(fields),
        chat=chat,
        max_tokens=_max_tokens(fields, chat=chat),
    )


def read_common(
    fields: dict[str, object], *, serves: str, prompt: str, chat: bool, max_tokens: int
) -> Ask:
    """What all its APIs have in common."""
    model = _typed(fields, "model", str, serves)
    if model != serves:
        raise BadAsk(
            f"The model `{model}` does not exist; this server has `{serves}`",
            param="model",
            status=404,
            code="model_not_found",
        )
    if _typed(fields, "n", int, 1) != 1:
        raise BadAsk("This server gives one answer: n must be 1", param="n")
    options = _typed(fields, "stream_options", dict, {})
    return Ask(
        prompt=prompt,
        chat=chat,
        model=model,
        max_tokens=max_tokens,
        temperature=_temperature(fields),
        seed=_typed(fields, "seed", int, None),
        stop=_stop(fields),
        stream=_typed(fields, "stream", bool, False),
        include_usage=_typed(options, "include_usage", bool, False),
    )


def whole(heading: Heading, *, text: str, finish: str, usage: dict[str, int]) -> dict[str, Any]:
    """The answer to a request without `stream`."""
    part = {"message": {"role": "assistant", "content": text}} if heading.chat else {"text": text}
    choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish}
    return {**_head(heading, streamed=False), "choices": [choice], "usage": usage}


def opening(heading: Heading) -> dict[str, Any] | None:
    """The first event of a stream, before any text; completions have none."""
    if not heading.chat:
        return None
    return _chunk(heading, {"delta": {"role": "assistant", "content": ""}}, finish=None)


def piece(heading: Heading, text: str) -> dict[str, Any]:
    return _chunk(
        heading, {"delta": {"content": text}} if heading.chat else {"text": text}, finish=None
    )


def closing(heading: Heading, *, finish: str) -> dict[str, Any]:
    return _chunk(heading, {"delta": {}} if heading.chat else {"text": ""}, finish=finish)


def usage_chunk(heading: Heading, usage: dict[str, int]) -> dict[str, Any]:
    """The last event where `stream_options.include_usage` was asked for: no choices."""
    return {**_head(heading, streamed=True), "choices": [], "usage": usage}


def usage_of(*, prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def error(
    message: str, *, kind: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _head(heading: Heading, *, streamed: bool) -> dict[str, Any]:
    kind = "text_completion"
    if heading.chat:
        kind = "chat.completion.chunk" if streamed else "chat.completion"
    return {
        "id": heading.id,
        "object": kind,
        "created": heading.created,
        "model": heading.model,
    }


def _chunk(heading: Heading, part: dict[str, Any], *, finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish}
    return {**_head(heading, streamed=True), "choices": [choice]}


def _typed(fields: dict[str, object], name: str, kind: type, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadAsk(f"{name} must be of type {_JSON_NAMES[kind]}", param=name)
    return value


_TEXTS = ("text", "input_text", "output_text")
_JSON_NAMES = {str: "string", int: "integer", bool: "boolean", dict: "object", list: "array"}


def _max_tokens(fields: dict[str, object], *, chat: bool) -> int:
    name = "max_completion_tokens" if "max_completion_tokens" in fields else "max_tokens"
    # OpenAI's own default for completions is 16; chats there have none
    return whole_number(fields, name, default=64 if chat else 16)


def whole_number(fields: dict[str, object], name: str, *, default: int) -> int:
    """Of tokens."""
    value: int = _typed(fields, name, int, default)
    if not 1 <= value <= MOST_TOKENS:
        raise BadAsk(f"{name} must be between 1 and {MOST_TOKENS}", param=name)
    return value


def _temperature(fields: dict[str, object]) -> float:
    value = fields.get("temperature")
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 2:
        raise BadAsk("temperature must be a number between 0 and 2", param="temperature")
    return float(value)


def _stop(fields: dict[str, object]) -> tuple[str, ...]:
    value = fields.get("stop")
    if value is None:
        return ()
    given: list[object] = value if isinstance(value, list) else [value]
    texts = tuple(text for text in given if isinstance(text, str) and text)
    if len(texts) != len(given) or len(texts) > 4:
        raise BadAsk("stop must be a string, or up to 4 of them, none empty", param="stop")
    return texts


def _prompt(fields: dict[str, object]) -> str:
    value = fields.get("prompt")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str):
        raise BadAsk("prompt must be a string, or an array of one string", param="prompt")
    return value


def conversation(messages: object, *, param: str) -> str:
    """The texts of all messages, a paragraph each: what a model of plain text can go on from."""
    if not isinstance(messages, list) or not messages:
        raise BadAsk(f"{param} must be an array of at least one message", param=param)
    return "\n\n".join(_message_text(message, param) for message in messages)


def _message_text(message: object, param: str) -> str:
    fields = cast("dict[str, object]", message) if isinstance(message, dict) else {}
    content = fields.get("content")
    if isinstance(content, list):
        parts = [cast("dict[str, object]", part) for part in content if isinstance(part, dict)]
        texts = [part.get("text") for part in parts if part.get("type") in _TEXTS]
        content = "".join(text for text in texts if isinstance(text, str))
    if not isinstance(fields.get("role"), str) or not isinstance(content, str):
        raise BadAsk("each message needs a role and a content of text", param=param)
    return content
