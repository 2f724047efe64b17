from __future__ import annotations

from typing import Any

import pytest
from openai.types.responses import Response

from activator.demo.openai import BadAsk
from activator.demo.responses import Course, read_ask


def course(finish: str = "stop") -> Course:
    made = Course("resp_1", 7, "tiny")
    made.opening()
    made.delta("Hello")
    made.finish("Hello", finish=finish, prompt_tokens=3, tokens=2)
    return made


def test_the_whole_is_what_openais_package_takes_for_one() -> None:
    said = Response.model_validate(course().whole())

    assert (said.status, said.output_text) == ("completed", "Hello")
    assert said.usage is not None
    assert said.usage.total_tokens == 5


def test_one_that_ran_into_its_limit_is_incomplete() -> None:
    said = course("length")

    assert said.whole()["incomplete_details"] == {"reason": "max_output_tokens"}
    assert said.closing()[-1]["type"] == "response.incomplete"


def test_events_are_numbered_and_the_last_carries_the_whole() -> None:
    made = Course("resp_1", 7, "tiny")
    events: list[dict[str, Any]] = [*made.opening(), made.delta("Hel"), made.delta("lo")]
    made.finish("Hello", finish="stop", prompt_tokens=1, tokens=2)
    events += made.closing()

    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[0]["response"]["status"] == "in_progress"
    assert events[-1] == {
        "type": "response.completed",
        "sequence_number": 9,
        "response": made.whole(),
    }


@pytest.mark.parametrize(
    ("given", "prompt"),
    [
        ("hi", "hi"),
        ([{"role": "user", "content": "hi"}], "hi"),
        ([{"role": "user", "content": [{"type": "input_text", "text": "hi"}]}], "hi"),
    ],
)
def test_its_input_is_a_text_or_a_conversation(given: object, prompt: str) -> None:
    assert read_ask({"input": given}, serves="tiny").prompt == prompt
    told = read_ask({"input": given, "instructions": "Be brief."}, serves="tiny")
    assert told.prompt == f"Be brief.\n\n{prompt}"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({}, "input"),
        ({"input": "x", "max_output_tokens": 0}, "max_output_tokens"),
        ({"input": "x", "model": "huge"}, "model"),
        ([], None),
    ],
)
def test_what_it_cannot_do_is_refused_by_name(body: object, param: str | None) -> None:
    with pytest.raises(BadAsk) as refused:
        read_ask(body, serves="tiny")
    assert refused.value.param == param
