"""`activator simulate TRACE`: what other policies would have cost, and whom they would have kept
waiting, with the requests that really came."""

from __future__ import annotations

import gzip
import io
import json
import sys
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from activator.cli.client import client_of
from activator.cli.outcome import Failed, WrongUsage, say
from activator.cli.progress import Progress
from activator.cli.tables import show, span
from activator.config.settings import load
from activator.config.units import format_duration, parse_duration
from activator.core.endpoint import ScalePolicy
from activator.simulate.comparing import compare, frontier, knee
from activator.simulate.plot import svg
from activator.simulate.policies import Policy, parse_schedule
from activator.simulate.replay import Model
from activator.simulate.trace import TraceError, read

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from activator.core.endpoint import Endpoint
    from activator.simulate.replay import Outcome
    from activator.simulate.trace import Trace

HEAD = ("POLICY", "COLD STARTS", "WAITED", "WAIT P50", "WAIT P95", "REPLICA HOURS", "COST",
        "SAVED", "NOTE")  # fmt: skip

ASSUMED_START = 60.0
"""Seconds; a middle-sized model from a warm disk. Said wherever it is used."""


def run(args: argparse.Namespace) -> int:
    endpoint = _endpoint(args)
    with Progress(f"reading {args.trace}"):
        trace = _trace(args)
    model, origin = _model(args, trace, endpoint)
    policies = _policies(args, endpoint.scale if endpoint is not None else ScalePolicy())
    if any(p.schedule for p in policies) and trace.arrivals[0] < 1e8:
        raise WrongUsage("a schedule needs a trace that tells the date, not seconds from its start")
    of = f"of {len(policies)} policies replayed"
    try:
        with Progress(f"0 {of}") as progress:
            outcomes = compare(
                trace, policies, model=model, done=lambda count: progress.say(f"{count} {of}")
            )
    except ValueError as impossible:
        raise WrongUsage(str(impossible)) from impossible
    bend = knee(outcomes)
    if args.plot is not None:
        _plot(args.plot, outcomes, bend, title=f"{len(trace)} requests of {args.trace}")
    if args.json:
        told = {
            "requests": len(trace),
            "span_seconds": trace.arrivals[-1] - trace.arrivals[0],
            "cold_start": {"seconds": list(model.starts), "origin": origin},
            "policies": [_as_json(each, is_knee=each is bend) for each in outcomes],
        }
        print(json.dumps(told, indent=2))
        return 0
    took = span(sum(model.starts) / len(model.starts))
    say(
        f"{len(trace)} requests within {span(trace.arrivals[-1] - trace.arrivals[0])}; "
        f"a cold start takes {took} ({origin})"
    )
    show(HEAD, [_row(each, is_knee=each is bend) for each in outcomes])
    return 0


# --- what is asked ------------------------------------------------------------------------------


def _endpoint(args: argparse.Namespace) -> Endpoint | None:
    """The endpoint of the configuration whose bounds, limit and price are the starting point."""
    if args.config is None:
        return None
    endpoints = {each.name: each for each in load(Path(args.config)).endpoints}
    if args.endpoint is None and len(endpoints) == 1:
        return next(iter(endpoints.values()))
    if args.endpoint not in endpoints:
        raise WrongUsage(f"which endpoint? --endpoint is one of {', '.join(endpoints)}")
    return endpoints[args.endpoint]


def _trace(args: argparse.Namespace) -> Trace:
    try:
        with _opened(args.trace) as lines:
            return read(lines, endpoint=args.endpoint)
    except OSError as unreadable:
        raise WrongUsage(f"cannot read {args.trace}: {unreadable.strerror or unreadable}") from None
    except (UnicodeDecodeError, EOFError) as broken:
        raise WrongUsage(f"{args.trace} is no text, or cut off: {broken}") from broken
    except TraceError as wrong:
        raise WrongUsage(f"{args.trace}: {wrong}") from wrong


@contextmanager
def _opened(name: str) -> Iterator[io.TextIOBase]:
    """Text; `-` is standard input, what gzip has packed is unpacked."""
    if name == "-":
        yield io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8")
        return
    with Path(name).open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        source = gzip.GzipFile(fileobj=raw) if packed else raw
        with io.TextIOWrapper(source, encoding="utf-8") as text:
            yield text


def _model(args: argparse.Namespace, trace: Trace, endpoint: Endpoint | None) -> tuple[Model, str]:
    """And where its cold starts come from, in words."""
    starts, origin = _starts(args, trace)
    concurrency = endpoint.concurrency if endpoint is not None else 0
    price = endpoint.cost_per_replica_hour if endpoint is not None else 0.0
    if args.concurrency is not None:
        concurrency = int(_number(args.concurrency, "--concurrency", whole=True))
    if args.price is not None:
        price = _number(args.price, "--price")
    service = _duration(args.service, "--service")
    return Model(starts, service=service, concurrency=concurrency, price_per_hour=price), origin


def _starts(args: argparse.Namespace, trace: Trace) -> tuple[tuple[float, ...], str]:
    if args.start == "learned":
        if args.endpoint is None:
            raise WrongUsage("--start learned needs --endpoint: whose starts?")
        typical = client_of(args).get("endpoints", args.endpoint)["typical_start"]
        if typical is None:
            raise Failed(f"{args.endpoint} has not been started yet: nothing has been learned")
        return (float(typical),), "learned by the running activator"
    if args.start is not None:
        return tuple(_duration(one, "--start") for one in args.start.split(",")), "given"
    if trace.starts:
        return tuple(trace.starts), "as the events tell"
    return (ASSUMED_START,), "assumed; --start says better"


def _policies(args: argparse.Namespace, base: ScalePolicy) -> list[Policy]:
    """Every combination once; an idle timeout means nothing to one that never goes to zero."""
    mins = _counts(args.min, "--min") or [0]
    maxs = _counts(args.max, "--max") or [base.max]
    idles = [
        0.0 if one == "never" else _duration(one, "--idle") for one in args.idle.split(",") if one
    ]
    try:
        zone = ZoneInfo(args.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise WrongUsage(f"there is no time zone {args.timezone!r} here") from None
    try:
        schedules = [None, *(parse_schedule(one, zone=zone) for one in args.schedule or [])]
    except ValueError as wrong:
        raise WrongUsage(str(wrong)) from wrong
    found: dict[str, Policy] = {}
    for high, low, schedule, idle in product(maxs, mins, schedules, idles):
        if low > high:
            continue
        words = [f"idle {_idle(idle)}"] if not low else [f"min {low}"]
        words += [f"max {high}"] if len(maxs) > 1 else []
        words += [schedule.words] if schedule is not None and not low else []
        scale = replace(base, min=low, max=high, idle_timeout=idle)
        name = ", ".join(words)
        found.setdefault(name, Policy(name, scale, schedule if not low else None))
    if not found:
        raise WrongUsage("no minimum of --min is within a maximum of --max")
    always = replace(base, min=1, max=max(*maxs, 1))
    if not any(policy.scale.min for policy in found.values()):
        found.setdefault("always on", Policy("always on", always))
    return list(found.values())


def _idle(seconds: float) -> str:
    return format_duration(seconds) if seconds else "never"


def _counts(given: str | None, option: str) -> list[int]:
    if given is None:
        return []
    return [int(_number(one, option, whole=True)) for one in given.split(",")]


def _duration(given: str, option: str) -> float:
    try:
        return parse_duration(given)
    except ValueError as wrong:
        raise WrongUsage(f"{option}: {wrong}") from wrong


def _number(given: str, option: str, *, whole: bool = False) -> float:
    kind = "a whole number from 0" if whole else "a number from 0"
    with suppress(ValueError):
        value = int(given) if whole else float(given)
        if 0 <= value < float("inf"):
            return value
    raise WrongUsage(f"{option} takes {kind}, not {given!r}")


# --- what is told -------------------------------------------------------------------------------


def _row(outcome: Outcome, *, is_knee: bool) -> tuple[str, ...]:
    return (
        outcome.policy.name,
        str(outcome.cold_starts),
        f"{outcome.waited:.2%}",
        span(outcome.wait(0.5)) if outcome.waits else "",
        span(outcome.wait(0.95)) if outcome.waits else "",
        f"{outcome.replica_seconds / 3600:.1f}",
        f"{outcome.cost:.2f}",
        f"{outcome.saved:.2f}" if outcome.cost or outcome.saved else _saved_share(outcome),
        "the knee: more money buys little" if is_knee else "",
    )


def _saved_share(outcome: Outcome) -> str:
    """Without a price: the share of always-on replica time that was not used."""
    whole = outcome.span * max(outcome.policy.scale.min, 1)
    return f"{outcome.saved_seconds / whole:.0%}" if whole else ""


def _as_json(outcome: Outcome, *, is_knee: bool) -> dict[str, Any]:
    return {
        "policy": outcome.policy.name,
        "cold_starts": outcome.cold_starts,
        "waited_share": outcome.waited,
        "wait_p50_seconds": outcome.wait(0.5),
        "wait_p95_seconds": outcome.wait(0.95),
        "mean_wait_seconds": outcome.mean_wait,
        "replica_hours": outcome.replica_seconds / 3600,
        "saved_replica_hours": outcome.saved_seconds / 3600,
        "cost": outcome.cost,
        "saved": outcome.saved,
        "knee": is_knee,
    }


def _plot(name: str, outcomes: Sequence[Outcome], bend: Outcome | None, *, title: str) -> None:
    drawn = svg(outcomes, edge=frontier(outcomes), knee=bend, title=title)
    try:
        Path(name).write_text(drawn, encoding="utf-8")
    except OSError as refused:
        raise Failed(f"cannot write the plot to {name}: {refused.strerror or refused}") from refused
