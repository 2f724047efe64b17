"""Figures for the docs, drawn from what a benchmark has written."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench import plots
from bench.bars import Bar, Panel, svg
from bench.failure import BenchError

SVG = "{http://www.w3.org/2000/svg}"
RECORDED = Path(__file__).parent / "recorded"


def words(figure: str) -> list[str]:
    root = ElementTree.fromstring(figure)
    return [text for each in root.iter(f"{SVG}text") if (text := each.text)]


def test_a_recorded_run_becomes_a_figure_with_names_values_axis_and_machine(tmp_path: Path) -> None:
    written = plots.write(RECORDED, into=tmp_path / "images")

    assert [path.name for path in written] == ["bench-throughput.svg", "bench-latency.svg"]
    throughput, latency = (words(path.read_text(encoding="utf-8")) for path in written)
    assert {"200 B, 1 connection", "200 B, 16 connections", "nginx", "activator"} <= set(throughput)
    assert {"1,752", "5,425"} <= set(throughput), "the median rounds"
    assert "requests/s (longer is better)" in throughput
    assert any("2 cores" in each and "others used 1.56 cores" in each for each in throughput)
    assert {"200 requests/s", "median of the latency, µs (shorter is better)"} <= set(latency)


def test_nothing_run_and_another_version_s_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"nothing to draw in .*: run throughput, latency, chat"):
        plots.write(tmp_path, into=tmp_path)
    content: dict[str, Any] = json.loads((RECORDED / "latency.json").read_text(encoding="utf-8"))
    del content["machine"]["python_build"]
    (tmp_path / "latency.json").write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(BenchError, match=r"another version, run it again: .*python_build"):
        plots.write(tmp_path, into=tmp_path)


def test_bars_are_as_long_as_their_values_and_the_whisker_reaches_from_round_to_round() -> None:
    panel = Panel(
        "p", "s", [Bar("a & b", 50.0, 40.0, 100.0, True), Bar("c", 100.0, 100.0, 100.0, False)]
    )

    root = ElementTree.fromstring(svg([panel], columns=1, title="t", subtitle="u"))

    background, first, second = root.iter(f"{SVG}rect")
    assert background.get("fill") == "#ffffff"
    long, short = float(second.get("width", "")), float(first.get("width", ""))
    assert short == pytest.approx(long / 2, abs=0.1)
    assert first.get("fill") != second.get("fill"), "ours has a colour of its own"
    left = float(first.get("x", ""))
    (whisker,) = (each for each in root.iter(f"{SVG}line") if each.get("y1") == each.get("y2"))
    assert float(whisker.get("x1", "")) == pytest.approx(left + 0.4 * long, abs=0.1)
    assert float(whisker.get("x2", "")) == pytest.approx(left + long, abs=0.1)
    assert "a & b" in [each.text for each in root.iter(f"{SVG}text")]


def test_figures_under_an_axis_do_not_lie_upon_each_other() -> None:
    panel = Panel("p", "requests/s", [Bar("a", 140_000.0, 1.0, 150_000.0, True)])
    root = ElementTree.fromstring(svg([panel] * 3, columns=3, title="t", subtitle="s"))

    under: dict[str, list[float]] = {}
    for each in root.iter(f"{SVG}text"):
        if each.get("text-anchor") == "middle" and (each.text or "").replace(",", "").isdigit():
            under.setdefault(each.get("y") or "", []).append(float(each.get("x") or 0.0))
    (places,) = under.values()
    assert len(places) >= 3
    assert all(right - left >= 50 for left, right in pairwise(places))
