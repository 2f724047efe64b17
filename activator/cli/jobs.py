"""`activator jobs list|show|cancel|retry`: the jobs of a running activator."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from activator.cli.client import client_of
from activator.cli.outcome import Failed
from activator.cli.progress import Progress
from activator.cli.tables import show

if TYPE_CHECKING:
    import argparse

    from activator.cli.tables import Row

JOBS: Row = ("JOB", "ENDPOINT", "STATE", "ATTEMPT", "CREATED", "STATUS", "NOTE")


_DOING: Final = {"show": "asking for", "cancel": "cancelling", "retry": "retrying"}


def run(args: argparse.Namespace) -> int:
    client = client_of(args)
    if args.verb == "list":
        query = {"state": args.state or [], "limit": [args.limit]}
        query |= {"endpoint": [args.endpoint]} if args.endpoint else {}
        with Progress("asking for the jobs"):
            listed = client.get("jobs", query=query)
        if args.json:
            print(json.dumps(listed, indent=2))
        else:
            show(JOBS, [_row(job) for job in listed["jobs"]])
        return 0
    with Progress(f"{_DOING[args.verb]} {args.job}"):
        match args.verb:
            case "cancel":
                job = client.delete("jobs", args.job)
            case "retry":
                job = client.post("jobs", args.job, "retry", body={})
            case _:
                job = client.get("jobs", args.job)
    if args.json:
        print(json.dumps(job, indent=2))
    else:
        rows = [(what, _text(value)) for what, value in job.items() if what != "links"]
        show(("", ""), [row for row in rows if row[1]])
    if args.verb == "retry" and job["state"] not in ("queued", "activating", "running"):
        raise Failed(f"the job is {job['state']}: only one that has failed is tried again")
    if args.verb == "cancel" and job["state"] != "cancelled":
        raise Failed(f"the job is {job['state']}: it had ended before")
    return 0


def _row(job: dict[str, Any]) -> Row:
    return (
        job["id"],
        job["endpoint"],
        job["state"],
        str(job["attempt"]),
        job["created"] or "",
        _text(job["status"]),
        ": ".join(part for part in (job["reason"], job["detail"]) if part),
    )


def _text(value: Any) -> str:
    return "" if value is None else str(value)
