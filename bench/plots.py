"""What benchmarks have written as figures for the docs: from NAME.json, one SVG file a figure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from bench import bars
from bench.bars import Bar, Panel
from bench.bursts import Case
from bench.failure import BenchError
from bench.rounds import middle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

Content = dict[str, Any]
OURS: Final = "activator"
RATE: Final = "requests/s (longer is better)"
CPU: Final = "CPU time of a request, µs (shorter is better)"


def write(results: Path, *, into: Path) -> list[Path]:
    """A figure of each benchmark that has one and has been run; returns what was written. Raises
    BenchError if there is nothing to draw."""
    into.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, draw in FIGURES.items():
        file = results / f"{name}.json"
        if file.exists():
            try:
                figure = draw(_content(file))
            except (KeyError, ValueError) as error:
                raise BenchError(
                    f"{file} is of another version, run it again: {error!r}"
                ) from error
            written.append(into / f"bench-{name}.svg")
            written[-1].write_text(figure, encoding="utf-8")
    if not written:
        raise BenchError(f"nothing to draw in {results}: run {', '.join(FIGURES)} before")
    return written


def throughput(content: Content) -> str:
    """Rows of panels by connections, a column an answer."""
    answers = list(dict.fromkeys(row["answer"] for row in content["rows"]))
    counts = list(dict.fromkeys(row["connections"] for row in content["rows"]))
    panels = [
        _bursts(content, answer, count, field="rate", axis=RATE)
        for count in counts
        for answer in answers
    ]
    return _figure(content, panels, columns=len(answers), title="Requests/s through one core")


def chat(content: Content) -> str:
    """Chats: requests/s beside the CPU time of one."""
    panels: list[Panel] = []
    for count in dict.fromkeys(row["connections"] for row in content["rows"]):
        panels.append(_bursts(content, "chat", count, field="rate", axis=RATE))
        panels.append(_bursts(content, "chat", count, field="cpu_us", axis=CPU))
    return _figure(content, panels, columns=2, title="Chats through one core: 2 KiB up, 4 KiB down")


def latency(content: Content) -> str:
    """A row of panels a rate: medians, 99th percentiles."""
    panels: list[Panel] = []
    for rate in dict.fromkeys(row["requests/s"] for row in content["rows"]):
        names = [row["contestant"] for row in content["rows"] if row["requests/s"] == rate]
        rounds = {name: content["raw"][f"{rate:g} {name}"] for name in names}
        for field, said in (("p50", "median"), ("p99", "99th percentile")):
            values = {name: [one[field] * 1e6 for one in rounds[name]] for name in names}
            axis = f"{said} of the latency, µs (shorter is better)"
            panels.append(Panel(f"{rate:,g} requests/s", axis, list(_bars(values))))
    title = "Latency at a steady rate, from the moment each request was due"
    return _figure(content, panels, columns=2, title=title)


FIGURES: Final[Mapping[str, Callable[[Content], str]]] = {
    "throughput": throughput,
    "latency": latency,
    "chat": chat,
}
"""Benchmark → what draws it."""


def _content(file: Path) -> Content:
    """Raises ValueError where it is no JSON."""
    content: Content = json.loads(file.read_text(encoding="utf-8"))
    return content


def _bursts(content: Content, answer: str, connections: int, *, field: str, axis: str) -> Panel:
    case = Case(answer, "", connections)
    names = [
        row["contestant"]
        for row in content["rows"]
        if (row["answer"], row["connections"]) == (answer, connections)
    ]
    values = {
        name: [_burst_value(one, field) for one in content["raw"][f"{case}: {name}"]]
        for name in names
    }
    return Panel(str(case), axis, list(_bars(values)))


def _burst_value(burst: Content, field: str) -> float:
    if field == "cpu_us":
        return float(burst["cpu_seconds"]) / int(burst["requests"]) * 1e6
    return float(burst[field])


def _bars(values: Mapping[str, Sequence[float]]) -> Iterator[Bar]:
    """The median round, from the lowest to the highest."""
    for name, rounds in values.items():
        yield Bar(name, middle(rounds), min(rounds), max(rounds), name.startswith(OURS))


def _figure(content: Content, panels: Sequence[Panel], *, columns: int, title: str) -> str:
    told = content["machine"]
    subtitle = (
        f"{told['cpu']}, {told['cores']} cores; Python {told['python']}, {told['python_build']};"
        f" others used {told['used_by_others']:.2f} cores; {told['commit']}"
    )
    return bars.svg(panels, columns=columns, title=title, subtitle=subtitle)
