from __future__ import annotations

import json

import pytest

from activator.simulate.trace import Trace, TraceError, read


def arrivals(trace: Trace) -> list[float]:
    return list(trace.arrivals)


def durations(trace: Trace) -> list[float]:
    return list(trace.durations)


def test_csv_without_a_header_is_time_and_duration() -> None:
    trace = read(["10.5,2\n", "11\n", "# a remark\n", "\n"])

    assert arrivals(trace) == [10.5, 11.0]
    assert durations(trace) == [2.0, -1.0]


def test_csv_columns_are_found_by_name() -> None:
    trace = read(["endpoint,duration,time\n", "a,0.5,2026-01-01T00:00:01Z\n"])

    assert arrivals(trace) == [1767225601.0]
    assert durations(trace) == [0.5]


def test_a_time_without_an_offset_is_utc() -> None:
    assert arrivals(read(["2026-01-01T00:00:00,1\n"])) == [1767225600.0]


def test_requests_come_in_the_order_of_their_arrival() -> None:
    trace = read(["3,1\n", "1,2\n", "2,3\n"])

    assert arrivals(trace) == [1.0, 2.0, 3.0]
    assert durations(trace) == [2.0, 3.0, 1.0]


LOG = '10.0.0.9 - - [01/Jan/2026:01:00:05 +0100] "POST /v1/chat HTTP/1.1" 200 512'


def test_an_access_log_tells_when_requests_ended() -> None:
    trace = read([f'{LOG} "-" "curl/8.5.0"\n', f'{LOG} "-" "a \\"b\\"" 2.500\n'])

    assert sorted(zip(trace.arrivals, trace.durations, strict=True)) == [
        (1767225602.5, 2.5),
        (1767225605.0, -1.0),
    ]


def test_json_lines_of_one_endpoint_of_several() -> None:
    lines = [
        json.dumps({"ts": "2026-01-01T00:00:00Z", "endpoint": "a", "duration": 1.5}),
        json.dumps({"ts": "2026-01-01T00:00:01Z", "endpoint": "b", "duration": 9}),
    ]

    trace = read(lines, endpoint="a")

    assert (arrivals(trace), durations(trace), trace.skipped) == ([1767225600.0], [1.5], 1)


def event(at: float, action: str, reason: str, **fields: float) -> str:
    told = {"id": int(at), "at": at, "endpoint": "a", "action": action, "reason": reason}
    return json.dumps({**told, "fields": fields})


def test_kept_events_tell_of_spells_of_use_and_of_starts() -> None:
    trace = read(
        [
            event(100, "activating", "a demand of 1"),
            event(140, "replica_ready", "started 38.00 s", started=38.0, ready=2.0),
            event(1000, "draining", "no request for 10 m 0 s"),
            event(1001, "deactivated", "no request for 10 m 0 s"),
            event(5000, "activating", "a demand of 3"),
            event(5030, "replica_ready", "started 30.00 s", started=30.0),
            event(5060, "saturated", "whatever else is told"),
        ]
    )

    assert arrivals(trace) == [100.0, 5000.0]
    assert durations(trace) == [260.0, 30.0]
    assert trace.starts == [40.0, 30.0]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no requests"),
        (["time,duration\n"], "no requests"),
        (["1,2\n", "x,1\n"], "line 2: 'x' is neither seconds nor an ISO 8601 time"),
        (["1,-2\n"], "line 1: a duration of -2 s is negative"),
        (["nan,1\n"], "line 1: 'nan'"),
        (["endpoint,time\n", "a,1\n", "b,2\n"], r"line 3: there are several endpoints \(a, b\)"),
        (["endpoint,time\n", "a\n"], "line 2: a column is missing"),
        (['{"ts": 1}\n', "{\n"], "line 2: is no JSON object"),
        (['{"when": 1}\n'], "line 1: has no time"),
        (['{"ts": true}\n'], "line 1: True is no time"),
        ([f"{LOG}\n", "something else\n"], "line 2 is not of the access log format"),
        (['{"ts": NaN}\n'], "line 1: nan is no number of seconds"),
        ([f"{LOG}\n".replace("Jan", "Jun").replace("01/", "31/")], "is no time"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_line(lines: list[str], why: str) -> None:
    with pytest.raises(TraceError, match=why):
        read(lines)


def test_an_endpoint_without_requests_is_told() -> None:
    with pytest.raises(TraceError, match="none of its requests is of the endpoint 'b'"):
        read(["endpoint,time\n", "a,1\n"], endpoint="b")
