"""What a benchmark is given: cores, a folder that goes with it, how thorough to be."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.contestant import Contestant
from bench.processes import LOOPBACK, free_port, python, started, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bench.machine import Cores
    from bench.processes import Address, Running
    from bench.size import Size


@dataclass(frozen=True, slots=True)
class Lab:
    cores: Cores
    size: Size
    folder: Path
    interpreter: str = sys.executable
    """The Python that runs the activator."""
    model_python: str = sys.executable
    """The one that runs a model on a GPU."""
    record: bool = False
    """What is counted is what later runs are judged by."""

    @contextmanager
    def upstream(self) -> Iterator[Address]:
        """The instant server (`bench.upstream`), where every proxy finds it."""
        with self._instant(core=self.cores.upstream, name="upstream") as (port, _):
            yield LOOPBACK, port

    @contextmanager
    def direct(self) -> Iterator[Contestant]:
        """The instant server in a contestant's place: on its core, so that a client reaches it
        the way it reaches a proxy. Two processes on one core talk several times cheaper."""
        with self._instant(core=self.cores.contestant, name="direct") as (port, running):
            yield Contestant("direct", (LOOPBACK, port), "direct", running)

    @contextmanager
    def _instant(self, *, core: int, name: str) -> Iterator[tuple[int, Running]]:
        port = free_port()
        command = python("bench.upstream", "--port", str(port))
        with started(command, core=core, log=self.folder / f"{name}.log") as running:
            wait_until_listening(port, by=running)
            yield port, running
