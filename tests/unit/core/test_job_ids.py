from __future__ import annotations

from random import Random

import pytest

from activator.core.job_ids import RANDOM, endpoint_of, new_id, was_made_for

ID = new_id("llama-8b.v2", owner="alice", random=Random(1).randbytes(RANDOM))


def test_an_id_tells_its_endpoint_and_keeps_its_random_bits() -> None:
    ids = {new_id("m", owner="", random=Random(seed).randbytes(RANDOM)) for seed in range(100)}

    assert len(ids) == 100
    assert {endpoint_of(each) for each in ids} == {"m"}
    assert endpoint_of(ID) == "llama-8b.v2"
    assert len(ID) == len("llama-8b.v2.") + 28


@pytest.mark.parametrize(
    "text", ["", "m", "m.", ".x", "m." + "A" * 27, "m." + "!" * 28, "m/x." + "A" * 28]
)
def test_what_is_no_id_is_of_no_endpoint(text: str) -> None:
    assert endpoint_of(text) is None
    assert not was_made_for("", text)


def test_an_id_is_known_to_its_owner_and_to_nobody_else() -> None:
    assert was_made_for("alice", ID)
    assert not was_made_for("bob", ID)
    assert not was_made_for("", ID)


def test_a_mistyped_id_was_never_made() -> None:
    for at in range(len("llama-8b.v2."), len(ID)):
        other = "x" if ID[at] != "x" else "y"
        assert not was_made_for("alice", ID[:at] + other + ID[at + 1 :])
    assert not was_made_for("alice", "llama-8b.v3" + ID.removeprefix("llama-8b.v2"))
