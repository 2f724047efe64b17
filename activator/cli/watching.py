"""`--watch`: what a command shows, drawn anew every two seconds until Ctrl-C.

An activator that does not answer for a while (it is being restarted) ends nothing: what was seen
last stays, and what is wrong is said below it.
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Final

from activator.cli.outcome import Failed, WrongUsage
from activator.cli.tables import drawn
from activator.telemetry.logs import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from activator.cli.tables import Seen

EVERY: Final = 2.0


def check_terminal() -> None:
    """Raises WrongUsage where nothing may be drawn over: whoever reads a pipe wants each change
    once, not pictures, and a single one would look like a watch that has ended."""
    if not sys.stdout.isatty():
        raise WrongUsage(
            "--watch draws on a terminal; without one, `activator events -f` follows what happens, "
            "and `activator status --json` tells what is"
        )


def watch(
    look: Callable[[], Seen], *, every: float = EVERY, console: Console | None = None
) -> None:
    """Until Ctrl-C, which is its good end. Raises Failed if the first look fails."""
    from rich.console import Group  # noqa: PLC0415  # costs 0.1 s, and only terminals need it
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    seen = drawn(look())
    try:
        with Live(seen, console=console, auto_refresh=False) as live:
            live.refresh()
            while True:
                time.sleep(every)
                try:
                    seen = drawn(look())
                except Failed as failed:
                    wrong = Text(f"{printable(str(failed))}; trying again", style="red")
                    live.update(Group(seen, wrong), refresh=True)
                else:
                    live.update(seen, refresh=True)
    except KeyboardInterrupt:
        return
