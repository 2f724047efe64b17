"""What people who wait at a terminal see, and nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from activator.core.status import ReplicaStatus
from tests.unit.admin.support import Admin, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

REPLICA = ReplicaStatus("r1", "pulled", "", 0, 3.0, detail="evil\x1b[2Jwords")


def now_is(admin: Admin, state: str, *replicas: ReplicaStatus) -> None:
    before = admin.house.statuses["llama"]
    admin.house.statuses["llama"] = replace(before, state=state, replicas=replicas, eta=28.0)


class Started:
    """A command whose stderr is a terminal, and whose stdout is a pipe."""

    def __init__(self, process: subprocess.Popen[bytes], screen: int) -> None:
        self.process = process
        self._screen = screen
        self.shown = b""

    async def until_shown(self, words: bytes) -> None:
        async with asyncio.timeout(20.0):
            while words not in self.shown:
                self.shown += await asyncio.to_thread(os.read, self._screen, 65536)

    async def ended(self) -> tuple[int, bytes]:
        """Its status, and what it wrote to stdout; the rest of the screen was read."""
        out, _ = await asyncio.to_thread(self.process.communicate, timeout=20.0)
        with contextlib.suppress(OSError):  # nobody has it open any more
            while more := os.read(self._screen, 65536):
                self.shown += more
        return self.process.returncode, out


@contextlib.asynccontextmanager
async def started(admin: Admin, *words: str) -> AsyncIterator[Started]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "activator", *words, "--admin", admin.url],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
    )
    os.close(theirs)
    try:
        yield Started(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def slow(admin: Admin, until: asyncio.Event) -> Callable[[str], object]:
    """Activating that is answered when the test says so."""
    activate = admin.house.activate

    async def wait(name: str) -> None:
        await until.wait()
        await activate(name)

    return wait


async def test_a_start_that_is_waited_for_is_told_on_a_line_that_goes_when_it_is_ready() -> None:
    async with running() as admin, started(admin, "activate", "llama", "--wait") as command:
        await command.until_shown(b"activating")
        now_is(admin, "activating", REPLICA)
        await command.until_shown(b"pulled")
        await command.until_shown(b"about 28s more")
        now_is(admin, "active", replace(REPLICA, phase="ready", detail=""))
        status, out = await command.ended()

    assert status == 0
    assert out == b"llama: active, 1/1 replicas ready\n"
    assert b"\x1b[2J" not in command.shown
    assert command.shown.rstrip().endswith(b"\x1b[2K")  # the line is taken away


async def test_an_order_that_takes_a_while_is_told_and_a_fast_one_is_not() -> None:
    async with running() as admin:
        answer = asyncio.Event()
        quick = admin.house.activate
        admin.house.activate = slow(admin, answer)  # type: ignore[method-assign,assignment]  # is slow
        async with started(admin, "activate", "llama") as command:
            await command.until_shown(b"activating llama")
            answer.set()
            assert (await command.ended())[0] == 0

        admin.house.activate = quick  # type: ignore[method-assign]  # as it was
        async with started(admin, "activate", "whisper") as command:
            assert await command.ended() == (0, b"whisper: activating, 0/1 replicas ready\n")
        assert b"\x1b" not in command.shown


async def test_without_a_terminal_nothing_is_drawn() -> None:
    async with running() as admin:
        answer = asyncio.Event()
        asked = asyncio.Event()

        async def wait(name: str) -> None:
            asked.set()
            await answer.wait()

        admin.house.activate = wait  # type: ignore[method-assign]  # is slow
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "activator", "activate", "llama", "--admin", admin.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"FORCE_COLOR": "1"},
        )
        await asked.wait()
        asyncio.get_running_loop().call_later(1.5, answer.set)  # longer than a line is waited for
        out, err = await process.communicate()

    assert (process.returncode, err) == (0, b"")
    assert out == b"llama: inactive, 0/0 replicas ready\n"
