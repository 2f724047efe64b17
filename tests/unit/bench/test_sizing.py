"""The model of how much a place needs, on figures that are easy to reckon with; and its page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.sizing import FULL, PLACES, Figures, Place, Record, keep, need, read, take, updated

ROOT = Path(__file__).parents[3]
FIGURES = Figures(
    request_us=100.0,
    limited_us=150.0,
    chat_us=200.0,
    chunk_us=5.0,
    kernel_us=20.0,
    limited_redis_us=30.0,
    held_redis_us=200.0,
    job_redis_us=400.0,
    process_mib=50.0,
    held_kib=4.0,
    held_redis_kib=8.0,
    job_redis_kib=16.0,
    endpoint_kib=32.0,
    endpoint_idle_us=10.0,
)


def test_requests_cost_by_their_kind_and_chunks_half_of_the_kernels_part() -> None:
    plain = need(Place("", requests=1000), FIGURES)
    limited = need(Place("", requests=1000, limited=0.5), FIGURES)
    chat = need(Place("", requests=1000, limited=1, chat=1), FIGURES)
    streams = need(Place("", requests=0, chunks=10_000), FIGURES)

    assert plain.cores == pytest.approx(0.1)
    assert limited.cores == pytest.approx(0.125)
    assert chat.cores == pytest.approx(0.35)
    assert streams.cores == pytest.approx(0.15)


def test_one_activator_is_enough_until_its_core_is_full_and_then_one_more_may_fail() -> None:
    most = FULL * 1e6 / FIGURES.request_us

    assert need(Place("", requests=most - 1), FIGURES).activators == 1
    assert need(Place("", requests=most + 1), FIGURES).activators == 3
    assert need(Place("", requests=10 * most - 1), FIGURES).activators == 11


def test_open_files_are_clients_and_what_is_at_replicas() -> None:
    place = Place("", requests=1, connections=10_000, held=4_000)

    assert need(place, FIGURES, files=16_300).files == 16_300
    assert need(place, FIGURES, files=16_300).activators == 1
    assert need(place, FIGURES, files=16_299).activators == 3


def test_connections_are_divided_and_each_carries_what_one_that_fails_has_left() -> None:
    place = Place("", requests=1, connections=1_000_000, held=1_000_000)

    needs = need(place, FIGURES)

    assert needs.activators == 20 + 1
    assert needs.files == 50_000 + 300
    assert needs.mib == pytest.approx(50 + 50_000 * 4 / 1024)
    assert needs.redis_mib == pytest.approx(1.5 * 1_000_000 * 8 / 1024)


def test_every_activator_pays_for_every_endpoint_of_its_installation() -> None:
    few = need(Place("", requests=1, endpoints=20_000), FIGURES)
    many = need(Place("", requests=1, endpoints=100_000), FIGURES)

    assert (few.installations, few.activators) == (1, 1)
    assert few.mib == pytest.approx(50 + 20_000 * 32 / 1024)
    assert few.cores == pytest.approx(0.2, abs=0.001)
    assert (many.installations, many.activators) == (5, 5)
    assert many.mib == pytest.approx(few.mib)
    assert many.cores == pytest.approx(1.0, abs=0.001)


def test_endpoints_at_rest_leave_less_of_a_core_for_requests() -> None:
    requests = FULL * 1e6 / FIGURES.request_us - 1

    alone = need(Place("", requests=requests), FIGURES)
    beside = need(Place("", requests=requests, endpoints=1_000), FIGURES)

    assert (alone.activators, beside.activators) == (1, 3)


def test_redis_works_for_limited_requests_and_for_what_arrives_to_wait() -> None:
    place = Place("", requests=1000, limited=0.5, holding=100, recording=10, held=10, jobs=100)

    needs = need(place, FIGURES)

    assert needs.redis == pytest.approx((500 * 30 + 100 * 200 + 10 * 400) / 1e6)
    assert needs.redis_mib == pytest.approx(1.5 * (10 * 8 + 100 * 16) / 1024)


def test_dearer_figures_never_need_less() -> None:
    for place in PLACES:
        before = need(place, FIGURES)
        dearer = need(place, replace(FIGURES, request_us=200.0, limited_us=300.0, held_kib=8.0))
        assert dearer.activators >= before.activators
        assert dearer.mib > before.mib


def test_the_page_shows_the_figures_that_are_kept() -> None:
    page = (ROOT / "docs/sizing.md").read_text(encoding="utf-8")

    assert updated(page, read()) == page


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        updated("# Sizing\n", Record("2026-01-01", "a machine", FIGURES))


def test_what_the_benchmarks_have_written_is_taken_over_and_kept(tmp_path: Path) -> None:
    figures = {
        "request_cpu_us": 40.04,
        "request_kernel_us": 10.0,
        "limited_request_cpu_us": 60.0,
        "limited_request_redis_us": 20.0,
        "limited_request_redis_scripts": 0.5,
        "job_redis_kib": 7.0,
        "job_accepted_redis_us": 500.0,
        "held_kib": 4.0,
        "held_redis_kib": 6.0,
        "held_redis_us": 130.0,
        "process_mib": 47.0,
        "endpoint_kib": 45.0,
        "endpoint_idle_cpu_us": 3.0,
    }
    machine = {
        "cores": 2,
        "cpu": "Some CPU",
        "kernel": "6.1",
        "python": "3.11.7",
        "uvloop": "0.23.0",
        "used_by_others": 1.56,
    }
    (tmp_path / "needs.json").write_text(
        json.dumps({"machine": machine, "raw": {"figures": figures}})
    )
    rows = [
        {"request": "GET, the same head", "CPU µs": 30.0},
        {"request": "GET, another head each time", "CPU µs": 70.0},
        {"request": "POST, 2 KiB, by its model", "CPU µs": 150.0},
        {"request": "a chunk of a stream", "CPU µs": 2.5},
    ]
    (tmp_path / "path.json").write_text(json.dumps({"rows": rows}))

    keep(take(tmp_path), tmp_path / "sizing.json")
    kept = read(tmp_path / "sizing.json")

    assert kept.machine.startswith("2 cores of Some CPU, Linux 6.1, Python 3.11.7")
    assert kept.figures.request_us == 40.0
    assert (kept.figures.chat_us, kept.figures.chunk_us) == (120.0, 2.5)
    assert kept.figures.endpoint_idle_us == 3.0
