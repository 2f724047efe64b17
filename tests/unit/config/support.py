"""Files written for one test, and what is said about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from activator.config.settings import Settings, load
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MINIMAL = """\
endpoints:
  - name: a
    backend: {type: process, command: [serve, --port, "{port}"]}
"""


def settings_of(
    directory: Path,
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    path = directory / "activator.yaml"
    path.write_text(text, "utf-8")
    return load(path, environ=environ or {}, overrides=overrides)


def problems_of(
    directory: Path,
    text: str,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[str]:
    """The problems without the file's name: `LINE: key.path: message`."""
    with pytest.raises(ConfigError) as caught:
        settings_of(directory, text, environ=environ, overrides=overrides)
    return [line.removeprefix(f"{directory}/activator.yaml:") for line in caught.value.problems]


def warnings_of(directory: Path, text: str) -> list[str]:
    found = settings_of(directory, text).warnings
    return [line.removeprefix(f"{directory}/activator.yaml:") for line in found]


def endpoint(keys: str, *, backend: str = 'process, command: [x, "{port}"]') -> str:
    """A file that listens on loopback, with one endpoint; `keys` are further lines of it."""
    lines = ["server: {listen: 127.0.0.1:0}", "endpoints:", "  - name: a"]
    lines += [f"    backend: {{type: {backend}}}"]
    lines += [f"    {line}" for line in keys.splitlines()]
    return "\n".join(lines) + "\n"
