"""`activator check` looks into the files beside the configuration too."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from activator.config.report import check_report
from activator.errors import ConfigError
from tests.unit.config.support import MINIMAL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "activator.yaml"
    path.write_text("auth: {apiKeysFile: keys, adminTokenFile: token}\n" + MINIMAL)
    (tmp_path / "token").write_text("hush")
    (tmp_path / "keys").write_text(f"alice:{sha256(b'x').hexdigest()}:a,gone\n")
    return path


def test_a_key_for_an_endpoint_that_is_not_there_is_a_warning(config: Path) -> None:
    report = check_report(config, environ={})
    assert report.resolved["endpoints"][0]["name"] == "a"
    assert report.warnings == (f"{config.parent}/keys: key `alice`: there is no endpoint `gone`",)


def test_mistakes_in_the_file_of_keys_are_problems(config: Path) -> None:
    (config.parent / "keys").write_text("alice\n")
    with pytest.raises(ConfigError) as caught:
        check_report(config, environ={})
    (problem,) = caught.value.problems
    assert problem.startswith(f"{config.parent}/keys:1: ")
