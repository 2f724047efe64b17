"""`activator schema`: what an editor needs to complete and check a configuration."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from activator.config.schema import json_schema

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
