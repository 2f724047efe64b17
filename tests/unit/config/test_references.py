"""Where a secret is looked up, and what is said when it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from activator.config.references import is_reference, read_secret, resolve, variable

if TYPE_CHECKING:
    from pathlib import Path


def test_a_variable_is_taken_from_the_environment() -> None:
    assert variable("${TOKEN}", environ={"TOKEN": "x"}) == "x"


def test_other_text_stands_for_itself() -> None:
    for text in ("plain", "$TOKEN", "a ${TOKEN}", "${}", "${1X}"):
        assert variable(text, environ={}) == text
        assert not is_reference(text)


def test_an_unset_variable_is_named() -> None:
    with pytest.raises(ValueError, match="the environment has no TOKEN"):
        variable("${TOKEN}", environ={})


def test_a_file_is_relative_to_the_base_and_loses_its_last_newline(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    assert resolve("file:secret", environ={}, base=tmp_path) == "hush"
    assert resolve(f"file:{tmp_path}/secret", environ={}, base=tmp_path / "x") == "hush"


@pytest.mark.parametrize(
    ("content", "said"), [(None, "No such file"), (b" \n", "is empty"), (b"\xff", "is not text")]
)
def test_a_secret_that_is_none_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_secret(path)
