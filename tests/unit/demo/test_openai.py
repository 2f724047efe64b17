from __future__ import annotations

from typing import Any

import pytest

from activator.demo.openai import BadAsk, read_ask

CHAT = {"messages": [{"role": "user", "content": "hello"}]}


def test_defaults_are_those_of_the_api() -> None:
    ask = read_ask({"prompt": "once"}, chat=False, serves="tiny")

    assert (ask.prompt, ask.model, ask.max_tokens, ask.temperature) == ("once", "tiny", 16, 1.0)
    assert (ask.seed, ask.stop, ask.stream, ask.include_usage) == (None, (), False, False)


def test_a_conversation_is_its_messages_a_paragraph_each() -> None:
    parts = [{"type": "text", "text": "two"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "system", "content": "one"}, {"role": "user", "content": parts}]

    ask = read_ask({"messages": messages}, chat=True, serves="tiny")

    assert ask.prompt == "one\n\ntwo"


def test_everything_asked_for_is_taken_over() -> None:
    body = {
        "model": "tiny",
        "prompt": ["once"],
        "max_tokens": 3,
        "temperature": 0,
        "seed": 5,
        "stop": ["a", "b"],
        "stream": True,
        "stream_options": {"include_usage": True},
    }

    ask = read_ask(body, chat=False, serves="tiny")

    assert (ask.max_tokens, ask.temperature, ask.seed, ask.stop) == (3, 0.0, 5, ("a", "b"))
    assert (ask.stream, ask.include_usage) == (True, True)


@pytest.mark.parametrize(
    ("body", "chat", "param"),
    [
        ([], False, None),
        ({}, False, "prompt"),
        ({"prompt": ["a", "b"]}, False, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, False, "max_tokens"),
        ({"prompt": "a", "max_tokens": True}, False, "max_tokens"),
        ({"prompt": "a", "max_tokens": 4097}, False, "max_tokens"),
        ({**CHAT, "max_completion_tokens": "9"}, True, "max_completion_tokens"),
        ({"prompt": "a", "temperature": 2.1}, False, "temperature"),
        ({"prompt": "a", "temperature": float("nan")}, False, "temperature"),
        ({"prompt": "a", "temperature": False}, False, "temperature"),
        ({"prompt": "a", "seed": 1.5}, False, "seed"),
        ({"prompt": "a", "stop": ""}, False, "stop"),
        ({"prompt": "a", "stop": ["a", 1]}, False, "stop"),
        ({"prompt": "a", "stop": list("abcde")}, False, "stop"),
        ({"prompt": "a", "stream": "yes"}, False, "stream"),
        ({"prompt": "a", "stream_options": []}, False, "stream_options"),
        ({"prompt": "a", "stream_options": {"include_usage": 1}}, False, "include_usage"),
        ({"prompt": "a", "n": 2}, False, "n"),
        ({"prompt": "a", "model": 3}, False, "model"),
        ({}, True, "messages"),
        ({"messages": []}, True, "messages"),
        ({"messages": ["hi"]}, True, "messages"),
        ({"messages": [{"role": "user"}]}, True, "messages"),
        ({"messages": [{"content": "hi"}]}, True, "messages"),
    ],
)
def test_a_wrong_field_is_named(body: Any, *, chat: bool, param: str | None) -> None:
    with pytest.raises(BadAsk) as refused:
        read_ask(body, chat=chat, serves="tiny")

    assert (refused.value.status, refused.value.param) == (400, param)


def test_another_model_is_not_found() -> None:
    with pytest.raises(BadAsk, match="this server has `tiny`") as refused:
        read_ask({**CHAT, "model": "huge"}, chat=True, serves="tiny")

    assert (refused.value.status, refused.value.code) == (404, "model_not_found")
