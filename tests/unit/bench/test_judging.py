"""Verdicts of the benchmarks on latency, on the limit through Redis, and on several activators."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from bench.benchmarks import latency, limited, several
from bench.benchmarks.limited import Pace
from bench.benchmarks.several import Both, Kind
from bench.bursts import Case
from bench.bursts import Taken as Bursts
from bench.contestant import Contestant
from bench.paces import Taken
from bench.size import Size
from bench.steady import Steady
from bench.wrk import Burst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.processes import Running

NOWHERE = cast("Running", None)


def steady(p50: float, p99: float) -> Steady:
    """Microseconds."""
    latencies = [p50 / 1e6] * 98 + [p99 / 1e6] * 2
    return Steady(latencies=latencies, lateness=[1e-6])


def paced(**rounds: Sequence[Steady]) -> Taken:
    field = [Contestant(name, ("127.0.0.1", 1), name, NOWHERE) for name in rounds]
    return Taken(field, {200.0: list(rounds.values())})


def test_what_is_added_is_judged_by_what_nginx_adds_and_the_tail_by_nginx_s() -> None:
    taken = paced(direct=[steady(50, 100)], nginx=[steady(100, 200)], activator=[steady(125, 250)])

    result = latency.result(latency.PLANS[Size.SMOKE], taken, notes=[])

    assert [(round(one.measured, 6), one.limit, one.passed) for one in result.verdicts] == [
        (1.5, 1.4, False),
        (1.25, 1.3, True),
    ]
    added = {row["contestant"]: row["added p50 µs"] for row in result.rows}
    assert added == {
        "direct": None,
        "nginx": pytest.approx(50),
        "activator": pytest.approx(75),
    }


def test_what_is_added_is_taken_between_runs_of_one_round() -> None:
    """A machine that turned slow for the second and third round adds nothing of its own."""
    taken = paced(
        direct=[steady(50, 100), steady(500, 900), steady(700, 900)],
        activator=[steady(120, 200), steady(570, 900), steady(770, 900)],
    )

    assert taken.added("activator", rate=200.0) == pytest.approx(70e-6)


def test_where_nginx_adds_nothing_to_be_seen_that_is_told_instead_of_judged() -> None:
    taken = paced(direct=[steady(100, 200)], nginx=[steady(100, 200)], activator=[steady(150, 250)])

    result = latency.result(latency.PLANS[Size.SMOKE], taken, notes=[])

    assert [one.what for one in result.verdicts] == ["activator, p99 of nginx's, 200/s"]
    assert result.notes == ["200/s: nginx added nothing to be seen, nothing to judge by"]


def test_a_limit_that_takes_time_away_is_told_instead_of_passed() -> None:
    pace = Pace(200.0, unlimited=[150e-6], limited=[100e-6], bare=[20e-6])

    result = limited.result(limited.PLANS[Size.SMOKE], [pace], Bursts([], {}), notes=[])

    assert list(result.verdicts) == []
    assert result.notes[0].startswith("200/s: with a limit it was faster than without")


def test_an_activator_faster_than_no_proxy_is_told_instead_of_passed() -> None:
    taken = paced(direct=[steady(100, 200)], nginx=[steady(150, 300)], activator=[steady(90, 250)])

    result = latency.result(latency.PLANS[Size.SMOKE], taken, notes=[])

    assert [one.what for one in result.verdicts] == ["activator, p99 of nginx's, 200/s"]
    assert result.notes == ["200/s: the activator added nothing to be seen, nothing to judge by"]


def test_without_nginx_nothing_is_judged_and_all_is_shown() -> None:
    result = latency.result(
        latency.PLANS[Size.SMOKE],
        paced(direct=[steady(50, 100)], activator=[steady(125, 250)]),
        notes=["left out: no nginx here"],
    )

    assert (list(result.verdicts), result.notes) == ([], ["left out: no nginx here"])
    assert len(result.rows) == 2


def test_a_limit_may_add_two_and_a_half_bare_round_trips() -> None:
    within = Pace(200.0, unlimited=[100e-6], limited=[150e-6], bare=[20e-6])
    beyond = Pace(2000.0, unlimited=[100e-6], limited=[152e-6], bare=[20e-6])
    field = [
        Contestant(name, ("127.0.0.1", 1), name, NOWHERE, is_ours=True)
        for name in ("unlimited", "limited")
    ]
    case = Case("200 B", "/small", 16)
    # half of its core for 4 000: it would do 8 000 with all of it
    half = Burst(rate=4000.0, requests=4000, errors=0, cpu_seconds=0.5, busy=0.5)
    bursts = Bursts(field, {case: [[half], [half]]})

    result = limited.result(limited.PLANS[Size.SMOKE], [within, beyond], bursts, notes=[])

    assert [(round(one.measured, 6), one.limit, one.passed) for one in result.verdicts] == [
        (0, 0, True),
        (2.5, 2.5, True),
        (2.6, 2.5, False),
        (8000, 8000, True),
    ]


def test_without_a_load_generator_no_request_is_said_to_have_been_answered() -> None:
    pace = Pace(200.0, unlimited=[100e-6], limited=[150e-6], bare=[20e-6])

    result = limited.result(limited.PLANS[Size.SMOKE], [pace], Bursts([], {}), notes=["no wrk"])

    assert [one.what for one in result.verdicts] == ["p50 added by the limit at 200/s"]


def test_two_activators_are_judged_by_their_rate_where_each_has_a_core() -> None:
    kind = Kind("limited", one=[Both(1000.0, 100.0, 0)], two=[Both(1700.0, 105.0, 0)])

    result = several.result(several.PLANS[Size.SMOKE], [kind], can_tell=True)

    gain, errors = result.verdicts
    assert (gain.measured, gain.passed, errors.passed) == (1.7, False, True)
    assert result.notes == []


def test_on_too_few_cores_two_activators_are_judged_by_cpu_time_and_that_is_said() -> None:
    kind = Kind("limited", one=[Both(1000.0, 100.0, 0)], two=[Both(1100.0, 105.0, 1)])

    result = several.result(several.PLANS[Size.SMOKE], [kind], can_tell=False)

    dearer, errors = result.verdicts
    assert (dearer.measured, dearer.passed) == (1.05, True)
    assert not errors.passed
    assert result.notes[0].startswith("too few cores to tell what a second activator is worth")


def test_two_at_once_count_as_one() -> None:
    bursts = [
        Burst(rate=300.0, requests=300, errors=1, cpu_seconds=0.3, busy=0.3),
        Burst(rate=100.0, requests=100, errors=0, cpu_seconds=0.5, busy=0.5),
    ]

    assert Both.of(bursts) == Both(rate=400.0, cpu_us=2000.0, errors=1)
