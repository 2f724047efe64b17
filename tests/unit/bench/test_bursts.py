"""What bursts say of one contestant beside another."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from bench.benchmarks import chat, throughput
from bench.bursts import Case, Taken
from bench.contestant import Contestant
from bench.size import Size
from bench.wrk import Burst

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.processes import Running

CASE = Case("200 B", "/small", 16)


def burst(rate: float, *, busy: float = 1.0, errors: int = 0) -> Burst:
    """Of one second."""
    return Burst(rate=rate, requests=round(rate), errors=errors, cpu_seconds=busy, busy=busy)


def taken(**rounds: Sequence[Burst]) -> Taken:
    return taken_of(CASE, rounds)


def taken_of(case: Case, rounds: Mapping[str, Sequence[Burst]]) -> Taken:
    """Contestants by name; those whose name begins with `activator` are ours."""
    nowhere = cast("Running", None)
    field = [
        Contestant(name, ("127.0.0.1", 1), name, nowhere, is_ours=name.startswith("activator"))
        for name in rounds
    ]
    return Taken(field, {case: list(rounds.values())})


def test_a_ratio_is_the_median_of_rounds_that_lie_next_to_each_other() -> None:
    """The second round was a bad one for all: of all medians apart it would be 0.5."""
    measured = taken(
        nginx=[burst(1000), burst(100), burst(1000)],
        activator=[burst(500), burst(70), burst(900)],
    )

    (row,) = (row for row in measured.rows() if row["contestant"] == "activator")

    assert row["of nginx"] == 0.7
    assert row["requests/s"] == 500
    assert row["of go"] is None


def test_the_activator_is_judged_by_its_rate_beside_a_peer_that_fills_its_core() -> None:
    measured = taken(nginx=[burst(1000)], activator=[burst(650)])

    (verdict,) = measured.at_least(0.7, of="nginx", ours="activator", cases=[CASE])

    assert (verdict.measured, verdict.passed) == (0.65, False)
    assert verdict.what == "activator, requests/s of nginx's, 200 B, 16 connections"
    assert (
        taken(nginx=[burst(1000)], activator=[burst(700)])
        .at_least(0.7, of="nginx", ours="activator", cases=[CASE])[0]
        .passed
    )


def test_a_peer_that_the_load_did_not_keep_busy_is_compared_by_cpu_time() -> None:
    """nginx would do 2 000 in a second of its core: we do 700, not 700 of 1 000."""
    measured = taken(nginx=[burst(1000, busy=0.5)], activator=[burst(700)])

    (verdict,) = measured.at_least(0.7, of="nginx", ours="activator", cases=[CASE])

    assert (verdict.measured, verdict.passed) == (0.35, False)
    assert "by CPU time: the core was not filled by nginx" in verdict.what
    assert measured.notes() == [
        "nginx: did not fill the core with several connections, so that load, upstream or others"
        " set the pace; CPU time compares more fairly then"
    ]


def test_nothing_is_judged_by_a_peer_that_was_left_out() -> None:
    measured = taken(activator=[burst(700)])

    assert measured.at_least(0.7, of="nginx", ours="activator", cases=[CASE]) == []


def test_errors_of_ours_fail_and_those_of_a_peer_are_told() -> None:
    ours = taken(nginx=[burst(1000)], activator=[burst(500, errors=2), burst(500, errors=1)])
    theirs = taken(litellm=[burst(10, errors=4)], activator=[burst(500)])

    assert (ours.nothing_failed().measured, ours.nothing_failed().passed) == (3, False)
    assert theirs.nothing_failed().passed
    assert "litellm: 4 requests were not answered with 200" in theirs.notes()


def test_throughput_is_judged_by_nginx_and_go_and_not_over_one_connection() -> None:
    rounds = {"nginx": [burst(1000)], "go": [burst(400)], "activator": [burst(700)]}
    plan = throughput.Plan(1, 1.0, (1, 16), ("200 B",))

    judged = throughput.result(plan, taken(**rounds), left_out=["left out: no haproxy here"])
    alone = throughput.result(plan, taken_of(Case("200 B", "/small", 1), rounds), left_out=[])

    assert [(each.measured, each.limit, each.passed) for each in judged.verdicts] == [
        (0, 0, True),
        (0.7, 0.7, True),
        (1.75, 1.4, True),
    ]
    assert judged.notes == ["left out: no haproxy here"]
    assert len(alone.verdicts) == 1


def test_a_chat_has_every_contestant_and_fails_by_ours_alone() -> None:
    case = Case("chat", "/v1/chat/completions", 16)
    measured = taken_of(case, {"litellm": [burst(10, errors=10)], "activator": [burst(500)]})

    result = chat.result(chat.PLANS[Size.QUICK], measured, left_out=[])

    assert [row["contestant"] for row in result.rows] == ["litellm", "activator"]
    assert result.passed
