"""The gate on what a request costs: it counts what it says, and lets nothing grow by a fifth."""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bench.benchmarks.path import MARGIN, PYTHON, judge, read_record, write_record
from bench.report import Result
from bench.steps import Steps, count, thousand

if TYPE_CHECKING:
    from pathlib import Path

CASES = {
    "GET, the same head",
    "GET, another head each time",
    "POST, 2 KiB, by its model",
    "a chunk of a stream",
}


async def test_a_request_costs_at_most_a_fifth_more_than_was_recorded(tmp_path: Path) -> None:
    """In a process of its own: what is counted must not depend on what was played before."""
    recorded = read_record().get(PYTHON)
    if recorded is None:
        pytest.skip(f"nothing is recorded for Python {PYTHON}: python -m bench path --record")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", "path", "--smoke", "--out", str(tmp_path)),
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()

    assert err.decode() == ""
    written = json.loads((tmp_path / "path.json").read_text())
    counted = {row["request"]: row for row in written["rows"]}
    assert set(counted) == set(recorded) == CASES
    for name, row in counted.items():
        before = recorded[name]["bytecodes"]
        assert row["bytecodes"] <= MARGIN * before, (
            f"{name}: {row['bytecodes']} bytecodes, and {before} are recorded; if that has to be"
            " so: python -m bench path --record"
        )
        assert row["bytecodes"] > row["Python calls"] > 0
        assert row["CPU µs"] > 0
    assert (process.returncode, written["passed"]) == (0, True)
    assert out.decode().count("PASS") == len(CASES)


def test_a_fifth_more_than_was_recorded_is_the_most() -> None:
    counted = {"a": Steps(bytecodes=1200, calls=40, c_calls=20)}

    (enough,) = judge(counted, {"a": {"bytecodes": 1000}})
    (beyond,) = judge(counted, {"a": {"bytecodes": 999}})

    assert enough.passed
    assert not beyond.passed
    assert not Result("path", "", {}, (), verdicts=[enough, beyond]).passed


def test_what_was_not_recorded_is_not_judged() -> None:
    assert judge({"new": Steps(1000, 10, 10)}, {"old": {"bytecodes": 10}}) == []


def test_recording_replaces_this_version_of_python_and_keeps_the_others(tmp_path: Path) -> None:
    file = tmp_path / "path.json"
    file.write_text(json.dumps({"3.1": {"a": {"bytecodes": 7}}, PYTHON: {"b": {"bytecodes": 8}}}))

    write_record({"a": Steps(1000, 40, 20)}, file)

    assert read_record(file) == {
        "3.1": {"a": {"bytecodes": 7}},
        PYTHON: {"a": {"bytecodes": 1000, "calls": 40, "c_calls": 20}},
    }


def test_a_fifth_more_work_is_a_fifth_more_bytecodes() -> None:
    def work(times: int) -> None:
        for _ in range(times):
            thousand()

    five, six = (count(partial(work, times), times=1) for times in (5, 6))

    assert six.bytecodes / five.bytecodes == pytest.approx(1.2, abs=0.001)
    assert not judge({"work": six}, {"work": {"bytecodes": round(0.99 * five.bytecodes)}})[0].passed


def test_calls_are_counted_by_who_is_called() -> None:
    def one(value: object) -> str:
        return str(value)

    def run() -> None:
        one(len((1, 2)))
        one(max(1, 2))

    steps = count(run, times=3)

    assert steps.calls == 3
    assert steps.c_calls == 2  # a class such as str is no function
    assert steps == replace(steps, bytecodes=count(run, times=1).bytecodes)


def test_counting_leaves_the_tracer_that_was_there() -> None:
    seen: list[str] = []

    def tracer(frame: object, event: str, arg: object) -> None:
        seen.append(event)

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        count(thousand, times=1)
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(before)
