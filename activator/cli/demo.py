"""`activator demo`: the show of `activator.demo`, given the real activator to play with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from activator.app import build
from activator.demo.show import main

if TYPE_CHECKING:
    import argparse


def run(args: argparse.Namespace) -> int:
    return main(args.rest, build=build)
