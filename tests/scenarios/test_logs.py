"""What `activator serve` logs, and what becomes of it when nobody reads that."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

from tests.serving import serving

if TYPE_CHECKING:
    from pathlib import Path

CHATTY = "for n in $(seq 100); do printf '%0400d\\n' $n; done"
"""40 KB, each line of which is logged."""


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
