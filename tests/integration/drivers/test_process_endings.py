"""However a replica, its watcher or the activator ends: nothing of its tree is left running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from activator.aiokit.tasks import Tasks
from activator.core.endpoint import ProcessBackend
from activator.drivers import watched, watcher
from activator.drivers.process import ProcessDriver
from tests.driving import driving
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

PYTHON = (sys.executable, "-I", "-S", "-c")
ROOT = Path(__file__).parents[3]

STUBBORN_TREE = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def note():
    pids = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(pids, f"{os.getpid()}\\n".encode())
note()
if os.fork() == 0:
    note()
elif os.fork() == 0:
    if sys.argv[2] == "daemon":
        os.setsid()
        if os.fork():
            os._exit(0)
    note()
time.sleep(60)
"""
"""A model, its child, and another child or a daemon; each writes its pid to a file, model first."""

HOST = """
import asyncio, functools, signal, sys
from activator.core.endpoint import ProcessBackend
from activator.drivers.process import ProcessDriver

async def main():
    driver = ProcessDriver("m", ProcessBackend(tuple(sys.argv[1:]), stop_grace=60.0))
    say = functools.partial(print, "interrupted", flush=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, say)
    await driver.scale(1)
    await driver.run(lambda snapshot: None)

asyncio.run(main())
"""


class Tree:
    """The pids that a stubborn tree wrote down."""

    def __init__(self, folder: Path) -> None:
        self.notes = folder / "pids"

    def command(self, *, daemon: bool = True) -> tuple[str, ...]:
        return (*PYTHON, STUBBORN_TREE, str(self.notes), "daemon" if daemon else "")

    @property
    def pids(self) -> list[int]:
        return [int(pid) for pid in self.notes.read_text().split()] if self.notes.exists() else []

    async def grown(self) -> None:
        await eventually(lambda: len(self.pids) == 3)

    def living(self) -> list[int]:
        return [pid for pid in self.pids if _lives(pid)]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path)
    yield tree
    for pid in tree.living():
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def host(tree: Tree, *, daemon: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that runs the driver, in a group of its own as a shell would start it."""
    command = (sys.executable, "-c", HOST, *tree.command(daemon=daemon))
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, process_group=0) as process:
        try:
            yield process
        finally:
            process.kill()


def stubborn(tree: Tree, *, grace: float, daemon: bool = True) -> ProcessDriver:
    return ProcessDriver("m", ProcessBackend(tree.command(daemon=daemon), stop_grace=grace))


async def test_a_stop_ends_grandchildren_that_ignore_it_and_have_left_the_session(
    tree: Tree,
) -> None:
    subject = stubborn(tree, grace=0.1)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()

        await subject.scale(0)
        await driven.until_empty()

        assert tree.living() == []
        assert driven.now.exits == ()


async def test_the_grace_is_kept_before_anything_is_killed(tree: Tree) -> None:
    subject = stubborn(tree, grace=0.3)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()
        ordered = asyncio.get_running_loop().time()
        await subject.scale(0)
        await driven.until_empty()

        assert asyncio.get_running_loop().time() - ordered >= 0.3


async def test_what_a_model_leaves_behind_when_it_exits_is_ended(tree: Tree) -> None:
    subject = stubborn(tree, grace=60.0)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()
        [replica] = driven.started()

        os.kill(int(replica.detail.removeprefix("pid ")), signal.SIGKILL)
        exit_ = await driven.until_exit()

        assert exit_.cause.exit_code == -signal.SIGKILL
        assert tree.living() == []


async def test_ending_the_driver_stops_everything_before_it_returns(tree: Tree) -> None:
    subject = stubborn(tree, grace=0.1)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()
        await driven.end()

        assert tree.living() == []


async def test_a_second_cancellation_shortens_the_grace_and_still_leaves_nothing(
    tree: Tree,
) -> None:
    subject = stubborn(tree, grace=60.0)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()
        driven.run.cancel()
        await asyncio.wait([driven.run], timeout=0.05)
        assert not driven.run.done()

        driven.run.cancel()
        await asyncio.wait([driven.run], timeout=2.0)

        assert driven.run.cancelled()
        assert tree.living() == []


async def test_a_reader_that_fails_ends_no_process_and_leaves_none_behind(tree: Tree) -> None:
    subject = stubborn(tree, grace=0.1)
    broken, failed = False, 0

    def report(_: object) -> None:
        nonlocal failed
        if broken:
            failed += 1
            raise LookupError("the reader is broken")

    tasks = Tasks("test")
    await subject.scale(1)
    run = tasks.spawn(subject.run(report), name="run")
    await tree.grown()
    broken = True
    with pytest.raises(LookupError):
        await subject.scale(2)
    told = failed
    await eventually(lambda: failed > told + 1)
    assert not run.done()
    assert tree.living()
    await tasks.aclose()

    assert tree.living() == []


async def test_killing_the_watcher_kills_its_model_and_is_told(tree: Tree) -> None:
    subject = stubborn(tree, grace=60.0, daemon=False)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()
        os.kill(_parent(tree.pids[0]), signal.SIGKILL)
        exit_ = await driven.until_exit()

        assert exit_.cause.message == "its watcher was killed by SIGKILL, and so it was killed"
        assert tree.living() == []


async def test_a_model_dies_with_its_watcher_even_while_the_activator_hangs(tree: Tree) -> None:
    with host(tree, daemon=False) as process:
        await tree.grown()
        process.send_signal(signal.SIGSTOP)

        os.kill(_parent(tree.pids[0]), signal.SIGKILL)
        await eventually(lambda: not _lives(tree.pids[0]))

        process.send_signal(signal.SIGCONT)
        await eventually(lambda: not tree.living())


async def test_a_watcher_that_does_not_answer_is_overruled(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "OVERDUE", 0.2)
    subject = stubborn(tree, grace=0.1, daemon=False)

    async with driving(subject) as driven:
        await subject.scale(1)
        await tree.grown()
        os.kill(_parent(tree.pids[0]), signal.SIGSTOP)

        await subject.scale(0)
        await driven.until_empty()

        assert tree.living() == []
        assert driven.now.exits == ()


async def test_killing_the_activator_leaves_no_orphan(tree: Tree) -> None:
    with host(tree) as process:
        await tree.grown()
        watching = _parent(tree.pids[0])

        process.kill()

        await eventually(lambda: not tree.living(), within=watcher.LEFTOVER_GRACE + 1.0)
        await eventually(lambda: not _lives(watching))


async def test_terminating_the_activator_without_a_handler_leaves_no_orphan(tree: Tree) -> None:
    with host(tree) as process:
        await tree.grown()

        process.terminate()

        await eventually(lambda: not tree.living(), within=watcher.LEFTOVER_GRACE + 1.0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_signals_of_the_terminal_end_neither_the_watcher_nor_the_model(
    tree: Tree, number: signal.Signals
) -> None:
    with host(tree) as process:
        await tree.grown()
        watching = _parent(tree.pids[0])

        os.kill(watching, number)
        os.killpg(process.pid, signal.SIGINT)

        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"interrupted\n"
        assert len(tree.living()) == 3
        assert _lives(watching)


def _lives(pid: int) -> bool:
    seen = watcher.processes().get(pid)
    return seen is not None and seen[0] != "Z"


def _parent(pid: int) -> int:
    return watcher.processes()[pid][1]
