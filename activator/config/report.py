"""All that can be said about a configuration without running it: `activator check`.

Goes one step beyond `load`: the files that are only read while running are looked into as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.config.keys import load_keys
from activator.config.references import read_secret
from activator.config.settings import load
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from activator.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Report:
    """`resolved` is `Settings.masked()`; problems and warnings are a line each."""

    resolved: Mapping[str, Any]
    warnings: tuple[str, ...]


def check_report(path: Path, *, environ: Mapping[str, str] | None = None) -> Report:
    """Raises ConfigError with every problem of the file and of the key files it names."""
    settings = load(path, environ=environ)
    problems: list[str] = []
    warnings = list(settings.warnings)
    if settings.auth.api_keys_file is not None:
        try:
            warnings += _unknown_endpoints(settings, settings.auth.api_keys_file)
        except ConfigError as error:
            problems += error.problems
    if settings.auth.admin_token_file is not None:
        try:
            read_secret(settings.auth.admin_token_file)
        except ValueError as error:
            problems.append(f"{path}: auth.adminTokenFile: {error}")
    if problems:
        raise ConfigError(problems)
    return Report(settings.masked(), tuple(warnings))


def _unknown_endpoints(settings: Settings, path: Path) -> Iterator[str]:
    known = {endpoint.name for endpoint in settings.endpoints}
    for key in load_keys(path):
        for name in sorted((key.endpoints or frozenset()) - known):
            yield f"{path}: key `{key.name}`: there is no endpoint `{name}`"
