"""When a fallback is asked, what its answers are worth, and how long it is left alone."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.core.endpoint import Endpoint, Fallback, Match, Service, StaticBackend
from activator.core.fallback import (
    LONGEST_REST,
    REST,
    Conduct,
    Outcome,
    is_answer,
    is_its_own_trouble,
    may_answer,
    model_there,
)

TODAY, TOMORROW = date(2026, 3, 1), date(2026, 3, 2)
CLOUD = Fallback(Service("api.example.com", 443))


def test_a_request_that_would_wait_for_a_start_goes_there() -> None:
    assert may_answer(cold=True, paused=False, tunnel=False)


@pytest.mark.parametrize(
    ("cold", "paused", "tunnel"),
    [
        pytest.param(False, False, False, id="a replica is ready and only busy"),
        pytest.param(True, True, False, id="an operator holds the endpoint"),
        pytest.param(True, False, True, id="a tunnel would stay there"),
    ],
)
def test_otherwise_it_is_held(*, cold: bool, paused: bool, tunnel: bool) -> None:
    assert not may_answer(cold=cold, paused=paused, tunnel=tunnel)


@pytest.mark.parametrize("status", [200, 201, 204, 206, 299, 400, 422])
def test_an_answer_to_the_request_is_passed_on(status: int) -> None:
    assert is_answer(status)
    assert not is_its_own_trouble(status)


@pytest.mark.parametrize("status", [401, 402, 403, 407, 408, 429, 500, 502, 503, 504, 529])
def test_what_it_tells_everybody_is_no_answer_and_leaves_it_alone(status: int) -> None:
    assert not is_answer(status)
    assert is_its_own_trouble(status)


@pytest.mark.parametrize("status", [301, 302, 304, 404, 405, 413, 415])
def test_what_only_it_cannot_do_is_no_answer_either(status: int) -> None:
    assert not is_answer(status)
    assert not is_its_own_trouble(status)


def other(*models: str, upstream: str | None = None) -> Endpoint:
    match = Match(models=models)
    return Endpoint("small", StaticBackend(()), match=match, upstream_model=upstream)


def test_the_model_is_called_what_the_fallback_calls_it() -> None:
    named = Fallback("small", model="tiny-v2")
    assert model_there(named, other("tiny")) == "tiny-v2"
    assert model_there(CLOUD, None) is None
    assert model_there(Fallback("small"), other("tiny-*", "tiny")) == "tiny"
    assert model_there(Fallback("small"), other("tiny", upstream="org/tiny")) == "org/tiny"
    assert model_there(Fallback("small"), other("tiny-*")) is None


def test_one_that_fails_is_left_alone_longer_and_longer() -> None:
    conduct, now, rests = Conduct(), 100.0, []
    for _ in range(8):
        rest = conduct.failed(now=now)
        assert rest is not None
        rests.append(rest)
        assert conduct.why_not(day=TODAY, most=0, now=now + rest - 0.01) is Outcome.RESTING
        assert conduct.why_not(day=TODAY, most=0, now=now + rest) is None
        now += rest
    assert rests == [1, 2, 4, 8, 16, 32, 60, 60]


def test_an_answer_ends_that() -> None:
    conduct = Conduct()
    conduct.failed(now=0.0)
    conduct.answered()
    assert conduct.why_not(day=TODAY, most=0, now=0.5) is None
    assert conduct.failed(now=0.5) == REST.first


def test_requests_that_fail_together_are_one_failure() -> None:
    conduct = Conduct()
    assert [conduct.failed(now=0.1 * n) for n in range(9)] == [1.0] + [None] * 8
    assert conduct.failed(now=2.0) == 2.0


def test_it_may_ask_to_be_left_alone() -> None:
    conduct = Conduct()
    assert conduct.failed(now=0.0, retry_after=30.0) == 30.0
    assert conduct.why_not(day=TODAY, most=0, now=29.9) is Outcome.RESTING
    assert conduct.failed(now=30.0, retry_after=1e9) == LONGEST_REST
    assert Conduct().failed(now=0.0, retry_after=0.0) == REST.first


def test_a_day_that_is_used_up_is_not_asked_for_again() -> None:
    conduct = Conduct()
    assert conduct.used_up(day=TODAY, most=5)
    assert not conduct.used_up(day=TODAY, most=5)
    assert conduct.why_not(day=TODAY, most=5, now=0.0) is Outcome.CAPPED
    assert conduct.why_not(day=TOMORROW, most=5, now=0.0) is None
    assert conduct.why_not(day=TODAY, most=6, now=0.0) is None


def test_operators_are_told_how_it_does() -> None:
    conduct = Conduct()
    assert conduct.in_words(day=TODAY, most=5, now=0.0) == ""
    conduct.counted(3, day=TODAY)
    assert conduct.in_words(day=TODAY, most=5, now=0.0) == "3 of 5 requests today (UTC)"
    assert conduct.in_words(day=TODAY, most=0, now=0.0) == ""
    assert conduct.in_words(day=TOMORROW, most=5, now=0.0) == ""
    conduct.failed(now=0.0, retry_after=30.0)
    assert conduct.in_words(day=TODAY, most=5, now=10.0) == (
        "3 of 5 requests today (UTC), not asked for 20 s"
    )
    conduct.used_up(day=TODAY, most=5)
    assert conduct.in_words(day=TODAY, most=5, now=30.0) == "has had its 5 requests of today (UTC)"


@given(st.lists(st.tuples(st.floats(0, 100), st.none() | st.floats(0, 1e6)), max_size=30))
def test_it_is_never_given_up(steps: list[tuple[float, float | None]]) -> None:
    conduct, now = Conduct(), 0.0
    for after, asked in steps:
        now += after
        conduct.failed(now=now, retry_after=asked)
    assert conduct.why_not(day=TODAY, most=0, now=now + LONGEST_REST) is None


@pytest.mark.parametrize(
    ("service", "authority"),
    [
        (Service("api.example.com", 443), "api.example.com"),
        (Service("api.example.com", 8443), "api.example.com:8443"),
        (Service("litellm", 80, tls=False), "litellm"),
        (Service("litellm", 443, tls=False), "litellm:443"),
        (Service("::1", 443), "[::1]"),
        (Service("::1", 4000, tls=False), "[::1]:4000"),
    ],
)
def test_a_service_is_called_by_its_authority(service: Service, authority: str) -> None:
    assert service.authority == authority
    assert Fallback(service).name == authority


def test_its_key_is_not_told() -> None:
    assert "hush" not in repr(Service("a", 443, key="hush"))
