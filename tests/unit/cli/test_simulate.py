"""`activator simulate`: what is asked, what is told, and what is refused with its reason."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from activator.cli import main
from tests.unit.cli.support import exits

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A burst each two hours, of a Thursday."""
    file = tmp_path / "trace.csv"
    bursts = [1.7640288e9 + 7200 * i + j for i in range(12) for j in range(20)]
    file.write_text("time,duration\n" + "".join(f"{at},0.5\n" for at in bursts))
    return file


def test_compares_idle_timeouts_in_a_table(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(trace), "--idle", "5m,3h", "--start", "40s", "--price", "2"]) == 0

    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0][:2] == ["POLICY", "COLD"]
    assert [row[:3] for row in rows[1:]] == [
        ["idle", "5m", "12"],
        ["idle", "3h", "1"],
        ["always", "on", "0"],
    ]
    assert "240 requests within 22h00m; a cold start takes 40s (given)" in said.err


def test_json_says_the_same_to_programs(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(trace), "--idle", "5m,3h", "--start", "40s", "--json"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert (told["requests"], told["cold_start"]) == (240, {"seconds": [40.0], "origin": "given"})
    first = told["policies"][0]
    assert (first["policy"], first["cold_starts"]) == ("idle 5m", 12)
    assert first["wait_p95_seconds"] == 40.0
    assert first["replica_hours"] == pytest.approx(12 * (40 + 1 + 300) / 3600, rel=0.1)


def test_an_assumed_start_is_told_as_such(trace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", str(trace), "--idle", "5m"]) == 0

    assert "a cold start takes 1m00s (assumed; --start says better)" in capsys.readouterr().err


def test_schedules_and_bounds_are_policies_too(
    trace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--idle", "5m,never", "--min", "0,1", "--max", "1,2"]
    assert main(["simulate", str(trace), *asked, "--schedule", "mon-fri 8:00-18:00", "--json"]) == 0

    names = [each["policy"] for each in json.loads(capsys.readouterr().out)["policies"]]
    assert names == [
        f"{name}, max {most}{hours}"
        for most in (1, 2)
        for name, hours in [
            ("idle 5m", ""),
            ("idle never", ""),
            ("idle 5m", ", mon-fri 8:00-18:00"),
            ("idle never", ", mon-fri 8:00-18:00"),
            ("min 1", ""),
        ]
    ]


def test_writes_a_plot(trace: Path, tmp_path: Path) -> None:
    plot = tmp_path / "costs.svg"

    assert main(["simulate", str(trace), "--plot", str(plot)]) == 0

    assert plot.read_text().startswith("<svg ")


def test_reads_what_gzip_has_packed(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress(trace.read_bytes()))

    assert main(["simulate", str(packed), "--idle", "5m", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["requests"] == 240


def test_an_endpoint_of_the_configuration_gives_bounds_and_price(
    trace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        "endpoints:\n"
        "  - name: a\n"
        "    match: {hosts: [a.example.com]}\n"
        "    backend: {type: static, urls: ['http://127.0.0.1:9']}\n"
        "    costPerReplicaHour: 36\n"
        "    scale: {startTimeout: 30s}\n"
    )

    assert main(["simulate", str(trace), "-c", str(config), "--start", "20s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"][0]["cost"] > 1

    assert exits(["simulate", str(trace), "-c", str(config), "--start", "40s"]) == 2
    assert "would be given up after startTimeout, 30 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--idle", "soon"], "--idle: 'soon' is not a duration"),
        (["--min", "-1"], "--min takes a whole number from 0, not '-1'"),
        (["--price", "nan"], "--price takes a number from 0, not 'nan'"),
        (["--schedule", "noon"], "'noon' is no schedule"),
        (["--timezone", "Mars/Base"], "there is no time zone 'Mars/Base' here"),
        (["--start", "learned"], "--start learned needs --endpoint"),
        (["--min", "2", "--max", "1"], "no minimum of --min is within a maximum of --max"),
        (["--start", "0s", "--service", "never"], "--service: 'never' is not a duration"),
    ],
)
def test_wrong_options_are_2_and_say_why(
    trace: Path, options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits(["simulate", str(trace), *(f"{o}" for o in options)]) == 2
    assert why in capsys.readouterr().err


def test_a_schedule_needs_dates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    relative = tmp_path / "t.csv"
    relative.write_text("0,1\n5,1\n")

    assert exits(["simulate", str(relative), "--schedule", "8:00-9:00"]) == 2
    assert "a schedule needs a trace that tells the date" in capsys.readouterr().err


def test_a_trace_that_cannot_be_read_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits(["simulate", str(tmp_path / "none.csv")]) == 2
    broken = tmp_path / "t.csv.gz"
    broken.write_bytes(gzip.compress(b"1,2\n")[:-6])
    assert exits(["simulate", str(broken)]) == 2
    said = capsys.readouterr().err
    assert "No such file" in said
    assert "is no text, or cut off" in said
