"""The instruments: named as documented, bounded, and cheap where requests pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

from activator.core.tokens import Tokens
from activator.telemetry.exposition import Format
from activator.telemetry.metrics import (
    MAX_KEYS,
    MAX_SERIES,
    MAX_TOKEN_SERIES,
    OTHER,
    UNCOUNTED,
    EndpointMetrics,
    Gauges,
    Histogram,
    Metrics,
    _uncounted,
)

DOCUMENTED = {
    "activator_requests": {"endpoint", "code", "reason"},
    "activator_request_duration_seconds": {"endpoint", "le"},
    "activator_overhead_seconds": {"endpoint", "le"},
    "activator_held_requests": {"endpoint"},
    "activator_held_requests_limit": {"endpoint"},
    "activator_oldest_held_seconds": {"endpoint"},
    "activator_jobs": {"endpoint", "state"},
    "activator_queue_wait_seconds": {"endpoint", "le"},
    "activator_inflight_requests": {"endpoint"},
    "activator_cold_starts": {"endpoint", "outcome"},
    "activator_cold_start_seconds": {"endpoint", "phase", "le"},
    "activator_replicas": {"endpoint", "state"},
    "activator_scale_actions": {"endpoint", "direction", "reason"},
    "activator_replica_seconds": {"endpoint", "state"},
    "activator_cost": {"endpoint"},
    "activator_cost_saved": {"endpoint"},
    "activator_key_seconds": {"endpoint", "key", "use"},
    "activator_key_cost": {"endpoint", "key"},
    "activator_retries": {"endpoint", "reason"},
    "activator_fallback_requests": {"endpoint", "outcome"},
    "activator_tokens": {"endpoint", "key", "direction", "counted"},
    "activator_store_errors": set(),
    "activator_overruled": set(),
    "activator_leader": set(),
    "activator_connections": set(),
    "activator_log_lines_dropped": set(),
}


def busy() -> Metrics:
    metrics = Metrics()
    one = metrics.endpoint("llama")
    one.request(code=200, reason="", duration=1.5, overhead=0.0003)
    one.request(code=503, reason="queue_full", duration=0.001, overhead=0.0003)
    one.waited(0.7)
    one.cold_start(outcome="ready")
    one.phase("started", 4.0)
    one.scaled(direction="up", reason="demand")
    one.retried("refused")
    one.fell_back("served")
    one.used(Tokens(7, 5, told=True), key="team")
    one.charged("team", 0.75)
    one.jobs = {"queued": 4}
    one.gauges = lambda: Gauges(
        held=3,
        in_flight=2,
        replicas={"ready": 1},
        replica_seconds={"ready": 12.5},
        cost=0.25,
        cost_saved=1.5,
        key_seconds={("team", "slot"): 4.0},
    )
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """Every sample by (name, its label values in the order of their names)."""
    text = "".join(metrics.render(Format.PLAIN))
    return {
        (sample.name, tuple(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_exposes_every_documented_family_with_its_labels_and_no_other_of_ours() -> None:
    families = text_string_to_metric_families("".join(busy().render(Format.PLAIN)))
    labels = {
        family.name: set().union(*(set(sample.labels) for sample in family.samples))
        for family in families
        if family.name.startswith("activator_")
    }
    assert labels == DOCUMENTED


def test_counts_requests_by_code_and_reason() -> None:
    seen = samples(busy())
    assert seen["activator_requests_total", ("200", "llama", "")] == 1
    assert seen["activator_requests_total", ("503", "llama", "queue_full")] == 1


def test_requests_without_an_endpoint_have_an_empty_endpoint_label() -> None:
    metrics = Metrics()
    metrics.unrouted.request(code=404, reason="no_route", duration=0.001, overhead=0.001)
    assert samples(metrics)["activator_requests_total", ("404", "", "no_route")] == 1


def test_gauges_are_read_at_the_scrape() -> None:
    metrics, held = Metrics(), 1
    metrics.endpoint("llama").gauges = lambda: Gauges(held=held)
    assert samples(metrics)["activator_held_requests", ("llama",)] == 1
    held = 5
    assert samples(metrics)["activator_held_requests", ("llama",)] == 5


def test_tells_cost_and_replica_seconds() -> None:
    seen = samples(busy())
    assert seen["activator_replica_seconds_total", ("llama", "ready")] == 12.5
    assert seen["activator_cost_total", ("llama",)] == 0.25
    assert seen["activator_cost_saved_total", ("llama",)] == 1.5


def test_tells_what_keys_have_used() -> None:
    metrics = Metrics()
    used = {("team", "slot"): 3.5, ("team", "wait"): 2.0}
    metrics.endpoint("llama").gauges = lambda: Gauges(key_seconds=used)

    seen = samples(metrics)

    assert seen["activator_key_seconds_total", ("llama", "team", "slot")] == 3.5
    assert seen["activator_key_seconds_total", ("llama", "team", "wait")] == 2.0


def test_tells_what_keys_have_cost_within_a_bound() -> None:
    metrics = Metrics()
    one = metrics.endpoint("llama")
    for number in range(MAX_KEYS + 3):
        one.charged(f"key-{number}", 1.0)
    one.charged("key-0", 0.5)

    seen = samples(metrics)

    assert seen["activator_key_cost_total", ("llama", "key-0")] == 1.5
    assert seen["activator_key_cost_total", ("llama", "*")] == 3.0
    assert len([each for each in seen if each[0] == "activator_key_cost_total"]) == MAX_KEYS + 1


def test_tells_tokens_by_key_and_how_they_were_counted() -> None:
    metrics = busy()
    one = metrics.endpoint("llama")
    one.used(Tokens(1, 2, told=True), key="team")
    one.used(Tokens(0, 9, told=False), key="")

    seen = samples(metrics)

    name = "activator_tokens_total"
    assert seen[name, ("usage", "in", "llama", "team")] == 8
    assert seen[name, ("usage", "out", "llama", "team")] == 7
    assert seen[name, ("chunks", "out", "llama", "")] == 9


def test_keys_beyond_a_bound_are_counted_together() -> None:
    one = Metrics().endpoint("llama")
    for number in range(MAX_TOKEN_SERIES):
        one.used(Tokens(1, 1, told=True), key=f"k{number}")

    assert len(one.tokens) == MAX_TOKEN_SERIES + 2
    assert one.tokens[OTHER, "in", "usage"] == MAX_TOKEN_SERIES // 2


def test_tells_the_process_and_who_leads() -> None:
    metrics = Metrics()
    metrics.connections = 7
    metrics.store_errors = 2
    assert samples(metrics)["activator_leader", ()] == 0
    metrics.leader = lambda: True
    seen = samples(metrics)
    assert seen["activator_leader", ()] == 1
    assert seen["activator_connections", ()] == 7
    assert seen["activator_store_errors_total", ()] == 2
    assert seen["process_resident_memory_bytes", ()] > 1 << 20


def test_a_forgotten_endpoint_has_no_series() -> None:
    metrics = busy()
    metrics.forget("llama")
    assert not [key for key in samples(metrics) if "llama" in key[1]]


def test_an_endpoint_keeps_its_counters_for_as_long_as_it_is_configured() -> None:
    metrics = Metrics()
    assert metrics.endpoint("a") is metrics.endpoint("a")


def test_status_codes_of_a_model_gone_wild_cannot_grow_the_series_without_bound() -> None:
    metrics = Metrics()
    one = metrics.endpoint("wild")
    for code in range(100, 600):
        one.request(code=code, reason="", duration=0.1, overhead=0.0)
    counted = {
        key[1][0]: value
        for key, value in samples(metrics).items()
        if key[0] == "activator_requests_total"
    }
    assert sum(counted.values()) == 500
    assert len(counted) <= MAX_SERIES + 5
    assert counted["5xx"] == 100


@pytest.mark.parametrize("kind", ["outcome", "phase", "scale", "retry"])
def test_other_labels_are_bounded_too(kind: str) -> None:
    metrics = Metrics()
    one = metrics.endpoint("wild")
    for n in range(500):
        match kind:
            case "outcome":
                one.cold_start(outcome=f"outcome {n}")
            case "phase":
                one.phase(f"phase {n}", 1.0)
            case "scale":
                one.scaled(direction="up", reason=f"because of {n}")
            case _:
                one.retried(f"reason {n}")
    values = {key[1] for key in samples(metrics) if "wild" in key[1]}
    assert any("other" in labels for labels in values)
    assert len(values) <= (MAX_SERIES + 1) * 22 + 40


@given(st.lists(st.floats(min_value=0, max_value=1e6), max_size=50))
def test_a_histogram_counts_each_value_in_every_bucket_that_includes_it(
    values: list[float],
) -> None:
    bounds = (0.1, 1.0, 60.0)
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    expected = [(repr(b), sum(value <= b for value in values)) for b in bounds]
    assert histogram.buckets() == [*expected, ("+Inf", len(values))]


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 1.5, 60.0, 61.0]), max_size=50))
def test_many_values_at_a_time_are_counted_as_each_by_itself(values: list[float]) -> None:
    bounds = (0.1, 1.0, 60.0)
    together, by_themselves = Histogram(bounds), Histogram(bounds)
    for value in values:
        by_themselves.observe(value)
    together.observe_all(list(values))
    assert together.buckets() == by_themselves.buckets()
    assert together.total == pytest.approx(by_themselves.total)


@pytest.mark.parametrize("answers", [1, 7, UNCOUNTED // 3, UNCOUNTED])
@pytest.mark.parametrize("names", [("a",), ("a", "b", "c")])
def test_whoever_looks_finds_every_answer_counted(answers: int, names: tuple[str, ...]) -> None:
    metrics = Metrics()
    for number in range(answers):
        for name in names:
            metrics.endpoint(name).request(200, "", number * 0.01, 0.0003)
    for name in names:
        one = metrics.endpoint(name)
        assert one.durations.buckets()[-1] == ("+Inf", answers)
        assert one.durations.total == pytest.approx(0.01 * answers * (answers - 1) / 2)
        assert one.overheads.buckets()[-1] == ("+Inf", answers)
        assert one.requests == {(200, ""): answers}
        assert one.ended == answers


@pytest.mark.parametrize("look", ["requests", "durations", "overheads", "ended"])
def test_each_way_to_look_counts_first(look: str) -> None:
    one = EndpointMetrics()
    one.request(200, "", 1.0, 0.25)
    match getattr(one, look):
        case Histogram() as seen:
            assert sum(seen.counts) == 1
        case dict() as seen:
            assert seen == {(200, ""): 1}
        case seen:
            assert seen == 1


def test_what_is_not_counted_yet_is_bounded() -> None:
    one, other = EndpointMetrics(), EndpointMetrics()
    for _ in range(UNCOUNTED):
        one.request(200, "", 1.0, 0.25)
        other.request(200, "", 1.0, 0.25)
        assert len(_uncounted) < UNCOUNTED


def test_the_buckets_of_cold_starts_reach_half_an_hour() -> None:
    seen = samples(busy())
    assert seen["activator_cold_start_seconds_bucket", ("llama", "1800.0", "started")] == 1


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5",
        "application/openmetrics-text; version=nonsense",
    ],
)
def test_a_scraper_that_knows_openmetrics_gets_it(accept: str) -> None:
    form = Format.wanted(accept)
    assert form.value.startswith("application/openmetrics-text")
    parsed = parse_openmetrics("".join(busy().render(form)))  # type: ignore[no-untyped-call]  # is untyped
    families = {family.name for family in parsed}
    assert set(DOCUMENTED) <= families


@pytest.mark.parametrize("accept", ["", "*/*", "text/html, */*;q=0.1", "text/plain; version=x"])
def test_everybody_else_gets_the_plain_format(accept: str) -> None:
    form = Format.wanted(accept)
    assert form.value.startswith("text/plain; version=0.0.4")
    assert "# EOF" not in "".join(busy().render(form))


def test_an_endpoint_that_nobody_has_asked_tells_no_histograms() -> None:
    metrics = busy()
    metrics.endpoint("resting")

    lines = "".join(metrics.render(Format.PLAIN)).splitlines()

    told = [line for line in lines if 'endpoint="resting"' in line]
    assert told == []
    assert 'activator_request_duration_seconds_bucket{endpoint="llama",le="2.5"} 2.0' in (lines)
