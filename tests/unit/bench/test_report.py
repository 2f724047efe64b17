"""What is printed beside a table: whether the machine was quiet."""

from __future__ import annotations

import pytest

from bench import report
from bench.report import Result


@pytest.mark.parametrize(
    ("bystanders", "stolen", "told"),
    [
        (0.04, 0.0, []),
        (0.1, 0.0, ["other processes used 0.10 cores meanwhile: not quiet"]),
        (0.0, 0.2, ["the host gave 0.20 cores to others meanwhile: not quiet"]),
        (
            1.5,
            0.0,
            [
                "other processes used 1.50 cores meanwhile: not quiet, and what passes or misses by"
                " time does so by luck"
            ],
        ),
    ],
)
def test_who_else_used_the_machine_is_told_beyond_a_twentieth_of_a_core(
    bystanders: float, stolen: float, told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report.print_result(Result("n", "t", {}, ()), bystanders=bystanders, stolen=stolen)

    printed = " ".join(capsys.readouterr().out.split())
    assert printed == " ".join(["n: t", *(f"note {each}" for each in told)])
