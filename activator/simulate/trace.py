"""Arrivals of requests, read from what people have: CSV, access logs, JSON lines, kept events.

Decides what a line means. Which lines belong to the question (one endpoint of several, one path of
a log) is the caller's to say, or to filter before.
"""

from __future__ import annotations

import csv
import json
import re
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from math import isfinite
from typing import TYPE_CHECKING

from activator.core.durations import seconds_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

TIMES = ("ts", "time", "timestamp", "@timestamp", "at", "arrival", "time_local", "time_iso8601")
DURATIONS = ("duration", "request_time", "seconds", "elapsed", "latency", "service_time")

_LOG = re.compile(
    r"\S+ \S+ .*?\[(?P<minute>\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d):(?P<second>\d\d)"
    r" (?P<zone>[+-]\d{4})\]"
    r' "(?:[^"\\]|\\.)*" \d{3} (?:\d+|-)(?P<rest>.*)'
)
"""The Common Log Format of httpd, and the combined one."""
_LAST_NUMBER = re.compile(r"(?:^|[\s=\"])(\d+\.\d+)\"?\s*$")
"""nginx's `$request_time` and httpd's `%{ms}T` are put at the end by custom; whole numbers there
may be anything, so only seconds with a fraction count."""


class TraceError(Exception):
    """The trace cannot be read; says where and why."""


@dataclass(slots=True)
class Trace:
    """Requests in order of their arrival; parallel arrays, since there may be millions."""

    arrivals: array[float] = field(default_factory=lambda: array("d"))
    """Seconds; Unix time where the trace tells the date."""
    durations: array[float] = field(default_factory=lambda: array("d"))
    """Seconds of service, without waiting; negative: not told."""
    starts: list[float] = field(default_factory=list)
    """Seconds that cold starts took, where the trace tells of them."""
    skipped: int = 0
    """Lines that were none of its requests."""

    def __len__(self) -> int:
        return len(self.arrivals)

    def add(self, arrival: float, duration: float = -1.0) -> None:
        self.arrivals.append(arrival)
        self.durations.append(duration)

    def sort(self) -> None:
        """By arrival; logs are written when requests end."""
        arrivals = self.arrivals
        if all(arrivals[i] <= arrivals[i + 1] for i in range(len(arrivals) - 1)):
            return
        order = sorted(range(len(arrivals)), key=arrivals.__getitem__)
        self.arrivals = array("d", (arrivals[i] for i in order))
        self.durations = array("d", (self.durations[i] for i in order))


def read(lines: Iterable[str], *, endpoint: str | None = None) -> Trace:
    """The trace in these lines, whichever of the forms it has; the first line tells.

    `endpoint`: only its requests, where lines name one. Raises TraceError for a line that is none
    of that form, for one with several endpoints when none is named, and when nothing is left.
    """
    source = iter(lines)
    first = next((line for line in source if line.strip()), "")
    whole = _from(first, source)
    if first.lstrip().startswith("{"):
        trace = _from_json(whole, endpoint)
    elif _LOG.match(first):
        trace = _from_log(whole)
    else:
        trace = _from_csv(whole, endpoint)
    if not trace:
        raise TraceError(_nothing(trace, endpoint))
    trace.sort()
    return trace


def _from(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _nothing(trace: Trace, endpoint: str | None) -> str:
    if trace.skipped and endpoint is not None:
        return f"none of its requests is of the endpoint {endpoint!r}"
    return "there are no requests in it"


# --- access logs --------------------------------------------------------------------------------


def _from_log(lines: Iterable[str]) -> Trace:
    trace = Trace()
    minutes: dict[tuple[str, str], float] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        found = _LOG.match(line)
        if found is None:
            raise TraceError(f"line {number} is not of the access log format that line 1 has")
        minute, zone = found["minute"], found["zone"]
        at = minutes.get((minute, zone))
        if at is None:
            at = minutes[minute, zone] = _log_minute(minute, zone, number)
        ended = at + int(found["second"])
        took = _LAST_NUMBER.search(found["rest"])
        duration = float(took[1]) if took else -1.0
        trace.add(ended - max(duration, 0.0), duration)
    return trace


def _log_minute(minute: str, zone: str, number: int) -> float:
    """The Unix time of a minute, whatever the locale: logs are written in English."""
    try:
        day, month, rest = minute.split("/")
        year, hour, minutes = rest.split(":")
        east = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:]))
        offset = timezone(-east if zone[0] == "-" else east)
        at = datetime(
            int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minutes), tzinfo=offset
        )
    except ValueError as wrong:
        raise TraceError(f"line {number}: {minute} {zone} is no time") from wrong
    return at.timestamp()


_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


# --- CSV ----------------------------------------------------------------------------------------


def _from_csv(lines: Iterable[str], endpoint: str | None) -> Trace:
    trace = Trace()
    rows = csv.reader(lines)
    columns: _Columns | None = None
    named: set[str] = set()
    try:
        for row in rows:
            if not row or row[0].startswith("#"):
                continue
            if columns is None:
                columns = _columns(row)
                if columns.is_header:
                    continue
            name = row[columns.endpoint] if columns.endpoint is not None else None
            if name is not None and not _counts(name, endpoint, named):
                trace.skipped += 1
                continue
            told = row[columns.duration].strip() if columns.duration < len(row) else ""
            trace.add(_moment(row[columns.time].strip()), _seconds(told) if told else -1.0)
    except (ValueError, IndexError, csv.Error) as wrong:
        raise TraceError(f"line {rows.line_num}: {_why(wrong)}") from wrong
    return trace


@dataclass(frozen=True, slots=True)
class _Columns:
    time: int
    duration: int
    endpoint: int | None
    is_header: bool


def _columns(row: list[str]) -> _Columns:
    names = [cell.strip().lower() for cell in row]
    time = next((names.index(name) for name in TIMES if name in names), None)
    if time is None:
        return _Columns(0, 1, None, is_header=False)
    duration = next((names.index(name) for name in DURATIONS if name in names), len(row))
    endpoint = names.index("endpoint") if "endpoint" in names else None
    return _Columns(time, duration, endpoint, is_header=True)


# --- JSON lines, of requests or of kept events --------------------------------------------------


def _from_json(lines: Iterable[str], endpoint: str | None) -> Trace:
    trace = Trace()
    named: set[str] = set()
    spells = _Spells(trace)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            if not isinstance(told, dict):
                raise ValueError("is no JSON object")
            name = told.get("endpoint")
            if isinstance(name, str) and name and not _counts(name, endpoint, named):
                trace.skipped += 1
            elif "action" in told:
                spells.take(told)
            else:
                trace.add(*_request(told))
        except (ValueError, TypeError, KeyError) as wrong:
            raise TraceError(f"line {number}: {_why(wrong)}") from wrong
    spells.close()
    return trace


def _request(told: dict[str, Any]) -> tuple[float, float]:
    at = next((told[name] for name in TIMES if name in told), None)
    if at is None:
        raise ValueError(f"has no time; it is looked for as {', '.join(TIMES)}")
    took = next((told[name] for name in DURATIONS if told.get(name) is not None), None)
    return _moment(at), -1.0 if took is None else _seconds(took)


class _Spells:
    """Kept events tell when an endpoint woke and when it had been idle for its timeout, not each
    request: a spell of use counts as one request that lasts as long as the spell.

    Exact for idle timeouts as long as the one that was in force and longer ones; for shorter ones
    the gaps within a spell are missing, so starts are counted too low.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._woken: float | None = None
        self._ready: float | None = None
        self._last = 0.0

    def take(self, event: dict[str, Any]) -> None:
        at = self._last = _moment(event.get("at", event.get("ts")))
        reason = str(event.get("reason", ""))
        match event["action"]:
            case "activating" if reason.startswith("a demand"):
                self.close()
                self._woken = at
            case "replica_ready":
                fields = event.get("fields", event)
                took = sum(
                    fields[phase]
                    for phase in ("requested", "scheduled", "pulled", "started", "ready")
                    if isinstance(fields.get(phase), (int, float))
                )
                self._trace.starts.append(took)
                self._ready = self._ready or at
            case "draining" if reason.startswith("no request for"):
                self._end(at - seconds_in(reason.removeprefix("no request for")))

    def close(self) -> None:
        """The spell that is still open lasts until the last event."""
        self._end(self._last)

    def _end(self, ended: float) -> None:
        if self._woken is not None:
            begun = self._ready if self._ready is not None else self._woken
            self._trace.add(self._woken, max(ended - begun, 0.0))
        self._woken = self._ready = None


# --- values -------------------------------------------------------------------------------------


def _counts(name: str, endpoint: str | None, named: set[str]) -> bool:
    if endpoint is not None:
        return name == endpoint
    named.add(name)
    if len(named) > 1:
        raise ValueError(f"there are several endpoints ({', '.join(sorted(named))}): name one")
    return True


def _moment(told: object) -> float:
    """Seconds; a date and time without an offset is UTC."""
    if isinstance(told, str):
        try:
            return _finite(float(told))
        except ValueError:
            pass
        try:
            at = datetime.fromisoformat(told)
        except ValueError:
            raise ValueError(f"{told!r} is neither seconds nor an ISO 8601 time") from None
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    if isinstance(told, (int, float)) and not isinstance(told, bool):
        return _finite(float(told))
    raise ValueError(f"{told!r} is no time")


def _seconds(told: object) -> float:
    try:
        seconds = _finite(float(told))  # type: ignore[arg-type]  # whatever it is, it says why not
    except (TypeError, ValueError):
        raise ValueError(f"{told!r} is no duration in seconds") from None
    if seconds < 0:
        raise ValueError(f"a duration of {seconds:g} s is negative")
    return seconds


def _finite(value: float) -> float:
    if not isfinite(value):
        raise ValueError(f"{value} is no number of seconds")
    return value


def _why(wrong: Exception) -> str:
    if isinstance(wrong, json.JSONDecodeError):
        return "is no JSON object"
    return str(wrong) if not isinstance(wrong, IndexError) else "a column is missing"
