"""All that can be said about a configuration without running it: `activator check`.

Goes one step beyond `load`: the file of API keys, which is read again and again while running,
is looked into as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activator.config.keys import load_keys
from activator.config.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from activator.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Report:
    """`resolved` is `Settings.masked()`; a warning is a line."""

    resolved: Mapping[str, Any]
    warnings: tuple[str, ...]


def check_report(path: Path, *, environ: Mapping[str, str] | None = None) -> Report:
    """Raises ConfigError with every problem of the file, or of the keys' file it names."""
    settings = load(path, environ=environ)
    warnings = list(settings.warnings)
    if settings.auth.api_keys_file is not None:
        warnings += _unknown_endpoints(settings, settings.auth.api_keys_file)
    return Report(settings.masked(), tuple(warnings))


def _unknown_endpoints(settings: Settings, path: Path) -> Iterator[str]:
    known = {endpoint.name for endpoint in settings.endpoints}
    for key in load_keys(path):
        for name in sorted((key.endpoints or frozenset()) - known):
            yield f"{path}: key `{key.name}`: there is no endpoint `{name}`"
