"""`activator status --watch`: on a terminal, until Ctrl-C."""

from __future__ import annotations

import asyncio
import io
import os
import pty
import signal
import subprocess
import sys

import pytest
from rich.console import Console

from activator.cli.outcome import Failed
from activator.cli.tables import Seen
from activator.cli.watching import watch
from tests.unit.admin.support import running
from tests.unit.cli.support import exits


class Looks:
    """What is seen, look after look, and Ctrl-C after the last."""

    def __init__(self, *seen: str | Failed) -> None:
        self._seen = list(seen)

    def __call__(self) -> Seen:
        if not self._seen:
            raise KeyboardInterrupt
        match self._seen.pop(0):
            case Failed() as failed:
                raise failed
            case cell:
                return Seen(((("ENDPOINT", "STATE"), [("m", str(cell))]),), ("and a note",))


def watched(*seen: str | Failed) -> str:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    watch(Looks(*seen), every=0.0, console=console)
    return screen.getvalue()


def test_each_look_is_drawn_over_the_one_before() -> None:
    shown = watched("inactive", "activating", "draining")

    assert shown.index("inactive") < shown.index("activating") < shown.index("draining")
    assert "and a note" in shown
    assert "\x1b[1A" in shown  # up again


def test_an_activator_that_is_away_for_a_while_ends_nothing() -> None:
    shown = watched("active", Failed("no activator answers"), "inactive")

    last = shown[shown.index("no activator answers") :]
    assert "no activator answers; trying again" in shown
    assert "inactive" in last


def test_what_fails_at_once_has_failed() -> None:
    with pytest.raises(Failed, match="no activator answers"):
        watched(Failed("no activator answers"))


def test_what_comes_from_outside_moves_no_cursor() -> None:
    assert "\x1b[2J" not in watched("evil\x1b[2J", Failed("evil\x1b[2J"))


@pytest.mark.parametrize(
    ("words", "says"), [("", "draws on a terminal"), ("--json", "without --json and --csv")]
)
def test_without_a_terminal_it_says_what_to_use(
    words: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exits(["status", "--watch", *words.split()]) == 2
    assert says in capsys.readouterr().err


async def test_ctrl_c_is_its_good_end() -> None:
    async with running() as admin:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "activator", "status", "--watch", "--admin", admin.url],
            stdout=theirs,
            env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"},
        )
        os.close(theirs)
        shown = b""
        async with asyncio.timeout(20.0):
            while b"whisper" not in shown:
                shown += await asyncio.to_thread(os.read, ours, 65536)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 10) == 0
        os.close(ours)
