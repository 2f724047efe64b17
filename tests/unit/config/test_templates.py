"""Templates of the waiting page: found beside the file, looked into before they are in force."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from activator.config.annotations import read_declaration
from activator.config.templates import read_template
from activator.core.declarations import Declaration
from activator.core.page_template import LARGEST, NAMES, template_problems
from tests.unit.config.support import MINIMAL, endpoint, problems_of, settings_of

GUIDE = Path(__file__).parents[3] / "docs/waiting-page.md"
KEYS = "waitingPage: true\nwaitingPageTemplate: page.html"
PAGE = "<head>$head</head>$headline"


def test_the_page_is_off_and_ours_unless_something_is_said(tmp_path: Path) -> None:
    (quiet,) = settings_of(tmp_path, MINIMAL).endpoints
    assert (quiet.waiting_page, quiet.page_template) == (False, "")


def test_a_template_stands_beside_the_file_and_its_text_is_part_of_the_settings(
    tmp_path: Path,
) -> None:
    (tmp_path / "page.html").write_text(PAGE, "utf-8")
    before = settings_of(tmp_path, endpoint(KEYS))
    (made,) = before.endpoints
    assert (made.waiting_page, made.page_template) == (True, PAGE)
    assert dict(before.templates) == {tmp_path / "page.html": PAGE}

    (tmp_path / "page.html").write_text(PAGE + "!", "utf-8")
    assert settings_of(tmp_path, endpoint(KEYS)) != before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"$head $hedline", "`$hedline` is none of"),
        (b"<p>", "has no `$head`"),
        (b"\xff$head", "is not UTF-8"),
        (b"$head" + b" " * LARGEST, "is larger than 256KiB"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_one_that_cannot_be_used_is_a_problem_at_its_key(
    tmp_path: Path, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "page.html").write_bytes(content)
    (problem,) = problems_of(tmp_path, endpoint(KEYS))
    assert problem.startswith("6: endpoints[0].waitingPageTemplate: ")
    assert said in problem


def test_that_of_the_defaults_is_looked_into_for_endpoints_that_are_declared_elsewhere(
    tmp_path: Path,
) -> None:
    text = "defaults: {waitingPageTemplate: page.html}\nsources: {kubernetes: {namespaces: [n]}}\n"
    (problem,) = problems_of(tmp_path, text + "endpoints: []\n")
    assert problem.startswith("1: defaults.waitingPageTemplate: ")

    (tmp_path / "page.html").write_text(PAGE, "utf-8")
    settings = settings_of(tmp_path, text + "endpoints: []\n")
    said = (("enabled", "true"), ("port", "80"), ("waiting-page", "true"))
    it = Declaration("apps/v1", "Deployment", "n", "llama", "u1", "", said)
    made = read_declaration(it, defaults=settings.defaults, base=tmp_path)
    assert (made.waiting_page, made.page_template) == (True, PAGE)


def test_the_example_in_the_docs_is_in_order() -> None:
    found = re.search(r"```html\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
    assert found is not None
    assert template_problems(found[1]) == []


def test_the_docs_explain_every_placeholder() -> None:
    rows = re.findall(r"^\| `\$(\w+)` \|", GUIDE.read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def test_all_that_is_wrong_is_told(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("$one $two", "utf-8")
    with pytest.raises(ValueError, match=r"\$one.*\$two.*no `\$head`"):
        read_template(path)
