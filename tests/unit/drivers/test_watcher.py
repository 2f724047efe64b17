from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from activator.drivers import watcher

if TYPE_CHECKING:
    from pathlib import Path


def test_processes_are_seen_with_parent_group_and_session() -> None:
    state, parent, group, session = watcher.processes()[os.getpid()]

    assert state == "R"
    assert (parent, group, session) == (os.getppid(), os.getpgid(0), os.getsid(0))


def test_a_name_that_looks_like_other_fields_does_not_confuse(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 1 1"
    odd.symlink_to("/bin/sleep")

    with subprocess.Popen([str(odd), "60"], process_group=0) as process:
        seen = watcher.children(os.getpid())
        process.kill()

    assert seen[process.pid] == process.pid


def test_the_watcher_imports_nothing_that_makes_it_slow_or_large() -> None:
    folder = os.path.dirname(watcher.__file__)
    script = f"import sys; sys.path.insert(0, {folder!r}); import watcher; print(*sys.modules)"

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=True
    )

    heavy = {"asyncio", "activator", "subprocess", "logging", "typing", "re", "inspect", "socket"}
    assert not heavy & set(done.stdout.split())
