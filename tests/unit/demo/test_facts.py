from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from activator.demo.facts import (
    Act,
    Bill,
    Facts,
    ModelSide,
    Reply,
    broken_promises,
    cold_start,
    out_of_order,
)


def reply(prompt: str, *, sent_at: float = 10.0) -> Reply:
    return Reply(
        prompt=prompt,
        expected="text",
        sent_at=sent_at,
        first_byte_at=12.6,
        ended_at=13.0,
        text="text",
        problem=None,
    )


def act(*prompts: str) -> Act:
    model = ModelSide(
        pid=77,
        started_at=10.1,
        ready_at=12.1,
        arrivals=tuple((prompt, 12.5) for prompt in prompts),
        peak_in_flight=2,
        refused=0,
        cancelled=0,
    )
    return Act(
        endpoint="alpha",
        title="a burst",
        replies=tuple(reply(prompt) for prompt in prompts),
        model=model,
    )


def facts(*acts: Act, still_running: tuple[int, ...] = ()) -> Facts:
    return Facts(
        acts=acts,
        bills=(Bill("alpha", 3.0, 7.0, 0.3, 0.7),),
        limit=2,
        cost_per_replica_hour=360.0,
        still_running=still_running,
        took=10.0,
    )


def broken_in(changed: Act) -> str:
    [sentence] = broken_promises(facts(changed))
    return sentence


def test_a_run_as_it_should_be_breaks_no_promise() -> None:
    good = facts(act("1", "2", "3"), act("late"))

    assert broken_promises(good) == []
    assert (len(good.replies), good.answered, good.peak_in_flight) == (4, 4, 2)


def test_a_lost_request_is_told_with_its_reason() -> None:
    one = act("1", "2")
    lost = replace(one.replies[1], problem="got status 503 (queue_full)")

    sentence = broken_in(replace(one, replies=(one.replies[0], lost)))

    assert (
        sentence == "alpha: 1 of 2 requests were lost; the first: '2' got status 503 (queue_full)"
    )


def test_an_answer_that_the_model_did_not_give_is_told() -> None:
    one = act("1")

    sentence = broken_in(replace(one, replies=(replace(one.replies[0], text="other"),)))

    assert "not what the model said" in sentence


@pytest.mark.parametrize("came", [("2", "1"), ("1",), ("1", "2", "2"), ()])
def test_anything_but_once_each_and_in_order_is_told(came: tuple[str, ...]) -> None:
    one = act("1", "2")
    arrivals = tuple((prompt, 12.5 + at) for at, prompt in enumerate(came))
    model = replace(one.model, arrivals=arrivals)
    changed = replace(one, model=model)

    assert out_of_order(changed) is not None
    assert "once each and in order" in broken_in(changed)


def test_requests_dispatched_in_one_moment_may_be_read_in_either_order() -> None:
    one = act("1", "2", "3")
    together = (("2", 12.500), ("1", 12.501), ("3", 12.510))

    assert out_of_order(replace(one, model=replace(one.model, arrivals=together))) is None


@pytest.mark.parametrize("seen", [{"peak_in_flight": 3}, {"refused": 1}])
def test_more_at_once_than_the_limit_is_told(seen: dict[str, Any]) -> None:
    one = act("1")

    sentence = broken_in(replace(one, model=replace(one.model, **seen)))

    assert "limit of 2 at once was not kept" in sentence


def test_a_request_broken_off_at_the_model_is_told() -> None:
    one = act("1")

    assert "broken off" in broken_in(replace(one, model=replace(one.model, cancelled=1)))


def test_a_model_server_that_still_runs_is_told() -> None:
    [sentence] = broken_promises(facts(act("1"), still_running=(77,)))

    assert "not back at zero" in sentence
    assert "77" in sentence


def test_a_cold_start_is_split_where_client_process_and_model_met() -> None:
    cold = cold_start(act("1", "2"))

    assert cold is not None
    phases = (cold.to_started, cold.to_ready, cold.to_arrival, cold.to_first_byte, cold.total)
    assert phases == pytest.approx((0.1, 2.0, 0.4, 0.1, 2.6))


def test_a_process_that_seems_older_than_its_cause_started_at_once() -> None:
    one = act("1")

    cold = cold_start(replace(one, model=replace(one.model, started_at=9.995)))

    assert cold is not None
    assert cold.to_started == 0.0
    assert cold.total == pytest.approx(2.6)


def test_a_start_that_answered_nobody_has_no_phases() -> None:
    one = act("1")
    unheard = replace(one, replies=(replace(one.replies[0], first_byte_at=None),))
    unseen = replace(one, model=replace(one.model, arrivals=()))

    assert cold_start(unheard) is None
    assert cold_start(unseen) is None


def test_the_models_account_is_read_from_its_stats() -> None:
    stats = {
        "pid": 1,
        "started_at": 2.0,
        "ready_at": 3.0,
        "arrivals": [{"at": 4.0, "prompt": "hi"}],
        "peak_in_flight": 5,
        "refused": 6,
        "cancelled": 7,
        "tokens": 8,
    }

    assert ModelSide.read(stats) == ModelSide(1, 2.0, 3.0, (("hi", 4.0),), 5, 6, 7)
