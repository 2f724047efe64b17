"""Alerts and dashboards: about metrics that there are, and alerts that fire when they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import yaml

from activator.telemetry.exposition import Format
from activator.telemetry.metrics import Metrics

DEPLOY = Path(__file__).parents[3] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yaml"
_METRIC = re.compile(r"\bactivator_[a-z_]+")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")


def exposed() -> set[str]:
    """As they are scraped, and the parts of histograms."""
    text = "".join(Metrics().render(Format.PLAIN))
    return set(re.findall(r"^# TYPE (activator_\w+) ", text, re.MULTILINE))


def unknown(expression: str) -> set[str]:
    return {name for name in _METRIC.findall(expression) if _SUFFIX.sub("", name) not in exposed()}


def rules() -> list[dict[str, Any]]:
    return [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_an_alert_is_about_metrics_there_are_says_what_is_wrong_and_is_tried(
    rule: dict[str, Any],
) -> None:
    assert not unknown(rule["expr"])
    assert rule["annotations"].keys() == {"summary", "description"}
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    tried = "".join(path.read_text() for path in ALERTS.parent.glob("*_test.yaml"))
    assert f'alertname="{rule["alert"]}"' in tried or f"alertname: {rule['alert']}\n" in tried


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool on PATH; Debian: apt install prometheus"
)
def test_alerts_fire_when_they_should_and_only_then() -> None:
    ran = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yaml", "alerts_cost_test.yaml"],
        cwd=ALERTS.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_dashboards_are_what_their_builder_writes() -> None:
    built = run_path(str(DEPLOY / "grafana" / "build.py"), run_name="build")
    there = {path.stem: path.read_text() for path in (DEPLOY / "grafana").glob("*.json")}

    assert there == {name: built["rendered"](name) for name in built["DASHBOARDS"]}


def test_dashboards_show_metrics_there_are_and_their_panels_do_not_overlap() -> None:
    for path in (DEPLOY / "grafana").glob("*.json"):
        panels = json.loads(path.read_text())["panels"]
        for panel in panels:
            assert not unknown(" ".join(target["expr"] for target in panel["targets"]))
        boxes = [panel["gridPos"] for panel in panels]
        cells = [
            (x, y)
            for box in boxes
            for x in range(box["x"], box["x"] + box["w"])
            for y in range(box["y"], box["y"] + box["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


def test_every_metric_is_shown_somewhere() -> None:
    shown = "".join(path.read_text() for path in DEPLOY.glob("grafana/*.json")) + ALERTS.read_text()
    names = {_SUFFIX.sub("", name) for name in _METRIC.findall(shown)}

    assert exposed() - names == set()
