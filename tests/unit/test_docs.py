"""The documentation keeps its promises: links resolve, every reason and metric is explained."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from activator.admin.openapi import CALLS
from activator.cli.arguments import COMMANDS
from activator.errors import ActivatorError
from activator.telemetry.exposition import Format
from activator.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs/index.md").read_text(encoding="utf-8")
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"index.md"}
    assert pages == set(LINK.findall(index))


def test_every_reason_has_a_section_in_troubleshooting_and_its_status() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## `(\w+)`\n+\*(\d+)", text, re.MULTILINE))
    known = {one.reason: str(one.status) for one in ActivatorError.__subclasses__()}
    assert sections == known


def test_every_metric_is_in_the_table_with_its_name_as_scraped() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(activator_\w+)`", text, re.MULTILINE))
    exposed = "".join(Metrics().render(Format.PLAIN))
    families = set(re.findall(r"^# TYPE (activator_\w+) ", exposed, re.MULTILINE))
    assert documented == families


def test_every_admin_call_is_in_the_table() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for _, path in CALLS:
        if path != "/openapi.json":
            last = path.replace("{name}", "NAME").replace("{id}", "ID").rpartition("/")[2]
            assert re.search(rf"^\|.*/{last}`", text, re.MULTILINE), path


def test_every_command_is_shown_somewhere() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for name in COMMANDS:
        assert re.search(rf"activator {name}|`{name}`", text), name


def test_the_commands_that_newcomers_are_told_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for text in ((ROOT / "README.md"), (ROOT / "CONTRIBUTING.md")):
        for target in re.findall(r"^make (\w+)", text.read_text(encoding="utf-8"), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_paths_in_the_map_exist() -> None:
    for page in (ROOT / "docs/architecture.md", ROOT / "CONTRIBUTING.md"):
        rows = re.findall(r"^\|.*$", page.read_text(encoding="utf-8"), re.MULTILINE)
        named = {one for row in rows for one in re.findall(r"`([\w/]+(?:/|\.py|\.md))`", row)}
        assert named
        for one in named:
            assert (ROOT / "activator" / one).exists() or (ROOT / one).exists(), one


def test_the_license_of_the_package_is_the_file() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")
