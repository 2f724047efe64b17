"""The JSON Schema that editors take: what it says about keys and values."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from activator.config.endpoint_schema import Policy
from activator.config.schema import TlsSection, json_schema


def section(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json_schema()["$defs"][name]
    return found


def test_it_is_plain_json_of_a_known_dialect() -> None:
    schema = json.loads(json.dumps(json_schema()))
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["required"] == ["endpoints"]


def test_no_section_takes_unknown_keys() -> None:
    schema = json_schema()
    sections = [schema, *(it for it in schema["$defs"].values() if "properties" in it)]
    assert all(it["additionalProperties"] is False for it in sections)


def test_keys_are_camel_case() -> None:
    for found in json_schema()["$defs"].values():
        for key in found.get("properties", {}):
            assert re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", key), key


def test_defaults_are_spelled_as_in_the_file() -> None:
    assert section("ScaleSection")["properties"]["idleTimeout"]["default"] == "10m"
    assert section("QueueSection")["properties"]["maxBytes"]["default"] == "256MiB"


def test_durations_may_be_numbers_or_text() -> None:
    number, text = section("ScaleSection")["properties"]["idleTimeout"]["anyOf"]
    assert number["type"] == "number"
    assert re.search(text["pattern"], "1h30m")


def test_endpoints_that_say_nothing_of_a_section_share_one() -> None:
    said: dict[str, dict[str, object]] = {"queue": {"age": 0}}
    one, other = Policy.model_validate({"scale": None}), Policy.model_validate(said)

    assert one.scale is other.scale
    assert one.never_wake == other.never_wake
    assert (one.queue.age, other.queue.age) == (30.0, 0.0)


def test_a_section_that_must_say_something_never_gets_a_default() -> None:
    for _ in range(2):
        with pytest.raises(ValidationError, match="certFile"):
            TlsSection.model_validate({})
