"""The table of metrics and what is scraped cannot disagree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from activator.telemetry.docs import BEGIN, END, main, render, updated
from activator.telemetry.exposition import Format
from activator.telemetry.metrics import Metrics

PAGE = Path(__file__).parents[3] / "docs" / "operations.md"


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text("utf-8")
    assert updated(page) == page, f"run: python -m activator.telemetry.docs {PAGE}"


def test_every_metric_has_its_row_with_its_name_as_scraped() -> None:
    exposed = "".join(Metrics().render(Format.PLAIN))
    families = set(re.findall(r"^# TYPE (activator_\w+) ", exposed, re.MULTILINE))
    assert families == set(re.findall(r"^\| `(activator_\w+)`", render(), re.MULTILINE))


def test_a_row_tells_labels_besides_the_endpoint_and_what_is_the_processs() -> None:
    rows = render()
    assert "| `activator_cold_starts_total` | counter | `outcome` | starts from zero" in rows
    assert "| `activator_leader` | gauge | process | 1 while" in rows


def test_a_page_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the lines"):
        updated("nothing here")


def test_only_what_stands_between_the_markers_is_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    main(page)
    written = page.read_text()
    assert written.startswith(f"before\n{BEGIN}\n\n| metric |")
    assert written.endswith(f"{END}\nafter\n")
    assert "old" not in written.split("\n")
