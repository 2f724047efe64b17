"""The command line: which command, with which options, ending with which exit status.

Each command is a module here with `run(args)`, imported when it is asked for. They only talk to
people: what a command does lives in the rooms below.

Exit status: 0 done, 1 failed while running, 2 wrong arguments or configuration.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from activator.cli.arguments import COMMANDS, parse
from activator.cli.outcome import Failed, WrongUsage, say
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

INTERRUPTED = 130
"""What shells expect of a command that Ctrl-C has ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command to its end and returns the exit status; never shows a traceback."""
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except WrongUsage as wrong:
        say(str(wrong))
        return 2
    except ConfigError as refused:
        for problem in refused.problems:
            say(problem)
        return 2
    except Failed as failed:
        say(str(failed))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # whoever read our output has had enough; the interpreter must not flush into it at its end
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as bug:
        if os.environ.get("ACTIVATOR_DEBUG"):
            raise
        say(f"internal error, please report it: {type(bug).__name__}: {bug}")
        say("with ACTIVATOR_DEBUG=1 the same command shows where")
        return 1


def _run(argv: Sequence[str]) -> int:
    args = parse(argv)
    command = COMMANDS[args.command]
    module = _imported(f"activator.cli.{command.module}")
    status: int = module.run(args)
    return status


def _imported(name: str) -> ModuleType:
    """Looking for garbage in what modules are made of is a fifth of importing them."""
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        gc.freeze()
        gc.enable()
