from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.idempotency import Verdict, frees_key, judge, scope
from activator.core.jobs import Job, JobState

JOB = Job(id="model.x", endpoint="model", created=0.0, expires=100.0)
ALIVE_OR_ANSWERED = {
    JobState.QUEUED,
    JobState.ACTIVATING,
    JobState.RUNNING,
    JobState.SUCCEEDED,
}


@pytest.mark.parametrize("state", list(JobState))
def test_a_key_is_kept_only_for_what_may_give_or_has_given_a_complete_answer(
    state: JobState,
) -> None:
    assert frees_key(replace(JOB, state=state)) is (state not in ALIVE_OR_ANSWERED)


def test_the_same_body_joins_and_another_is_a_conflict() -> None:
    assert judge(JOB, stored=b"1", fingerprint=b"1") is Verdict.JOIN
    assert judge(JOB, stored=b"1", fingerprint=b"2") is Verdict.CONFLICT


def test_a_free_key_takes_any_body() -> None:
    failed = replace(JOB, state=JobState.FAILED)
    assert judge(failed, stored=b"1", fingerprint=b"2") is Verdict.NEW
    assert judge(None, stored=b"", fingerprint=b"2") is Verdict.NEW


parts = st.tuples(st.binary(), st.binary(), st.binary(), st.binary())


@given(parts, parts)
def test_a_scope_is_shared_by_equal_parts_only(
    one: tuple[bytes, bytes, bytes, bytes], other: tuple[bytes, bytes, bytes, bytes]
) -> None:
    def scope_of(parts: tuple[bytes, bytes, bytes, bytes]) -> str:
        return scope(parts[0], caller=parts[1], method=parts[2], target=parts[3])

    assert (scope_of(one) == scope_of(other)) is (one == other)
    assert len(scope_of(one)) == 64


def test_no_part_of_a_scope_reaches_into_the_next() -> None:
    assert scope(b"k", caller=b"a", method=b"bc", target=b"") != scope(
        b"k", caller=b"ab", method=b"c", target=b""
    )
