"""What scrapers read, byte by byte what prometheus_client makes of the same numbers."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client import exposition as plain
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.openmetrics import exposition as openmetrics

from activator.core.tokens import Tokens
from activator.telemetry.exposition import (
    BATCH,
    Format,
    escaped,
    of_endpoints,
    of_process,
)
from activator.telemetry.families import BOOKED, COUNTED, NOW, PROCESS, Family
from activator.telemetry.metrics import Gauges, Histogram, Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

NASTY = 'a "quoted"\\ na\nme, ünï ☃ {}%s'
KINDS = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def by_library(family: Family[Any], rows: list[tuple[tuple[str, ...], Any]]) -> Any:
    """`rows`: whose, and what the family read there."""
    of_process = any(not whose for whose, _ in rows)
    names = family.labels if of_process else ("endpoint", *family.labels)
    told: Any = KINDS[family.kind](family.name, family.meaning, labels=names)
    for whose, value in rows:
        for key, each in value.items() if family.labels else (((), value),):
            values = (*whose, *((key,) if isinstance(key, str) else key))
            if not isinstance(each, Histogram):
                told.add_metric(values, each)
            elif each:
                told.add_metric(values, each.buckets(), each.total)
    return told


class Collected:
    def __init__(self, *families: Any) -> None:
        self._families = families

    def collect(self) -> Iterator[Any]:
        yield from self._families


def in_one_go(form: Format, *families: Any) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collected(*families))
    if form is Format.PLAIN:
        return plain.generate_latest(registry).decode()
    written: bytes = openmetrics.generate_latest(registry)  # type: ignore[no-untyped-call]  # is untyped
    return written.decode()


def ours(form: Format, family: Family[Any], rows: list[tuple[str, Any]]) -> str:
    names = [escaped(name) for name, _ in rows]
    written = "".join(of_endpoints(family, names, [told for _, told in rows]))
    end = "# EOF\n" if form is Format.OPENMETRICS else ""
    return form.head(family) + written + end


def family(kind: Any, *labels: str, meaning: str = "What is told") -> Family[Any]:
    return Family("some_thing", kind, meaning, lambda told: told, labels)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.just(NASTY)
numbers = (
    st.floats()
    | st.integers(min_value=-(10**20), max_value=10**20)
    | st.booleans()
    | st.sampled_from([0, -0.0, 1e6, 999_999.5, 1234567.0, 1e15, 1e16, 5e-324, inf, -inf, nan])
)
forms = st.sampled_from(Format)


@settings(deadline=None)
@given(forms, st.sampled_from(["counter", "gauge"]), st.lists(st.tuples(texts, numbers)), texts)
def test_a_number_of_each_endpoint(
    form: Format, kind: str, rows: list[tuple[str, float]], meaning: str
) -> None:
    one = family(kind, meaning=meaning)
    library = by_library(one, [((name,), value) for name, value in rows])
    assert ours(form, one, rows) == in_one_go(form, library)


@settings(deadline=None)
@given(forms, st.lists(st.tuples(texts, st.dictionaries(texts, numbers, max_size=3))))
def test_numbers_by_a_label(form: Format, rows: list[tuple[str, dict[str, float]]]) -> None:
    for label in ("code", "reason"):  # before the endpoint, and after it
        one = family("counter", label)
        library = by_library(one, [((name,), told) for name, told in rows])
        assert ours(form, one, rows) == in_one_go(form, library)


@settings(deadline=None)
@given(
    forms,
    st.permutations(["key", "direction", "counted"]),
    st.lists(
        st.tuples(texts, st.dictionaries(st.tuples(texts, texts, texts), numbers, max_size=3))
    ),
)
def test_numbers_by_several_labels_in_whatever_order(
    form: Format, labels: list[str], rows: list[tuple[str, dict[tuple[str, ...], float]]]
) -> None:
    one = family("gauge", *labels)
    library = by_library(one, [((name,), told) for name, told in rows])
    assert ours(form, one, rows) == in_one_go(form, library)


def seen(values: list[float], bounds: tuple[float, ...] = (0.00005, 0.1, 1.0, 1800.0)) -> Histogram:
    histogram = Histogram(bounds)
    for value in values:
        histogram.observe(value)
    return histogram


histograms = st.builds(seen, st.lists(st.floats(min_value=0, max_value=1e7), max_size=4))


@settings(deadline=None)
@given(forms, st.lists(st.tuples(texts, histograms)))
def test_a_histogram_of_each_endpoint(form: Format, rows: list[tuple[str, Histogram]]) -> None:
    one = family("histogram")
    library = by_library(one, [((name,), told) for name, told in rows])
    assert ours(form, one, rows) == in_one_go(form, library)


@settings(deadline=None)
@given(forms, st.lists(st.tuples(texts, st.dictionaries(texts, histograms, max_size=3))))
def test_histograms_by_a_label(form: Format, rows: list[tuple[str, dict[str, Histogram]]]) -> None:
    one = family("histogram", "phase")
    library = by_library(one, [((name,), told) for name, told in rows])
    assert ours(form, one, rows) == in_one_go(form, library)


@settings(deadline=None)
@given(forms, st.sampled_from(["counter", "gauge"]), numbers)
def test_a_number_of_the_process(form: Format, kind: str, value: float) -> None:
    one = family(kind)
    end = "# EOF\n" if form is Format.OPENMETRICS else ""
    assert form.head(one) + of_process(one, value) + end == in_one_go(
        form, by_library(one, [((), value)])
    )


@pytest.mark.parametrize("count", [BATCH - 1, BATCH, 2 * BATCH + 1])
def test_as_many_endpoints_as_there_are(count: int) -> None:
    for one, told in ((family("gauge"), 1.5), (family("gauge", "state"), {"a": 1, "b": 2.5})):
        rows = [(f"m-{number}", told) for number in range(count)]
        library = by_library(one, [((name,), told) for name, told in rows])
        assert ours(Format.PLAIN, one, rows) == in_one_go(Format.PLAIN, library)


# all of it


def town(count: int) -> Metrics:
    metrics = Metrics()
    metrics.unrouted.request(404, "no_route", 0.001, 0.001)
    metrics.connections = 12_345_678
    for number in range(count):
        one = metrics.endpoint(f"m-{number}" if number else NASTY)
        one.gauges = lambda number=number: Gauges(
            held=number,
            replicas={"ready": number} if number % 3 else {},
            replica_seconds={"ready": number * 1e5 / 3, "other": 0.0},
            cost_saved=number / 7,
            key_seconds={(NASTY, "slot"): 4.0} if number % 2 else {},
        )
        if number % 2:
            one.request(200, "", 1.5, 0.0003)
            one.request(503, "queue_full", 0.001, 0.0003)
            one.waited(0.7)
            one.cold_start(outcome="ready")
            one.phase("started", 4.0)
            one.scaled(direction="up", reason="demand")
            one.retried("refused")
            one.fell_back("served")
            one.used(Tokens(7, 5, told=True), key=NASTY)
            one.charged("team", 0.75)
            one.jobs = {"queued": 4}
    metrics.endpoint("without a controller").request(200, "", 1.0, 0.001)
    return metrics


@pytest.mark.parametrize("form", Format)
def test_the_whole_is_every_family_in_order_and_what_the_library_tells_itself(
    form: Format,
) -> None:
    metrics = town(BATCH + 5)
    labelled = [("", metrics.unrouted), *sorted(metrics._endpoints.items())]
    each = [((name,), one) for name, one in labelled]
    now = [(name, one.gauges()) for name, one in each if one.gauges is not None]
    families = [
        *(by_library(one, [(who, one.read(of)) for who, of in each]) for one in COUNTED),
        *(by_library(one_now, [(who, one_now.read(of)) for who, of in now]) for one_now in NOW),
        *(by_library(one, [(who, one.read(of)) for who, of in each]) for one in BOOKED),
        *(by_library(own, [((), own.read(metrics))]) for own in PROCESS),
    ]
    expected = in_one_go(form, *families).removesuffix("# EOF\n")

    written = "".join(metrics.render(form))

    assert written.startswith(expected)
    rest = written.removeprefix(expected)
    assert rest.startswith("# HELP process_virtual_memory_bytes ")
    assert rest.endswith("# EOF\n") == (form is Format.OPENMETRICS)


def test_endpoints_may_come_and_go_while_it_is_written() -> None:
    metrics = town(2 * BATCH)
    before = set("".join(metrics.render(Format.PLAIN)).splitlines())
    rows: list[str] = []
    for number, text in enumerate(metrics.render(Format.PLAIN)):
        rows.extend(row for row in text.splitlines() if "process_" not in row)
        metrics.forget(f"m-{number}")
        metrics.endpoint(f"new-{number}").retried("refused")

    def named(family: str) -> list[str]:
        return [row.partition("}")[0].removeprefix(family) for row in rows if family + "{" in row]

    assert {row for row in rows if "python" not in row} <= before
    whole = named("activator_held_requests")
    assert len(whole) > BATCH
    assert named("activator_inflight_requests") == whole
    assert named("activator_cost_saved_total") == whole


def test_numbers_of_an_endpoint_may_change_while_they_are_written() -> None:
    metrics = town(10)
    one = metrics.endpoint("m-1")
    written = []
    for number, text in enumerate(metrics.render(Format.PLAIN)):
        written.append(text)
        one.retried(f"reason {number}")
        one.request(200, "", 0.2, 0.1)
        one.charged(f"key {number}", 1.0)

    rows = "".join(written).splitlines()
    name = "activator_request_duration_seconds"
    [most] = [row for row in rows if row.startswith(name + '_bucket{endpoint="m-1",le="+Inf"}')]
    [count] = [row for row in rows if row.startswith(name + '_count{endpoint="m-1"}')]
    assert most.rpartition(" ")[2] == count.rpartition(" ")[2]


def test_no_text_is_of_more_than_a_batch_of_numbers_or_one_endpoints_rows() -> None:
    metrics = town(4 * BATCH)
    read = 0
    longest = 0

    def counted() -> Gauges:
        nonlocal read
        read += 1
        return Gauges()

    for one in metrics._endpoints.values():
        one.gauges = counted
    for text in metrics.render(Format.PLAIN):
        longest = max(longest, read)
        read = 0
        if "process_" not in text:
            assert text.count("\n") <= BATCH
    assert longest == 1
