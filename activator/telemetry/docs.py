"""The table of metrics in `docs/operations.md`, out of `families`, so that they cannot disagree.

`python -m activator.telemetry.docs docs/operations.md` writes it between the page's markers; a test
compares.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from activator.telemetry.families import BOOKED, COUNTED, NOW, PROCESS

if TYPE_CHECKING:
    from activator.telemetry.families import Family

BEGIN = "<!-- metrics: written by python -m activator.telemetry.docs -->"
END = "<!-- end of metrics -->"


def render() -> str:
    """A row for every metric, in the order in which they are scraped."""
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    families: tuple[Family[Any], ...] = (*COUNTED, *NOW, *BOOKED)
    for family in families:
        lines.append(_row(family, ", ".join(f"`{label}`" for label in family.labels)))
    lines.extend(_row(family, "process") for family in PROCESS)
    return "\n".join(lines) + "\n"


def _row(family: Family[Any], labels: str) -> str:
    meaning = family.meaning[:1].lower() + family.meaning[1:]
    return f"| `{family.sample}` | {family.kind} | {labels} | {meaning} |"


def updated(page: str) -> str:
    """The page with a fresh table between its markers. Raises ValueError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{render()}\n{END}{after}"


def main(page: Path) -> None:
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
