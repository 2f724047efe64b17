"""What `activator serve` logs, and what becomes of it when nobody reads that."""

from __future__ import annotations

import resource
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.serving import serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHATTY = "for n in $(seq 100); do printf '%0400d\\n' $n; done"
"""40 KB, each line of which is logged."""


@pytest.fixture
def files_that_may_be_open() -> Iterator[int]:
    """A hard limit, far above the soft one, for what is started meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] > 512
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
    yield before[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def test_as_many_files_may_be_open_as_the_system_allows(
    tmp_path: Path, files_that_may_be_open: int
) -> None:
    async with serving(tmp_path) as s:
        assert s.log[-1]["open_files"] == files_that_may_be_open
        limits = resource.prlimit(s.process.pid, resource.RLIMIT_NOFILE)
        assert limits == (files_that_may_be_open, files_that_may_be_open)


async def test_requests_are_answered_while_nobody_reads_the_logs(tmp_path: Path) -> None:
    async with serving(tmp_path, before=CHATTY) as s:
        s.read_no_logs()
        for _ in range(3):
            assert (await s.get()).body == b"hello"

        began = time.monotonic()
        s.tell(signal.SIGTERM)
        assert await s.process.wait() == 0
        assert time.monotonic() - began < 8.0
        assert len(await s.rest_of_logs()) < 10_000  # it was stuck


async def test_logs_that_are_read_late_are_whole(tmp_path: Path) -> None:
    async with serving(tmp_path, before=CHATTY) as s:
        s.read_no_logs()
        assert (await s.get()).body == b"hello"
        s.tell(signal.SIGTERM)
        assert await s.ended() == 0
        printed = [one["message"] for one in s.log if one["logger"] == "activator.replica"]
        assert [line for line in printed if line.isdigit()] == [f"{n:0400}" for n in range(1, 101)]
        assert s.log[-1]["action"] == "stopped"
