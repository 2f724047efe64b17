"""Rows of `/v1/models`: from the configuration, and from what replicas said."""

from __future__ import annotations

from typing import Any

import pytest

from activator.core.catalogue import LONGEST, MOST_CARDS, ModelCard, cards_of, listed
from activator.core.endpoint import Endpoint, Match, StaticBackend

SAID = cards_of(
    {
        "data": [
            {"id": "llama", "created": 5, "owned_by": "vllm", "max_model_len": 8192},
            {"id": "lora-a", "parent": "llama"},
            {"id": "other"},
        ]
    }
)


def rows(*said: ModelCard, models: tuple[str, ...] = (), **keys: Any) -> list[str]:
    endpoint = Endpoint("e", StaticBackend(()), match=Match(models=models), **keys)
    return [card.id for card in listed(endpoint, said)]


def test_what_is_configured_is_listed_before_anything_ran() -> None:
    assert rows(models=("a", "b-*"), aliases=("c",)) == ["a", "c"]
    assert rows() == ["e"]
    assert rows(upstream_model="u") == ["u"]
    assert rows(models=("b-*",)) == []


def test_replicas_add_what_the_endpoint_would_be_asked_for() -> None:
    assert rows(*SAID, models=("llama", "lora-*")) == ["llama", "lora-a"]
    assert rows(*SAID) == ["llama", "lora-a", "other"]
    assert rows(*SAID, models=("x",), upstream_model="llama") == ["x"]
    assert rows(*SAID, upstream_model="llama") == ["llama"]


def test_a_name_is_told_of_as_its_replicas_do_under_theirs() -> None:
    endpoint = Endpoint("e", StaticBackend(()), match=Match(models=("llama",)), aliases=("gpt",))

    alias = listed(endpoint, SAID)[1]

    assert alias == ModelCard("gpt", created=5, owned_by="vllm", context=8192)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        {},
        {"data": {}},
        {"data": [1, {}, {"id": 3}, {"id": ""}, {"id": "x" * (LONGEST + 1)}]},
    ],
)
def test_what_is_no_list_is_an_empty_one(answer: object) -> None:
    assert cards_of(answer) == ()


def test_values_of_the_wrong_kind_are_not_known() -> None:
    (card,) = cards_of({"data": [{"id": "m", "created": "now", "max_model_len": True}]})

    assert card == ModelCard("m")


def test_a_replica_is_not_listened_to_for_ever() -> None:
    assert len(cards_of({"data": [{"id": str(n)} for n in range(MOST_CARDS + 5)]})) == MOST_CARDS
