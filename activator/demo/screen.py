"""How the demo looks: a table and a timeline that live on a terminal, plain lines without one.

Shows what a View and Facts hold; measures and judges nothing.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from activator.demo.facts import broken_promises, cold_start, out_of_order

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from activator.demo.facts import Act, Facts
    from activator.demo.watch import Line, Row, View

SHOWN_LINES = 14
"""Of the timeline on a terminal; the rest has scrolled out."""

_STYLES = {"inactive": "dim", "activating": "yellow", "active": "green", "draining": "cyan"}


class Screen(Protocol):
    """Where the demo is followed. `show` is called whenever the view may have changed."""

    def show(self, view: View) -> None: ...


@contextmanager
def screen(stream: TextIO, *, animate: bool) -> Iterator[Screen]:
    """A screen on `stream` for the length of the demo."""
    if not animate:
        yield PlainScreen(stream)
        return
    with Live(console=Console(file=stream), auto_refresh=False) as live:
        yield LiveScreen(live)


class LiveScreen:
    """Draws the whole view again each time."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, view: View) -> None:
        timeline = Text("\n").join(_styled(line, view) for line in view.lines[-SHOWN_LINES:])
        parts: list[RenderableType] = [
            _endpoints(view.rows),
            Panel(timeline, title="timeline", title_align="left"),
        ]
        if view.chat:
            parts.append(Panel(Text(view.chat), title="beta says", title_align="left"))
        self._live.update(Group(*parts), refresh=True)


class PlainScreen:
    """A line for each thing that happens, once; nothing is drawn over."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._printed = 0

    def show(self, view: View) -> None:
        for line in view.lines[self._printed :]:
            print(_plain(line, view), file=self._stream, flush=True)
        self._printed = len(view.lines)


def report(facts: Facts, *, stream: TextIO) -> None:
    """The tables at the end, and the verdict."""
    console = Console(file=stream)
    console.print(_phases(facts.acts))
    console.print(_promises(facts))
    console.print(_bill(facts))
    broken = broken_promises(facts)
    for sentence in broken:
        console.print(Text(f"BROKEN  {sentence}", style="bold red"))
    if not broken:
        console.print(
            Text(
                f"From zero and back, nothing lost. {facts.took:.1f} s in all.", style="bold green"
            )
        )


def _endpoints(rows: tuple[Row, ...]) -> Table:
    table = Table(expand=True)
    for heading in ("endpoint", "state", "held", "in flight", "replicas", "ready in"):
        table.add_column(heading)
    for row in rows:
        table.add_row(
            row.name,
            Text(row.state, style=_STYLES.get(row.state, "red")),
            str(row.held),
            str(row.in_flight),
            ", ".join(row.replicas) or "0",
            _expected(row),
        )
    return table


def _expected(row: Row) -> str:
    starting = row.state == "activating" and row.eta is not None
    return f"about {row.eta:.1f} s" if starting else ""


def _phases(acts: tuple[Act, ...]) -> Table:
    table = Table(title="Cold starts, in milliseconds", title_justify="left")
    table.add_column("woken by", no_wrap=True)
    for heading in (
        "requested\n→ started",
        "started\n→ ready",
        "ready\n→ model",
        "model\n→ 1st byte",
        "in all",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for act in acts:
        cold = cold_start(act)
        phases = (
            (cold.to_started, cold.to_ready, cold.to_arrival, cold.to_first_byte, cold.total)
            if cold is not None
            else ()
        )
        times = (f"{phase * 1000:.0f}" for phase in phases)
        table.add_row(f"{act.endpoint}: {act.title}", *times)
    return table


def _promises(facts: Facts) -> Table:
    table = Table(title="Promises, checked at both ends", title_justify="left", show_header=False)
    replies = facts.replies
    right = sum(1 for reply in replies if reply.problem is None and reply.text == reply.expected)
    ordered = sum(1 for act in facts.acts if out_of_order(act) is None)
    running = len(facts.still_running)
    table.add_row("requests sent / answered / lost", _of(len(replies), facts.answered))
    table.add_row("answers as the model gave them", f"{right} of {len(replies)}")
    table.add_row("order kept, by the model's own log", f"{ordered} of {len(facts.acts)} starts")
    table.add_row("most at once at a model (limit)", f"{facts.peak_in_flight} ({facts.limit})")
    table.add_row("back at zero", "yes" if not running else f"no: {running} still run")
    return table


def _of(sent: int, answered: int) -> str:
    return f"{sent} / {answered} / {sent - answered}"


def _bill(facts: Facts) -> Table:
    table = Table(
        title=f"What it cost, at {facts.cost_per_replica_hour:.2f} a replica hour",
        title_justify="left",
    )
    table.add_column("endpoint")
    for heading in ("seconds up", "seconds at zero", "cost", "always on", "saved"):
        table.add_column(heading, justify="right")
    for bill in facts.bills:
        always = bill.cost + bill.cost_saved
        share = bill.cost_saved / always if always else 0.0
        table.add_row(
            bill.endpoint,
            f"{bill.replica_seconds:.1f}",
            f"{bill.saved_replica_seconds:.1f}",
            f"{bill.cost:.5f}",
            f"{always:.5f}",
            f"{share:.0%}",
        )
    return table


def _plain(line: Line, view: View) -> str:
    since = max(0.0, line.at - view.began_at)
    return f"{since:7.3f} s  {line.endpoint:<6} {line.action:<16} {line.text}".rstrip()


def _styled(line: Line, view: View) -> Text:
    return Text(_plain(line, view), overflow="ellipsis", no_wrap=True)
