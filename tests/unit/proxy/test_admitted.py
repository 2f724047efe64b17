"""What heads have led to is known for as many as is bounded, whoever makes models up."""

from __future__ import annotations

from activator.proxy.admitted import MODELS, ByModel, KnownModels
from tests.unit.proxy.support import admitted_to
from tests.unit.upstream.support import live_endpoint


def test_models_are_known_by_head_and_no_more_of_all_than_is_bounded() -> None:
    known, one = KnownModels(), admitted_to(live_endpoint())
    heads = [ByModel(prompt=False, whole=False, is_plain=True) for _ in range(3)]
    for number in range(MODELS):
        for head in heads:
            known.keep(head, f"m{number}", one)
            assert known.get(head, f"m{number}") is one
            assert len(known) <= MODELS
    other = ByModel(prompt=False, whole=False, is_plain=True)
    assert known.get(other, f"m{MODELS - 1}") is None
    assert known.get(heads[0], None) is None
