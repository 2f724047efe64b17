"""The benchmark harness as a user runs it, as small as it gets: it still measures and reports."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from bench import redis_server, sizing, wrk
from bench.benchmarks import growth
from bench.contestant import Contestant
from bench.lab import Lab
from bench.machine import Cores
from bench.processes import LOOPBACK, free_port, python, started, wait_until_listening
from bench.report import Verdict
from bench.rounds import interleaved, percentile
from bench.size import Size
from bench.steady import CONNECTIONS, steady
from tests.redis_server import executable

if TYPE_CHECKING:
    from pathlib import Path


async def run_bench(*arguments: str) -> tuple[int | None, str, str]:
    """In a process of its own: it pins itself to a core."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", *arguments, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_a_benchmark_prints_a_table_and_verdicts_and_writes_what_it_measured(
    tmp_path: Path,
) -> None:
    status, out, err = await run_bench("cold", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "cold.json").read_text())
    assert [row["starts"] for row in written["rows"]] == [2, 2]
    assert all(gap > 0 for gaps in written["raw"]["seconds"].values() for gap in gaps)
    assert status == (0 if written["passed"] else 1)
    assert written["machine"]["pinning"] in out
    for verdict in written["verdicts"]:
        word = "PASS" if verdict["passed"] else "MISS"
        assert f"{word}  {verdict['what']}" in out


async def test_shared_slots_are_measured_where_there_is_a_redis(tmp_path: Path) -> None:
    executable()
    _, out, err = await run_bench("slots", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "slots.json").read_text())
    assert [row["times"] for row in written["rows"]] == [200, 200, 200]
    assert "acquire and release, p50 over a bare GET" in out


async def test_jobs_are_measured_and_none_is_lost(tmp_path: Path) -> None:
    executable()
    _, out, err = await run_bench("jobs", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "jobs.json").read_text())
    assert written["raw"]["jobs per second"] > 0
    assert written["raw"]["cpu to accept"] > 0
    assert written["raw"]["cpu to run"] > 0
    assert "PASS  jobs without a result, of 60: 0" in out


async def test_held_requests_are_measured_beside_their_bodies_and_with_redis_in_all(
    tmp_path: Path,
) -> None:
    executable()
    _, _, err = await run_bench("held", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "held.json").read_text())
    memory, redis = written["rows"]
    assert (memory["store"], redis["store"]) == ("memory", "redis")
    assert memory["PSS KiB"] - memory["judged KiB"] == 4.0
    assert redis["PSS KiB"] == redis["judged KiB"] > 0
    assert [verdict["limit"] for verdict in written["verdicts"]] == [4.0, 4.0]


async def test_a_start_is_measured(tmp_path: Path) -> None:
    _, out, err = await run_bench("start", "--smoke", "--out", str(tmp_path))

    assert err == ""
    (start,) = json.loads((tmp_path / "start.json").read_text())["raw"]["starts"]
    assert 0 < start["listening"] <= start["ready"]
    assert start["pss"] > 0
    assert "memory at rest, PSS" in out


async def test_many_endpoints_are_measured_beside_one(tmp_path: Path) -> None:
    if not wrk.installed():
        pytest.skip("no wrk here (apt install wrk)")
    _, out, err = await run_bench("endpoints", "--smoke", "--out", str(tmp_path))

    assert err == ""
    one, many = json.loads((tmp_path / "endpoints.json").read_text())["rows"]
    assert (one["endpoints"], many["endpoints"]) == (1, 300)
    assert one["errors"] == many["errors"] == 0
    assert 0 < many["listening s"] <= many["ready s"] <= many["at rest s"]
    assert "requests/s with 300, of one" in out


async def test_the_loops_lag_is_measured_while_all_endpoints_are_told_and_changed(
    tmp_path: Path,
) -> None:
    _, out, err = await run_bench("stalls", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "stalls.json").read_text())
    rows = {row["meanwhile"]: row for row in written["rows"]}
    assert {"at rest", "GET /metrics", "GET /api/endpoints", "one endpoint more"} <= set(rows)
    assert ("Redis cuts all connections" in rows) == redis_server.installed()
    assert all(row["worst lag ms"] > 0 for row in rows.values())
    assert all(row["MiB"] > 0 for what, row in rows.items() if what.startswith("GET"))
    assert "stopped, with 300 endpoints, after" in out


async def test_the_loops_lag_is_measured_beside_large_bodies(tmp_path: Path) -> None:
    _, out, err = await run_bench("models", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "models.json").read_text())
    assert [row["beside"] for row in written["rows"]] == ["alone", "2 bodies of 1 MiB"]
    assert all(one["lags"] and one["list"] for rounds in written["raw"].values() for one in rounds)
    assert "the loop's lag, p99 beside large bodies" in out


async def test_everybody_who_is_installed_takes_part_and_who_is_not_is_named(
    tmp_path: Path,
) -> None:
    if not wrk.installed():
        pytest.skip("no wrk here (apt install wrk)")
    _, out, err = await run_bench("throughput", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "throughput.json").read_text())
    told = {row["contestant"] for row in written["rows"]}
    missing = {note.split()[3] for note in written["notes"] if note.startswith("left out: no ")}
    assert {"direct", "activator", "activator, limited"} <= told
    assert {"nginx", "haproxy", "go"} == (told | missing) & {"nginx", "haproxy", "go"}
    assert all(f"left out: no {name} here" in out for name in missing)
    assert ("activator, Redis, limited" in told) is ("redis-server" not in missing)
    assert "PASS  the activator's requests not answered with 200: 0" in out


async def test_two_activators_are_measured_beside_one(tmp_path: Path) -> None:
    executable()
    if not wrk.installed():
        pytest.skip("no wrk here (apt install wrk)")
    _, out, err = await run_bench("several", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "several.json").read_text())
    assert [(row["endpoint"], row["activators"]) for row in written["rows"]] == [
        ("unlimited", 1),
        ("unlimited", 2),
        ("limited", 1),
        ("limited", 2),
    ]
    assert "PASS  requests not answered with 200: 0" in out


async def test_a_limit_through_redis_is_measured_beside_the_bare_round_trip(tmp_path: Path) -> None:
    executable()
    _, out, err = await run_bench("limited", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "limited.json").read_text())
    (pace,) = written["raw"]["paces"]
    assert all(seconds > 0 for kind in ("unlimited", "limited", "bare") for seconds in pace[kind])
    assert "p50 added by the limit at 200/s" in out


async def test_what_was_measured_by_another_interpreter_is_drawn(tmp_path: Path) -> None:
    """That one is this one here; what it is is told, in the figure too."""
    out_folder = ("--out", str(tmp_path))
    _, out, err = await run_bench("latency", "--smoke", "--python", sys.executable, *out_folder)
    status, drawn, _ = await run_bench("--plots", str(tmp_path / "images"), *out_folder)

    assert (err, status) == ("", 0)
    written = json.loads((tmp_path / "latency.json").read_text())
    assert written["machine"]["python_executable"] == sys.executable
    assert f"python build: {written['machine']['python_build']}" in out
    figure = tmp_path / "images" / "bench-latency.svg"
    assert drawn == f"{figure}\n"
    assert written["machine"]["python_build"] in figure.read_text()


async def test_an_interpreter_that_cannot_run_the_activator_is_refused() -> None:
    status, _, err = await run_bench("cold", "--smoke", "--python", "/none/such")

    assert status == 2
    assert "/none/such cannot be run" in err
    assert "Traceback" not in err


async def test_an_unknown_benchmark_is_refused_with_the_known_ones() -> None:
    status, _, err = await run_bench("cod")

    assert status == 2
    assert "no benchmark 'cod'; there are throughput, latency" in err
    assert "Traceback" not in err


def test_a_slow_server_is_charged_for_requests_that_could_not_be_sent(tmp_path: Path) -> None:
    """64 connections carry 320 requests of 200 ms a second; 640 a second are due. A generator
    that waits before it counts would see 200 ms throughout."""
    port = free_port()
    command = python("bench.recorder", "--port", str(port), "--work", "0.2")
    core = min(os.sched_getaffinity(0))
    with started(command, core=core, log=tmp_path / "log") as running:
        wait_until_listening(port, by=running)
        slow = Contestant("slow", (LOOPBACK, port), "slow", running)

        taken = steady(slow, path="/x", rate=640.0, seconds=0.5)

    assert CONNECTIONS == 64
    assert len(taken.latencies) == 320
    assert taken.latencies[0] < 0.3
    assert taken.p99 > 0.5


def test_a_limit_is_missed_beyond_it_in_its_own_direction() -> None:
    assert Verdict("memory", 12.0, 12.0, "KiB").passed
    assert not Verdict("memory", 12.1, 12.0, "KiB").passed
    assert Verdict("rate", 8000.0, 8000.0, "/s", at_least=True).passed
    assert not Verdict("rate", 7999.0, 8000.0, "/s", at_least=True).passed


def test_rounds_are_interleaved_and_each_begins_with_another_contestant() -> None:
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        return len(order)

    taken = interleaved(["a", "b"], rounds=2, measure=measure)

    assert order == ["a", "b", "b", "a"]
    assert taken == [[1, 4], [2, 3]]


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.5) == 3.0
    assert percentile([1.0, 2.0, 3.0, 4.0], 0.99) == 4.0
    assert percentile([7.0], 0.99) == 7.0


def test_growth_has_a_row_for_each_input_and_judges_each_way_of_reading(tmp_path: Path) -> None:
    result = growth.run(Lab(cores=Cores.choose(), size=Size.SMOKE, folder=tmp_path))

    ways = [str(row["read"]) for row in result.rows]
    assert {"head", "chunks", "client", "replica", "client by the byte"} <= set(ways)
    assert len(result.rows) == len(result.raw)
    for verdict, way in zip(result.verdicts, dict.fromkeys(ways), strict=True):
        assert verdict.what.startswith(f"{way}, the worst: ")
        times = [row["times longer"] for row in result.rows if row["read"] == way]
        assert verdict.measured in times


def test_a_cost_that_grows_with_the_square_is_beyond_the_limit_of_growth() -> None:
    now = 0.0

    def linear(size: int) -> None:
        nonlocal now
        now += size

    def squared(size: int) -> None:
        nonlocal now
        now += size**2

    for read, times in ((linear, 8), (squared, 64)):
        taken = growth.compare(read, 1, 8, rounds=2, clock=lambda: now)
        assert taken.times == times
        assert (taken.times > growth.LIMIT) == (read is squared)


async def test_the_benchmark_of_estimates_asks_before_and_during_starts(tmp_path: Path) -> None:
    status, out, err = await run_bench("eta", "--smoke", "--out", str(tmp_path))

    assert err == ""
    rows = {row["starts"]: row for row in json.loads((tmp_path / "eta.json").read_text())["rows"]}
    assert rows["steady"]["low s"] < 40.0 < rows["steady"]["high s"]
    assert rows["steady"]["corrected %"] == 0
    assert 10 < rows["cached or not"]["corrected %"] < 40
    assert rows["cached or not"]["high s"] > 100.0
    assert "MISS" not in out
    assert status == 0


async def test_what_sizing_reckons_with_is_measured(tmp_path: Path) -> None:
    executable()
    if not wrk.installed():
        pytest.skip("there is no wrk here")
    status, _, err = await run_bench("needs", "path", "--smoke", "--out", str(tmp_path))

    assert (status, err) == (0, "")
    taken = sizing.take(tmp_path)
    figures = asdict(taken.figures)
    endpoint_idle_us = figures.pop("endpoint_idle_us")  # too little to be seen in a second
    assert endpoint_idle_us >= 0
    assert all(figure > 0 for name, figure in figures.items() if name != "kernel_us")
    assert 0 <= taken.figures.kernel_us < 1.5 * taken.figures.request_us
    for place in sizing.PLACES[:3]:
        assert sizing.need(place, taken.figures).activators >= 1


async def test_collections_are_told_by_setting(
    tmp_path: Path,
) -> None:
    status, _, err = await run_bench("garbage", "--smoke", "--out", str(tmp_path))

    assert (status, err) == (0, "")
    told = json.loads((tmp_path / "garbage.json").read_text())["raw"]
    assert all(one["requests"] > 0 and one["full"] > 0 for one in told.values())
    assert told["frozen, off"]["counts"] == [0, 0, 0]
    assert told["frozen, off"]["total"] == 0
