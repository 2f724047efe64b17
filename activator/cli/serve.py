"""`activator serve`: logging and the overrides of the file, then the composition root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from activator.app import StartError, serve
from activator.cli.arguments import environment
from activator.cli.outcome import Failed, WrongUsage
from activator.telemetry import logs

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    if args.config is None:
        raise WrongUsage("which configuration? activator serve -c FILE, or ACTIVATOR_CONFIG")
    log_format = _choice(args.log_format, "LOG_FORMAT", logs.FORMATS, default="text")
    level = _choice(args.log_level, "LOG_LEVEL", logs.LEVELS, default="info")
    requests = _choice(args.request_log, "REQUEST_LOG", logs.REQUEST_LINES, default="all")
    logs.configure(
        cast("logs.Format", log_format), level=level, requests=cast("logs.Requests", requests)
    )
    try:
        return serve(Path(args.config), overrides=overrides(args))
    except StartError as failed:
        raise Failed(str(failed)) from failed


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """What options and environment say instead of the file, by key path."""
    found: dict[str, Any] = {}
    listen = args.listen or [
        one.strip() for one in (environment("LISTEN") or "").split(",") if one.strip()
    ]
    if listen:
        found["server.listen"] = listen
    # the variable also tells the client commands where to go, so it may be a URL
    admin = args.admin or environment("ADMIN")
    if admin:
        found["server.admin"] = admin.removeprefix("http://").rstrip("/")
    return found


def _choice(option: str | None, name: str, choices: tuple[str, ...], *, default: str) -> str:
    value = option or environment(name) or default
    if value not in choices:
        raise WrongUsage(f"ACTIVATOR_{name} is one of {', '.join(choices)}, not {value!r}")
    return value
