"""Verdicts of the benchmark on a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bench.benchmarks import gpu
from bench.benchmarks.gpu import Taken
from bench.model_starts import Burst, Plan, Return, Start
from bench.nvidia import Reading

PLAN = Plan("8B", rounds=3, tokens=16, rest=4.0, burst=3)
START = Start(
    took=10.0,
    ordered=0.001,
    loaded=9.0,
    found=0.002,
    answered=0.997,
    text="1 2",
    memory=16_000.0,
    power=120.0,
)
BACK = Return(after=2.5, is_gone=True, kept=0.0)


def taken(
    *beyond: float, back: Return = BACK, numbers: tuple[int | None, ...] = (0, 1, 2)
) -> Taken:
    """Starts through the activator that reach the model so many seconds later, the last with
    `back`."""
    ours = [
        replace(START, took=START.took + more, found=START.found + more, power=100.0)
        for more in beyond
    ]
    backs = [*[BACK] * (len(ours) - 1), back]
    return Taken(
        before=Reading(memory=0.0, power=73.2),
        by_hand=[START] * len(ours),
        through=list(zip(ours, backs, strict=True)),
        burst=Burst(20.0, numbers),
    )


def missed(measured: Taken) -> list[str]:
    return [one.what for one in gpu.result(PLAN, measured, notes=[]).verdicts if not one.passed]


def test_what_the_activator_adds_is_the_median_of_the_rounds() -> None:
    result = gpu.result(PLAN, taken(0.05, 3.0, 0.1), notes=["a card"])

    assert result.verdicts[0].measured == pytest.approx(100)
    assert result.passed
    by_hand, ours = result.rows
    assert (by_hand["to answer s"], by_hand["W"], by_hand["W while"]) == (10.0, 120.0, "loaded")
    assert (ours["worst s"], ours["W"], ours["W while"]) == (13.0, 100.0, "just at 0")
    assert result.notes[:3] == [
        "a card",
        "a start took 10.00 to 10.00 s by hand, 10.05 to 13.00 s through the activator",
        "before the first start the GPU had 0 MiB in use and drew 73 W",
    ]


def test_loading_that_takes_longer_is_no_fault_of_the_activator_s() -> None:
    slow = replace(START, took=14.0, loaded=13.0)
    result = gpu.result(PLAN, replace(taken(0.1), through=[(slow, BACK)]), notes=[])

    assert result.verdicts[0].measured == pytest.approx(0)


def test_a_slow_start_kept_memory_and_a_process_left_are_missed() -> None:
    assert missed(taken(0.2, 0.2, 0.0)) == ["added to a start by hand, median"]
    assert missed(taken(0.1, back=replace(BACK, kept=500.0))) == [
        "GPU memory in use at zero beyond before, worst"
    ]
    assert missed(taken(0.1, back=replace(BACK, is_gone=False))) == ["processes left at zero"]


def test_a_burst_has_to_be_answered_whole_and_in_order() -> None:
    assert missed(taken(0.1, numbers=(0, None, 1))) == ["of 3 at once not answered"]
    assert missed(taken(0.1, numbers=(0, 2, 1))) == ["and answered out of order"]


def test_a_card_that_does_not_tell_its_power_leaves_it_out() -> None:
    silent = [replace(START, power=None)]
    result = gpu.result(PLAN, replace(taken(0.1), by_hand=silent), notes=[])

    assert [row["W"] for row in result.rows] == [None, 100.0]
