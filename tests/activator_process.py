"""One activator as a process of its own, whose replicas are those of a test's World.

    python -m tests.activator_process CONFIG SOCKET HESITATES

It runs like `activator serve`, apart from its drivers, and from activators missing each other
sooner (`TIMES`) and averaging demand over less (`WINDOWS`). SOCKET `-`: its drivers are those of
the file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvloop

from activator.app import App
from activator.app.serve import _serve
from activator.app.stores import Times
from activator.config.settings import load
from activator.core import autoscaling, demand
from activator.core.election import Pace
from activator.telemetry import logs
from tests.shared_driver import SharedDriver

TIMES = Times(beat=0.2, silence=1.0, pace=Pace(lapse=2.0, hold=1.4, renew=0.4, look=0.2, late=0.2))

WINDOWS = (
    (autoscaling, "STABLE_WINDOW", 0.6),
    (demand, "STABLE_WINDOW", 0.6),
    (demand, "PANIC_WINDOW", 0.1),
    (autoscaling, "TICK", 0.05),
)


def main() -> int:
    for module, name, seconds in WINDOWS:
        setattr(module, name, seconds)
    config, address, hesitates = sys.argv[1:]
    settings = load(Path(config))
    logs.configure("json")
    drivers = {
        each.name: SharedDriver(
            each.name, address=Path(address), pid=os.getpid(), hesitates=float(hesitates)
        )
        for each in (settings.endpoints if address != "-" else ())
    }
    return uvloop.run(_serve(App(settings, drivers=dict(drivers), times=TIMES)))


if __name__ == "__main__":
    sys.exit(main())
