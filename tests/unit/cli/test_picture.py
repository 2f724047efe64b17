"""What `activator status` looks like in a terminal, as the README shows it."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from io import StringIO
from pathlib import Path

from rich.console import Console

from activator.cli.tables import ENDPOINTS, Seen, drawn, endpoint_row
from tests.unit.admin.support import a_working_day

PICTURE = Path(__file__).parents[3] / "docs" / "images" / "status.svg"
ANEW = bool(os.environ.get("ACTIVATOR_PICTURES"))  # gone within a test, as all of ours is
FONT = re.compile(r"@font-face \{.*?\}", re.DOTALL)


def test_the_picture_in_the_readme_is_what_a_terminal_shows(tmp_path: Path) -> None:
    """With ACTIVATOR_PICTURES set, the picture is made anew."""
    rows = [endpoint_row(asdict(one)) for one in a_working_day()]
    console = Console(record=True, width=96, file=StringIO(), force_terminal=True)
    console.print(drawn(Seen(((ENDPOINTS, rows),))))
    svg = FONT.sub("", console.export_svg(title="activator status"))  # nothing from elsewhere

    folder = PICTURE.parent if ANEW else tmp_path
    (folder / PICTURE.name).write_text(svg, encoding="utf-8")

    assert "url(" not in svg.replace("url(#", "")
    assert words(PICTURE.read_text(encoding="utf-8")) == words(svg)


def words(svg: str) -> list[str]:
    """How it is drawn is the library's; what is said is ours."""
    return [text.replace("&#160;", " ").strip() for text in re.findall(r"<text[^>]*>([^<]*)", svg)]
