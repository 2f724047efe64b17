"""One log line for each request that has ended: who asked for what, how it ended, where its time
went.

Never a body, a query, or a key (its name, at most). What the model answered is `info`, what failed
is `warning`. Tens of thousands of these lines may be written in a second: they are made here, in
one go, and take logging's way through handlers and formatters only where others listen to it.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from time import time
from typing import Any, Final

from activator.telemetry import logs
from activator.telemetry.logs import REQUESTS, local_moment, moment, word

LONGEST: Final = 512
"""Characters of a path."""
BROKEN_OFF: Final = "broken_off"

# replicas and peers are the same again and again
_word = lru_cache(maxsize=1024)(word)
_quoted = lru_cache(maxsize=1024)(quoted)
_log = logging.getLogger(REQUESTS)
_handlers = logging.getLogger().handlers


class Subject:
    """What the lines of all requests with one head have in common."""

    __slots__ = ("endpoint", "in_json", "in_text", "key", "method", "path")

    def __init__(
        self, *, endpoint: str = "", method: bytes = b"", target: bytes = b"", key: str = ""
    ) -> None:
        """`key`: the name of an API key."""
        self.endpoint = endpoint
        self.method = method.decode("latin-1")
        self.path = target.partition(b"?")[0][:LONGEST].decode("latin-1")
        self.key = key
        self.in_json = self.in_text = ""
        """How a line goes on behind the request's id; empty: not made yet."""


NOTHING: Final = Subject()


class RequestRecord(logging.LogRecord):
    """For handlers other than ours: they find what a line says as attributes."""

    __slots__ = ("_line",)  # it is no field

    def __init__(self, level: int, line: str, fields: dict[str, Any]) -> None:
        super().__init__(REQUESTS, level, "", 0, "request", None, None)
        self.__dict__.update(fields)
        self._line = line

    def as_json(self) -> str:
        return self._line


def level_of(status: int, reason: str) -> int:
    return logging.WARNING if status >= 500 or reason == BROKEN_OFF else logging.INFO


def is_logged(status: int, reason: str) -> bool:
    """Ask before the facts are collected."""
    return _log.isEnabledFor(
        logging.WARNING if status >= 500 or reason == BROKEN_OFF else logging.INFO
    )


def request_ended(
    of: Subject,
    *,
    request_id: bytes,
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
    job: str = "",
) -> None:
    """`held`: seconds in line, of the `seconds` from its head to the end of its answer. Bytes are
    those of bodies. `replica`: the last one that it was sent to, of `attempts`. `job`: the id of
    the job that it asked for or became."""
    name = request_id.decode("latin-1")
    level = "info" if status < 500 and reason != BROKEN_OFF else "warning"
    straight = logs.straight
    if straight is not None and (len(_handlers) > 1 or _log.handlers):
        straight = None
    at = time()
    if straight is not None and not straight.in_json:
        why, last = reason and f"reason={reason} ", job and f" job={_word(job)}"
        where = replica and f"replica={_word(replica)} "
        name = name if name.isalnum() else word(name)
        straight.writer.put(
            f"{local_moment(at)} {level.upper():<7} requests request request_id={name}"
            f"{of.in_text or _in_text(of)}status={status} {why}cold={cold} held={held:.6g} "
            f"seconds={seconds:.6g} bytes_in={bytes_in} bytes_out={bytes_out} {where}"
            f"attempts={attempts} remote={_word(remote)}{last}\n"
        )
        return
    how = _AS_USUAL
    if reason or cold or held or job:
        how = (
            f'"reason": {quoted(reason)}, "cold": {"true" if cold else "false"}, '
            f'"held": {held:.6f}, "job": {quoted(job)}, '
        )
    line = (
        f'{{"ts": "{moment(at)}", "level": "{level}", {_ALWAYS} {quoted(name)}'
        f'{of.in_json or _in_json(of)}"status": {status}, {how}"seconds": {seconds:.6f}, '
        f'"bytes_in": {bytes_in}, "bytes_out": {bytes_out}, "replica": {_quoted(replica)}, '
        f'"attempts": {attempts}, "remote": {_quoted(remote)}}}'
    )
    if straight is not None:
        straight.writer.put(line + "\n")
        return
    fields = {
        "action": "request",
        "request_id": name,
        "endpoint": of.endpoint,
        "method": of.method,
        "path": of.path,
        "key": of.key,
        "status": status,
        "reason": reason,
        "cold": cold,
        "held": held,
        "seconds": seconds,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "replica": replica,
        "attempts": attempts,
        "remote": remote,
        "job": job,
    }
    _log.handle(RequestRecord(level_of(status, reason), line, fields))


_AS_USUAL: Final = '"reason": "", "cold": false, "held": 0.0, "job": "", '
_ALWAYS: Final = f'"logger": "{REQUESTS}", "message": "request", "action": "request", "request_id":'


def _in_json(of: Subject) -> str:
    of.in_json = (
        f', "endpoint": {quoted(of.endpoint)}, "method": {quoted(of.method)}, '
        f'"path": {quoted(of.path)}, "key": {quoted(of.key)}, '
    )
    return of.in_json


def _in_text(of: Subject) -> str:
    endpoint = of.endpoint and f" endpoint={_word(of.endpoint)}"
    method = of.method and f" method={word(of.method)}"
    path = of.path and f" path={word(of.path)}"
    key = of.key and f" key={_word(of.key)}"
    of.in_text = f"{endpoint}{method}{path}{key} "
    return of.in_text
