"""A Redis of its own for a benchmark: nothing on disk, gone afterwards."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bench.failure import BenchError
from bench.processes import LOOPBACK, free_port, started, wait_until_listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.lab import Lab


def installed() -> bool:
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server(lab: Lab, *, core: int | None = None) -> Iterator[str]:
    """Its URL. `core`: the upstream's, unless it is said. Raises BenchError where there is none."""
    executable = shutil.which("redis-server")
    if executable is None:
        raise BenchError("there is no redis-server (apt install redis-server)")
    port = free_port()
    command = [executable, "--port", str(port), "--bind", LOOPBACK, "--save", ""]
    log = lab.folder / f"redis-{port}.log"
    with started(command, core=lab.cores.upstream if core is None else core, log=log) as running:
        wait_until_listening(port, by=running)
        yield f"redis://{LOOPBACK}:{port}"
