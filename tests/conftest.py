"""What every test stands on."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

# Before its first test pytest-asyncio asks for the current event loop; Python 3.11 then makes one
# that nobody closes, and warnings are errors. Saying that there is none keeps it from being made.
asyncio.set_event_loop(None)

# Tests start some hundred activators; each would compile all of it anew, which is half of a start.
# Each worker would do the same with all tests: more than half of their collection.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A script that starts us in its background has us ignore SIGINT, and so would all that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# By default an example fails that took more than 0.2 s, by the clock: on a busy machine any does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Workers import the same modules at the same time, so that in a fresh checkout each would
    compile all of them: each compiles its share first, then finds those of the others."""
    told: dict[str, str | int] = getattr(session.config, "workerinput", {})
    if not told:
        return
    gc.disable()  # until all is collected
    paths = [Path(arg.partition("::")[0]) for arg in session.config.args]
    modules = sorted(
        ".".join(found.resolve().relative_to(session.config.rootpath).with_suffix("").parts)
        for path in paths
        for found in ([path] if path.is_file() else path.rglob("test_*.py"))
    )
    for module in modules[int(str(told["workerid"])[2:]) :: int(told["workercount"])]:
        # what goes wrong goes wrong again when it is collected, and is told then
        with (
            contextlib.suppress(Exception, pytest.skip.Exception),
            warnings.catch_warnings(action="error"),
        ):
            importlib.import_module(module)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Nearly all that is made here stays: to look for garbage in it is a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """What tests leave is looked for among what they made, not among thousands of tests."""
    gc.collect()
    gc.freeze()
