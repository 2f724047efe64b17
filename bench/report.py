"""What came out: a table and verdicts for people, JSON for whatever compares runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Cell = str | int | float | None
WIDTH = 120
"""Columns where there is no terminal that says its own."""
NOT_SHOWN = ("pinned", "python_options", "warnings")
"""Of the machine: JSON only, or told otherwise."""
QUIET = 0.05
"""Cores that others may use without our saying so."""
LOUD = 0.5
"""Cores beyond which figures of time are worth nothing."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One figure against its limit."""

    what: str
    measured: float
    limit: float
    unit: str
    at_least: bool = False
    """The limit is a lower bound."""

    @property
    def passed(self) -> bool:
        if self.at_least:
            return self.measured >= self.limit
        return self.measured <= self.limit

    def __str__(self) -> str:
        relation = "at least" if self.at_least else "at most"
        word = "PASS" if self.passed else "MISS"
        unit = f" {self.unit}" if self.unit else ""
        return f"{word}  {self.what}: {self.measured:.4g}{unit} ({relation} {self.limit:g}{unit})"


@dataclass(frozen=True, slots=True)
class Result:
    """Everything a benchmark has to say. `rows` share their keys, which are the table's heads."""

    name: str
    title: str
    plan: Mapping[str, object]
    rows: Sequence[Mapping[str, Cell]]
    verdicts: Sequence[Verdict] = ()
    notes: Sequence[str] = ()
    """What a reader must know: what was left out, what was not in order."""
    raw: Mapping[str, object] = field(default_factory=dict)
    """Each round's figures, JSON only."""

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


def print_machine(described: Mapping[str, object], *, warnings: Sequence[str]) -> None:
    console = _console()
    for key, value in described.items():
        if key not in NOT_SHOWN:
            console.print(f"{key.replace('_', ' ')}: {value}")
    for warning in warnings:
        console.print(f"warning  {warning}", style="bold yellow")


def print_result(result: Result, *, bystanders: float, stolen: float) -> None:
    """`bystanders`: cores that other processes used meanwhile. `stolen`: that the host of a virtual
    machine gave to others."""
    console = _console()
    console.print(f"\n{result.name}: {result.title}")
    if result.rows:
        table = Table()
        for head in result.rows[0]:
            numeric = any(isinstance(row[head], int | float) for row in result.rows)
            table.add_column(head, justify="right" if numeric else "left")
        for row in result.rows:
            table.add_row(*(_shown(cell) for cell in row.values()))
        console.print(table)
    for note in result.notes:
        console.print(f"note  {note}")
    for used, said in (
        (bystanders, f"other processes used {bystanders:.2f} cores meanwhile"),
        (stolen, f"the host gave {stolen:.2f} cores to others meanwhile"),
    ):
        if used > QUIET:
            luck = ", and what passes or misses by time does so by luck" if used > LOUD else ""
            console.print(f"note  {said}: not quiet{luck}")
    for verdict in result.verdicts:
        console.print(str(verdict), style="green" if verdict.passed else "bold red")


def write(result: Result, described: Mapping[str, object], *, folder: Path) -> Path:
    """The whole result as `folder`/NAME.json; returns where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    content = {
        "machine": dict(described),
        **asdict(result),
        "verdicts": [{**asdict(one), "passed": one.passed} for one in result.verdicts],
        "passed": result.passed,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def _console() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    return console if console.is_terminal else Console(width=WIDTH, highlight=False, markup=False)


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell
