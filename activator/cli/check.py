"""`activator check`: every problem at once, or the configuration as it would be in force."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from activator.cli.outcome import WrongUsage, say
from activator.cli.progress import Progress
from activator.config.settings import load

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    if args.config is None:
        raise WrongUsage("which configuration? activator check -c FILE, or ACTIVATOR_CONFIG")
    with Progress(f"checking {args.config}"):
        settings = load(Path(args.config))
    for warning in settings.warnings:
        say(f"warning: {warning}")
    resolved = settings.masked()
    if args.json:
        print(json.dumps(resolved, indent=2, ensure_ascii=False))
    else:
        print(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), end="")
    return 0
