"""The benchmark of a cluster, as small as it gets: it still measures and reports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.bench.test_bench import run_bench

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.usefixtures("control_plane")
async def test_a_cold_start_is_measured_beside_one_that_waits_for_ready(tmp_path: Path) -> None:
    _, out, err = await run_bench("cluster", "--smoke", "--out", str(tmp_path))

    assert err == ""
    written = json.loads((tmp_path / "cluster.json").read_text())
    ours, other = written["rows"]
    assert (ours["path"], ours["starts"]) == ("activator", 1)
    assert (other["path"], other["starts"]) == ("waits for Ready", 1)
    assert 0 < ours["listening to first, p50 ms"] < other["listening to first, p50 ms"]
    assert written["raw"]["idle"]["endpoints"] == 20
    assert written["raw"]["idle"]["rss"] > 20 << 20
    assert "memory, 20 endpoints at zero" in out
