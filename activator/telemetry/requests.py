"""One log line for each request that has ended: who asked for what, how it ended, where its time
went.

Never a body, a query, or a key (its name, at most). What the model answered is `info`, what failed
is `warning`. Tens of thousands of these lines may be written in a second: they make their own JSON.
"""

from __future__ import annotations

import logging
from json.encoder import encode_basestring as quoted
from time import time
from typing import Any, Final

from activator.telemetry.logs import REQUESTS, moment

LONGEST: Final = 512
"""Characters of a path."""
BROKEN_OFF: Final = "broken_off"

_log = logging.getLogger(REQUESTS)


_SAME: Final = logging.makeLogRecord({"name": REQUESTS, "msg": "request"}).__dict__


class RequestRecord(logging.LogRecord):
    """A record that costs little: what is the same for all is not found out for each."""

    def __init__(self, level: int, fields: dict[str, Any]) -> None:
        name = "INFO" if level == logging.INFO else "WARNING"
        self.__dict__ = {
            **_SAME, "created": time(), "levelno": level, "levelname": name, **fields
        }  # fmt: skip

    def as_json(self) -> str:
        one = self.__dict__
        return (
            f'{{"ts": "{moment(one["created"])}", "level": "{one["levelname"].lower()}", '
            f'"logger": "{REQUESTS}", "message": "request", "action": "request", '
            f'"request_id": {quoted(one["request_id"])}, "endpoint": {quoted(one["endpoint"])}, '
            f'"method": {quoted(one["method"])}, "path": {quoted(one["path"])}, '
            f'"status": {one["status"]}, "reason": {quoted(one["reason"])}, '
            f'"cold": {"true" if one["cold"] else "false"}, "held": {one["held"]:.6f}, '
            f'"seconds": {one["seconds"]:.6f}, "bytes_in": {one["bytes_in"]}, '
            f'"bytes_out": {one["bytes_out"]}, "replica": {quoted(one["replica"])}, '
            f'"attempts": {one["attempts"]}, "key": {quoted(one["key"])}, '
            f'"remote": {quoted(one["remote"])}, "job": {quoted(one["job"])}}}'
        )


def level_of(status: int, reason: str) -> int:
    return logging.WARNING if status >= 500 or reason == BROKEN_OFF else logging.INFO


def is_logged(status: int, reason: str) -> bool:
    """Ask before the facts are collected."""
    return _log.isEnabledFor(level_of(status, reason))


def request_ended(
    *,
    request_id: bytes,
    endpoint: str,
    method: bytes,
    target: bytes,
    status: int,
    reason: str,
    seconds: float,
    bytes_in: int,
    bytes_out: int,
    remote: str,
    held: float = 0.0,
    cold: bool = False,
    replica: str = "",
    attempts: int = 0,
    key: str = "",
    job: str = "",
) -> None:
    """`held`: seconds in line, of the `seconds` from its head to the end of its answer. Bytes are
    those of bodies. `replica`: the last one that it was sent to, of `attempts`. `key`: the name of
    an API key. `job`: the id of the job that it asked for or became."""
    fields = {
        "action": "request",
        "request_id": request_id.decode("latin-1"),
        "endpoint": endpoint,
        "method": method.decode("latin-1"),
        "path": target.partition(b"?")[0][:LONGEST].decode("latin-1"),
        "status": status,
        "reason": reason,
        "cold": cold,
        "held": held,
        "seconds": seconds,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "replica": replica,
        "attempts": attempts,
        "key": key,
        "remote": remote,
        "job": job,
    }
    _log.handle(RequestRecord(level_of(status, reason), fields))
