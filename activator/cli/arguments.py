"""Which commands there are and which options each takes. What they do is in their own modules.

Options beat environment (`ACTIVATOR_…`), environment beats the file.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import activator
from activator.cli.outcome import WrongUsage
from activator.core.jobs import JobState
from activator.telemetry.logs import FORMATS, LEVELS, REQUEST_LINES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_ADMIN = "http://127.0.0.1:9090"


@dataclass(frozen=True, slots=True)
class Command:
    summary: str
    example: str
    module: str
    """Of `activator.cli`; its `run(args)` carries the command out."""
    add: Callable[[argparse.ArgumentParser], None]
    """Declares the command's options."""


def environment(name: str) -> str | None:
    """`ACTIVATOR_<name>`; empty is as good as absent."""
    return os.environ.get(f"ACTIVATOR_{name}") or None


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command and its options.

    Raises WrongUsage for an unknown command; otherwise argparse says what is wrong and ends the
    program with status 2, or shows help or version and ends it with 0.
    """
    first = argv[0] if argv else None
    if first is not None and not first.startswith("-") and first not in COMMANDS:
        close = get_close_matches(first, COMMANDS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(COMMANDS)}"
        raise WrongUsage(f"there is no command {first!r}; {hint}")
    if first == "demo":  # has options of its own, which it knows best
        return argparse.Namespace(command="demo", rest=list(argv[1:]))
    parser = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.error(f"a command is missing: {', '.join(COMMANDS)}")
    return args


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="activator",
        description="Scale GPU model servers to zero and back without losing a request.",
        epilog="example: activator demo",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"activator {activator.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, command in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.summary,
            description=command.summary[0].upper() + command.summary[1:] + ".",
            epilog=f"example: {command.example}",
            allow_abbrev=False,
        )
        command.add(one)
    return parser


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=environment("CONFIG"),
        help="the configuration, YAML (env ACTIVATOR_CONFIG)",
    )


def _serve(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    parser.add_argument(
        "--listen",
        action="append",
        metavar="HOST:PORT",
        help="where clients come in; may be given several times (env ACTIVATOR_LISTEN, "
        "comma-separated; file server.listen)",
    )
    parser.add_argument(
        "--admin",
        metavar="HOST:PORT",
        help="where operators come in (env ACTIVATOR_ADMIN, file server.admin)",
    )
    parser.add_argument(
        "--log-format",
        choices=FORMATS,
        help="of the lines on stderr (env ACTIVATOR_LOG_FORMAT; default text)",
    )
    parser.add_argument(
        "--log-level", choices=LEVELS, help="(env ACTIVATOR_LOG_LEVEL; default info)"
    )
    parser.add_argument(
        "--request-log",
        choices=REQUEST_LINES,
        help="which requests have a line when they have ended (env ACTIVATOR_REQUEST_LOG; "
        "default all)",
    )


def _check(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def _nothing(parser: argparse.ArgumentParser) -> None:
    """No options."""


def _client(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--admin",
        metavar="URL",
        help=f"the running activator's admin port (env ACTIVATOR_ADMIN; default {DEFAULT_ADMIN})",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="holds the admin token, where one is needed (env ACTIVATOR_ADMIN_TOKEN: the token)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _status(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("endpoint", nargs="?", metavar="ENDPOINT", help="only this one, in detail")
    parser.add_argument("--watch", action="store_true", help="draw it anew every 2 s, until Ctrl-C")
    parser.add_argument(
        "--cost", action="store_true", help="what it costs and saves: today, and this month (UTC)"
    )
    parser.add_argument(
        "--from",
        dest="first",
        metavar="DAY",
        help="with --cost: from this day on (2026-01-31; the first of the month)",
    )
    parser.add_argument(
        "--to", dest="last", metavar="DAY", help="with --cost: up to this day (today)"
    )
    parser.add_argument(
        "--csv", action="store_true", help="with --cost: every endpoint's days, as CSV"
    )
    parser.add_argument(
        "--by-key", action="store_true", help="with --cost: this month's, divided among API keys"
    )
    _client(parser)


def _change(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("endpoint", metavar="ENDPOINT")
    _client(parser)


def _activate(parser: argparse.ArgumentParser) -> None:
    _change(parser)
    parser.add_argument(
        "--wait", action="store_true", help="until a replica answers; 1 if it cannot be started"
    )


def _deactivate(parser: argparse.ArgumentParser) -> None:
    _change(parser)
    parser.add_argument("--wait", action="store_true", help="until its replicas are gone")
    parser.add_argument(
        "--force", action="store_true", help="even with requests held or in flight: they fail"
    )


def _events(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-f", "--follow", action="store_true", help="go on until interrupted")
    parser.add_argument(
        "--since",
        metavar="ID|DURATION",
        help="only events after this one (a number), or not older than this (10m)",
    )
    _client(parser)


def _jobs(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", required=True)
    listed = verbs.add_parser("list", help="the latest first", allow_abbrev=False)
    listed.add_argument("endpoint", nargs="?", metavar="ENDPOINT", help="only its jobs")
    listed.add_argument(
        "--state", action="append", choices=[str(one) for one in JobState], help="only these"
    )
    listed.add_argument("--limit", default="100", metavar="N", help="at most so many (100)")
    _client(listed)
    for verb, summary in (
        ("show", "one job"),
        ("cancel", "queued, it never runs; running, its model is left within a second"),
        ("retry", "try a failed job again, with all its attempts"),
    ):
        one = verbs.add_parser(verb, help=summary, allow_abbrev=False)
        one.add_argument("job", metavar="ID")
        _client(one)


def _simulate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "trace",
        metavar="TRACE",
        help="requests that came: CSV (time[,duration]), an access log, JSON lines, or events kept "
        "(activator events --json); gzip is unpacked, - is standard input",
    )
    _config(parser)
    parser.add_argument(
        "--endpoint",
        metavar="NAME",
        help="whose requests, of a trace with several; its bounds, limit and price, with -c",
    )
    parser.add_argument(
        "--idle",
        metavar="LIST",
        default="1m,5m,10m,30m,1h,4h",
        help="idle timeouts to try; `never` is one (%(default)s)",
    )
    parser.add_argument("--min", metavar="LIST", help="minimums to try (0)")
    parser.add_argument("--max", metavar="LIST", help="maximums to try (the endpoint's, or 1)")
    parser.add_argument(
        "--schedule",
        action="append",
        metavar="HOURS",
        help="besides, with one kept up in these hours: 'mon-fri 08:00-18:00'; several allowed",
    )
    parser.add_argument(
        "--timezone", metavar="ZONE", default="UTC", help="of the schedules (%(default)s)"
    )
    parser.add_argument(
        "--start",
        metavar="DURATION",
        help="what a cold start takes; several, separated by commas, are taken in turn; `learned` "
        "asks a running activator (60s, or what the events tell)",
    )
    parser.add_argument(
        "--service",
        metavar="DURATION",
        default="1s",
        help="how long a request is served, where the trace does not say (%(default)s)",
    )
    parser.add_argument("--concurrency", metavar="N", help="limit per replica, 0 = none")
    parser.add_argument("--price", metavar="MONEY", help="of a replica hour")
    parser.add_argument("--plot", metavar="FILE", help="write cost against waiting, as SVG")
    _client(parser)


COMMANDS = {
    "serve": Command(
        "proxy, control loops and admin API in one process, until SIGTERM or SIGINT",
        "activator serve -c config/quickstart.yaml",
        "serve",
        _serve,
    ),
    "demo": Command(
        "the main job on embedded parts: models from zero, traffic, and back to zero",
        "activator demo",
        "demo",
        _nothing,
    ),
    "check": Command(
        "validate a configuration and print it resolved",
        "activator check -c config/quickstart.yaml",
        "check",
        _check,
    ),
    "schema": Command(
        "print the configuration's JSON Schema, for editors",
        "activator schema > activator.schema.json",
        "schema",
        _nothing,
    ),
    "status": Command(
        "show what a running activator's endpoints do",
        "activator status --cost --from 2026-01-01",
        "status",
        _status,
    ),
    "activate": Command(
        "start an endpoint, demand or none",
        "activator activate llama-8b --wait",
        "change",
        _activate,
    ),
    "deactivate": Command(
        "stop an endpoint; with demand only by --force",
        "activator deactivate llama-8b --force",
        "change",
        _deactivate,
    ),
    "pause": Command(
        "hold an endpoint's requests and do not start it",
        "activator pause llama-8b",
        "change",
        _change,
    ),
    "resume": Command("end an endpoint's pause", "activator resume llama-8b", "change", _change),
    "events": Command(
        "print what has happened, and with -f what happens",
        "activator events -f --since 10m",
        "events",
        _events,
    ),
    "jobs": Command(
        "list, show, cancel and retry jobs: list, show ID, cancel ID, retry ID",
        "activator jobs list llama-8b --state failed",
        "jobs",
        _jobs,
    ),
    "simulate": Command(
        "replay requests that came against other idle timeouts, bounds and schedules",
        "activator simulate access.log --start 40s --price 2.50 --plot costs.svg",
        "simulate",
        _simulate,
    ),
}
