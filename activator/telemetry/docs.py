"""The table of metrics in `docs/operations.md`, out of `families`, so that they cannot disagree.

`python -m activator.telemetry.docs docs/operations.md` writes it between the page's markers; a test
compares.
"""

from __future__ import annotations

import sys
from pathlib import Path

from activator.telemetry.families import Families
from activator.telemetry.metrics import Metrics

BEGIN = "<!-- metrics: written by python -m activator.telemetry.docs -->"
END = "<!-- end of metrics -->"


def render() -> str:
    """A row for every metric, in the order in which they are scraped."""
    lines = ["| metric | kind | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in Families(Metrics()).collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        # the library keeps them for its own use, and has no other place that tells them
        labels: tuple[str, ...] = family._labelnames  # type: ignore[attr-defined]  # see above
        others = ", ".join(f"`{label}`" for label in labels if label != "endpoint")
        of = others if "endpoint" in labels else "process"
        meaning = family.documentation[:1].lower() + family.documentation[1:]
        lines.append(f"| `{name}` | {family.type} | {of} | {meaning} |")
    return "\n".join(lines) + "\n"


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
