"""Writes the Grafana dashboards beside it: `python deploy/grafana/build.py`.

A panel is a line here; where it stands follows from the order. Replicas, starts and costs are told
alike by every activator, so they are taken at their largest; requests and clients are summed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    queries: tuple[tuple[str, str], ...]
    """(PromQL, legend) each."""
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    """Of 24."""
    stacked: bool = False
    about: str = ""


def _of(metric: str, *more: str) -> str:
    chosen = ", ".join(['endpoint=~"$endpoint"', *more])
    return f"activator_{metric}{{{chosen}}}"


def _summed(expression: str, *by: str) -> str:
    return f"sum by ({', '.join(by)}) ({expression})" if by else f"sum({expression})"


def _largest(expression: str, *by: str) -> str:
    return f"max by ({', '.join(by)}) ({expression})"


def _rate(metric: str, *more: str) -> str:
    return f"rate({_of(metric, *more)}[$__rate_interval])"


def _within(metric: str, span: str) -> str:
    return f"increase({_of(metric)}[{span}])"


def _all(metric: str, span: str) -> str:
    """Of all endpoints together, told by one activator each."""
    return _summed(_largest(_within(metric, span), "endpoint"))


def _quantiles(metric: str, *shares: float) -> tuple[tuple[str, str], ...]:
    buckets = _summed(_rate(f"{metric}_bucket"), "le")
    return tuple((f"histogram_quantile({s}, {buckets})", f"p{100 * s:g}") for s in shares)


def _phases(share: float) -> tuple[tuple[str, str], ...]:
    buckets = _summed(_rate("cold_start_seconds_bucket"), "le", "phase")
    return ((f"histogram_quantile({share}, {buckets})", "{{phase}}"),)


def _stat(title: str, query: str, *, width: int = 4, unit: str = "short", about: str = "") -> Panel:
    return Panel(title, ((query, ""),), kind="stat", width=width, unit=unit, about=about)


def _graph(
    title: str,
    query: str,
    legend: str,
    *,
    stacked: bool = False,
    unit: str = "short",
    width: int = 12,
) -> Panel:
    return Panel(title, ((query, legend),), stacked=stacked, unit=unit, width=width)


BY_ENDPOINT = "{{endpoint}}"
BY_STATE = "{{endpoint}} {{state}}"

REPLICAS = _graph(
    "Replicas by state", _largest(_of("replicas"), "endpoint", "state"), BY_STATE, stacked=True
)
REQUESTS = _graph(
    "Answers a second",
    _summed(_rate("requests_total"), "code", "reason"),
    "{{code}} {{reason}}",
    unit="reqps",
    stacked=True,
)
HELD = _graph(
    "Clients that wait", _summed(_of("held_requests"), "endpoint"), BY_ENDPOINT, stacked=True
)
IN_FLIGHT = _graph("In flight", _summed(_of("inflight_requests"), "endpoint"), BY_ENDPOINT)

OVERVIEW = (
    _stat("Ready replicas", _summed(_largest(_of("replicas", 'state="ready"'), "endpoint"))),
    _stat("Clients that wait", _summed(_of("held_requests"))),
    _stat("In flight", _summed(_of("inflight_requests"))),
    _stat("Cost, last 24 h", _all("cost_total", "1d")),
    _stat("Saved, last 24 h", _all("cost_saved_total", "1d")),
    _stat("Activators that lead", "sum(activator_leader)", about="One; none for seconds at most."),
    REPLICAS,
    REQUESTS,
    HELD,
    _graph(
        "The client that has waited longest",
        _largest(_of("oldest_held_seconds"), "endpoint"),
        BY_ENDPOINT,
        unit="s",
    ),
    _graph(
        "The line, of its bound",
        f"{_summed(_of('held_requests'), 'endpoint')}"
        f" / ({_largest(_of('held_requests_limit'), 'endpoint')} > 0)",
        BY_ENDPOINT,
        unit="percentunit",
    ),
    _graph("Client connections", "activator_connections", "{{instance}}"),
    _graph(
        "Errors of the store a second",
        "rate(activator_store_errors_total[$__rate_interval])",
        "{{instance}}",
    ),
    _graph(
        "Silent activators overruled",
        "increase(activator_overruled_total[$__rate_interval])",
        "{{instance}}",
    ),
    _graph(
        "Log lines that nobody took",
        "increase(activator_log_lines_dropped_total[$__rate_interval])",
        "{{instance}}",
    ),
)

ENDPOINT = (
    REQUESTS,
    Panel(
        "Duration of requests", _quantiles("request_duration_seconds", 0.5, 0.95, 0.99), unit="s"
    ),
    Panel("In line, of those who waited", _quantiles("queue_wait_seconds", 0.5, 0.95), unit="s"),
    Panel("Time in the proxy itself", _quantiles("overhead_seconds", 0.5, 0.99), unit="s"),
    HELD,
    IN_FLIGHT,
    REPLICAS,
    _graph("Jobs by state", _largest(_of("jobs"), "state"), "{{state}}", stacked=True),
    _graph(
        "Tokens a second",
        _summed(_rate("tokens_total"), "direction", "counted"),
        "{{direction}} {{counted}}",
    ),
    _graph(
        "Tokens a second, by key",
        _summed(_rate("tokens_total"), "key"),
        "{{key}}",
        stacked=True,
    ),
    _graph(
        "Sent to another replica, a second",
        _summed(_rate("retries_total"), "reason"),
        "{{reason}}",
    ),
    _graph(
        "At the fallback, a second",
        _summed(_rate("fallback_requests_total"), "outcome"),
        "{{outcome}}",
    ),
    _graph(
        "Changes of the number of replicas",
        _largest(_within("scale_actions_total", "$__rate_interval"), "direction", "reason"),
        "{{direction}} {{reason}}",
    ),
)

COLD_STARTS = (
    _graph(
        "Starts an hour",
        _largest(_within("cold_starts_total", "1h"), "endpoint", "outcome"),
        "{{endpoint}} {{outcome}}",
    ),
    _graph(
        "Told that it cannot be",
        _summed(
            _rate("requests_total", 'reason=~"start_failed|no_capacity|queue_timeout"'),
            "endpoint",
            "reason",
        ),
        "{{endpoint}} {{reason}}",
        unit="reqps",
    ),
    Panel("Phases, median", _phases(0.5), unit="s", stacked=True),
    Panel("Phases, p95", _phases(0.95), unit="s", stacked=True),
)

COSTS = (
    _stat("Cost", _all("cost_total", "$__range"), width=8),
    _stat(
        "Saved",
        _all("cost_saved_total", "$__range"),
        width=8,
        about="Against max(min, 1) replicas that never stop.",
    ),
    _stat(
        "Share saved",
        f"{_all('cost_saved_total', '$__range')}"
        f" / ({_all('cost_total', '$__range')} + {_all('cost_saved_total', '$__range')})",
        width=8,
        unit="percentunit",
    ),
    _graph(
        "Cost an hour",
        f"{_largest(_rate('cost_total'), 'endpoint')} * 3600",
        BY_ENDPOINT,
        stacked=True,
    ),
    _graph(
        "Saved an hour",
        f"{_largest(_rate('cost_saved_total'), 'endpoint')} * 3600",
        BY_ENDPOINT,
        stacked=True,
    ),
    _graph(
        "Cost of API keys, an hour",
        f"{_summed(_rate('key_cost_total'), 'key')} * 3600",
        "{{key}}",
        stacked=True,
    ),
    _graph(
        "Used by API keys",
        _summed(_rate("key_seconds_total"), "key", "use"),
        "{{key}} {{use}}",
        stacked=True,
    ),
    _graph(
        "Replicas, on average, by what they did",
        _largest(_rate("replica_seconds_total"), "endpoint", "state"),
        BY_STATE,
        stacked=True,
        width=24,
    ),
)

DASHBOARDS = {
    "overview": ("Activator: overview", OVERVIEW),
    "endpoint": ("Activator: endpoint", ENDPOINT),
    "cold-starts": ("Activator: cold starts", COLD_STARTS),
    "costs": ("Activator: costs", COSTS),
}


def dashboard(name: str) -> dict[str, Any]:
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"activator-{name}",
        "title": title,
        "tags": ["activator"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), _endpoints()]},
        "links": [
            {"title": "activator", "type": "dashboards", "tags": ["activator"], "asDropdown": True}
        ],
        "panels": _laid_out(panels),
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _endpoints() -> dict[str, Any]:
    query = "label_values(activator_held_requests, endpoint)"
    return {
        "name": "endpoint",
        "label": "Endpoint",
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": "endpoints"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _laid_out(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    """From left to right, a new row where the next does not fit."""
    placed: list[dict[str, Any]] = []
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        if x + panel.width > 24:
            x, y = 0, y + height
        height = 4 if panel.kind == "stat" else 8
        box = {"x": x, "y": y, "w": panel.width, "h": height}
        placed.append(_drawn(panel, number) | {"gridPos": box})
        x += panel.width
    return placed


def _drawn(panel: Panel, number: int) -> dict[str, Any]:
    instant = panel.kind in ("stat", "bargauge")
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.stacked:
        defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
    return {
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query,
                "legendFormat": legend or "__auto",
                "instant": instant,
                "range": not instant,
            }
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def rendered(name: str) -> str:
    return json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for each in DASHBOARDS:
        (HERE / f"{each}.json").write_text(rendered(each), encoding="utf-8")
