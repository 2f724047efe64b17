"""What an operator reads in a terminal: tables (rich on a terminal, aligned text elsewhere).

Names, states and causes come from outside: control characters in them are shown, not sent.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.telemetry.logs import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group
    from rich.table import Table as RichTable

Row = tuple[str, ...]
Table = tuple[Row, "Sequence[Row]"]
"""Head and rows; an empty head is not shown."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to see at one time."""

    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    """What is to be said besides; lines that may be shown."""


ENDPOINTS: Row = ("ENDPOINT", "STATE", "FOR", "REPLICAS", "HELD", "IN FLIGHT", "ETA", "NOTE")
REPLICAS: Row = ("REPLICA", "PHASE", "FOR", "ADDRESS", "IN FLIGHT", "DETAIL")

_COLOURS = {
    "inactive": "dim",
    "activating": "yellow",
    "active": "green",
    "ready": "green",
    "draining": "cyan",
    "failed": "red",
}


def span(seconds: float | None) -> str:
    """A duration for the eye: `0.4s`, `12s`, `3m20s`, `2h05m`, `3d04h`; empty if unknown."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"


def endpoint_row(status: dict[str, Any]) -> Row:
    return (
        status["name"],
        status["state"],
        span(status["seconds_in_state"]),
        _replicas(status),
        str(status["held"]),
        str(status["in_flight"]),
        span(status["eta"]),
        _note(status),
    )


def replica_row(replica: dict[str, Any]) -> Row:
    return (
        replica["id"],
        replica["phase"],
        span(replica["seconds_in_phase"]),
        replica["address"],
        str(replica["in_flight"]),
        replica["detail"],
    )


def details(status: dict[str, Any]) -> list[Row]:
    """One endpoint as (what, value) rows; what is not known or does not matter is left out."""
    last = status["last_activity"]
    rows = [
        ("endpoint", status["name"]),
        ("state", f"{status['state']} for {span(status['seconds_in_state'])}"),
        ("note", _note(status)),
        ("replicas", f"{_replicas(status)} ready"),
        ("held", f"{status['held']} ({status['held_bytes']} bytes)"),
        ("in flight", f"{status['in_flight']}, per replica at most {status['concurrency'] or '∞'}"),
        ("ready in", span(status["eta"])),
        ("typical start", span(status["typical_start"])),
        ("last activity", "" if last is None else f"{span(max(0.0, time.time() - last))} ago"),
        ("cold starts", str(status["cold_starts"])),
        ("replica time", f"{span(status['replica_seconds'])}, "
                         f"saved {span(status['saved_replica_seconds'])}"),
        ("cost", f"{status['cost']:.4f}, saved {status['cost_saved']:.4f}"),
        ("fallback", status.get("fallback") or ""),
        ("hosts", ", ".join(status["hosts"])),
        ("paths", ", ".join(status["paths"])),
    ]  # fmt: skip
    return [(what, value) for what, value in rows if value]


def in_a_line(status: dict[str, Any]) -> str:
    """What an order has led to."""
    note = _note(status)
    line = f"{status['name']}: {status['state']}, {_replicas(status)} replicas ready"
    return printable(f"{line} ({note})" if note else line)


def show(head: Row, rows: Sequence[Row]) -> None:
    """On stdout; an empty head is not shown."""
    clean = [tuple(printable(cell) for cell in row) for row in rows]
    if sys.stdout.isatty():
        _show_rich(head, clean)
        return
    lines = [head, *clean] if any(head) else clean
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        print(
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def drawn(seen: Seen) -> Group:
    """For a terminal."""
    from rich.console import Group  # noqa: PLC0415  # costs 0.1 s, and only terminals need it
    from rich.text import Text  # noqa: PLC0415

    parts: list[RichTable | Text] = []
    for head, rows in seen.tables:
        if parts:
            parts.append(Text())
        parts.append(_rich(head, [tuple(printable(cell) for cell in row) for row in rows]))
    return Group(*parts, *(Text(note, style="yellow") for note in seen.notes))


def _show_rich(head: Row, rows: Sequence[Row]) -> None:
    from rich.console import Console  # noqa: PLC0415  # as above

    Console().print(_rich(head, rows))


def _rich(head: Row, rows: Sequence[Row]) -> RichTable:
    from rich.table import Table  # noqa: PLC0415  # as above
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, show_header=any(head), header_style="bold", pad_edge=False)
    for name in head:
        table.add_column(name, no_wrap=name != "NOTE")
    for row in rows:
        table.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
    return table


def _replicas(status: dict[str, Any]) -> str:
    ready = sum(one["phase"] == "ready" for one in status["replicas"])
    return f"{ready}/{status['wanted']}"


def _note(status: dict[str, Any]) -> str:
    notes = ["paused"] if status["paused"] else []
    if status["failure"]:
        first = str(status["failure"]).partition("\n")[0]
        notes.append(first.removesuffix("; its last lines:"))  # they take lines of their own
    if status.get("trouble") and status["trouble"] not in str(status["failure"]):
        notes.append(str(status["trouble"]))
    if status["state"] == "activating" and not notes:
        waits_for = (one["detail"] for one in status["replicas"] if one["phase"] != "ready")
        notes += [reason for reason in waits_for if reason][:1]
    if status["retry_in"]:
        notes.append(f"next start in {span(status['retry_in'])}")
    return "; ".join(notes)
