"""What `serve` does about garbage: nothing while it starts, and then what everybody does."""

from __future__ import annotations

import gc

from activator.app.serve import _collect_garbage
from activator.cli import _imported


def test_once_it_has_started_garbage_is_collected_but_of_what_stays() -> None:
    before = gc.get_freeze_count()
    gc.disable()
    try:
        _collect_garbage()

        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.enable()
        gc.unfreeze()


def test_importing_a_command_leaves_the_collector_at_work() -> None:
    try:
        module = _imported("activator.cli.schema")

        assert module.__name__ == "activator.cli.schema"
        assert gc.isenabled()
    finally:
        gc.unfreeze()
