"""One log line for each request that has ended: who asked for what, how it ended, where its time
went.

Never a body, a query, or a key (its name, at most). What the model answered is `info`, what failed
is `warning`. Tens of thousands of these lines may be written in a second: they are made here, as
the bytes that are written, those of the usual kind by the thread that writes, and take logging's
way through handlers and formatters only where others listen to it.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from json.encoder import encode_basestring as quoted
from operator import attrgetter
from time import time
from typing import TYPE_CHECKING, Any, Final

from activator.telemetry import logs
from activator.telemetry.log_writer import FACTS
from activator.telemetry.logs import REQUESTS, encoded, word

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST: Final = 512
"""Characters of a path."""
BROKEN_OFF: Final = "broken_off"
CLIENT_LEFT: Final = 499
"""nginx's code for it: seen in metrics and lines only, since nobody is there to read an answer."""
REMEMBERED: Final = 1024
"""Replicas, peers and the like: they are the same again and again."""
INFO: Final = logging.INFO
OPEN: Final = FACTS - 1
"""In the layout of a usual line: the facts but for who makes it."""


class _Written(dict[str, bytes]):
    """How texts are written, by themselves: at the price of a look into a dictionary."""

    __slots__ = ("_write",)

    def __init__(self, write: Callable[[str], str]) -> None:
        self._write = write

    def __missing__(self, text: str) -> bytes:
        if len(self) >= REMEMBERED:
            self.clear()
        written = self[text] = encoded(self._write(text))
        return written


_words = _Written(word)
_quoted = _Written(quoted)
_where = _Written(lambda replica: replica and f"replica={word(replica)} ")
_text_in_json, _text_in_text = attrgetter("in_json"), attrgetter("in_text")
_log = logging.getLogger(REQUESTS)
_is_enabled = _log.isEnabledFor
_handlers, _own_handlers = logging.getLogger().handlers, _log.handlers


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
        self.in_json = self.in_text = b""
        """How a line goes on behind the request's id; empty: not made yet."""


NOTHING: Final = Subject()


class RequestRecord(logging.LogRecord):
    """For handlers other than ours: they find what a line says as attributes."""

    __slots__ = ("_line",)  # it is no field

    def __init__(self, level: int, line: bytes, fields: dict[str, Any]) -> None:
        super().__init__(REQUESTS, level, "", 0, "request", None, None)
        self.__dict__.update(fields)
        self._line = line

    def as_json(self) -> str:
        return self._line.decode()


def level_of(status: int, reason: str) -> int:
    return logging.WARNING if status >= 500 or reason == BROKEN_OFF else logging.INFO


def is_logged(status: int, reason: str) -> bool:
    """Ask before the facts are collected."""
    return _log.isEnabledFor(
        logging.WARNING if status >= 500 or reason == BROKEN_OFF else logging.INFO
    )


def _json(*, level: bytes, name: bytes, status: bytes, ending: bytes, attempts: bytes) -> bytes:
    """The layout of a line. Open are the moment, what of these is, the subject behind the name, and
    seconds, bytes in and out, replica, remote."""
    return (
        b'{"ts": "%%b", "level": "%b", "logger": "activator.requests", "message": "request", '
        b'"action": "request", "request_id": %b%%b"status": %b, %b"seconds": %%.6f, '
        b'"bytes_in": %%d, "bytes_out": %%d, "replica": %%b, "attempts": %b, "remote": %%b}\n'
        % (level, name, status, ending, attempts)
    )


def _text(
    *, level: bytes, status: bytes, reason: bytes, wait: bytes, attempts: bytes, job: bytes
) -> bytes:
    """As above."""
    return (
        b"%%b %b requests request request_id=%%b%%bstatus=%b %b%bseconds=%%.6g bytes_in=%%d "
        b"bytes_out=%%d %%battempts=%b remote=%%b%b\n"
        % (level, status, reason, wait, attempts, job)
    )


_AS_USUAL: Final = b'"reason": "", "cold": false, "held": 0.0, "job": "", '
_ENDING: Final = b'"reason": %b, "cold": %b, "held": %.6f, "job": %b, '
_JSON: Final = _json(level=b"%b", name=b"%b", status=b"%d", ending=b"%b", attempts=b"%d")
_TEXT: Final = _text(
    level=b"%b", status=b"%d", reason=b"%b", wait=b"cold=%b held=%.6g ", attempts=b"%d", job=b"%b"
)
# what nearly all lines say is in their layout already
_USUAL_JSON: Final = _json(
    level=b"info", name=b'"%b"', status=b"200", ending=_AS_USUAL, attempts=b"1"
)
_USUAL_TEXT: Final = _text(
    level=b"INFO   ", status=b"200", reason=b"", wait=b"cold=False held=0 ", attempts=b"1", job=b""
)


def answered(  # noqa: PLR0917  # called for each request
    of: Subject,
    request_id: bytes,
    status: int,
    seconds: float,
    bytes_in: int,
    bytes_out: int,
    replica: str,
    remote: str,
) -> None:
    """`request_ended`, if there is to be a line, for what nearly all requests end in: the first
    replica that it was sent to has answered, at once, and nothing else is to be said."""
    if status == 200:
        if not _is_enabled(INFO):
            return
        straight = logs.straight
        if straight is not None and len(_handlers) < 2 and not _own_handlers:
            make = _usual_in_json if straight.in_json else _usual_in_text
            straight.put_facts(
                (make, time(), request_id, of, seconds, bytes_in, bytes_out, replica, remote)
            )
            return
    if is_logged(status, ""):
        request_ended(
            of,
            request_id=request_id,
            status=status,
            reason="",
            seconds=seconds,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            remote=remote,
            replica=replica,
            attempts=1,
        )


def _usual_in_json(facts: list[Any]) -> bytes:
    """The lines of what `answered` put; they are made by the thread that writes them."""
    return _lines(
        facts,
        layout=_USUAL_JSON,
        moment_of=logs.moment,
        # one of ours has neither quotes nor backslashes, and few others have
        written_id=lambda request_id: _id_in_json(request_id)[1:-1],
        text_of=_text_in_json,
        make_text=_in_json,
        where=_quoted,
        words=_quoted,
    )


def _usual_in_text(facts: list[Any]) -> bytes:
    return _lines(
        facts,
        layout=_USUAL_TEXT,
        moment_of=logs.local_moment,
        written_id=_id_in_text,
        text_of=_text_in_text,
        make_text=_in_text,
        where=_where,
        words=_words,
    )


def _lines(
    facts: list[Any],
    *,
    layout: bytes,
    moment_of: Callable[[float], str],
    written_id: Callable[[bytes], bytes],
    text_of: Callable[[Subject], bytes],
    make_text: Callable[[Subject], bytes],
    where: _Written,
    words: _Written,
) -> bytes:
    """Each fact in all lines before the next: so all is done in loops that are not Python's. In the
    end `facts` are what the layout has open, line by line."""
    del facts[::FACTS]
    moments = _moments(facts[::OPEN], moment_of=moment_of)
    facts[::OPEN] = moments
    ids = facts[1::OPEN]
    if not all(map(bytes.isalnum, ids)):
        facts[1::OPEN] = map(written_id, ids)
    subjects = facts[2::OPEN]
    texts = list(map(text_of, subjects))
    facts[2::OPEN] = texts if all(texts) else map(make_text, subjects)
    facts[6::OPEN] = map(where.__getitem__, facts[6::OPEN])
    facts[7::OPEN] = map(words.__getitem__, facts[7::OPEN])
    return layout * len(moments) % tuple(facts)


def _moments(times: list[float], *, moment_of: Callable[[float], str]) -> list[bytes]:
    """Each as it is written. Most are of the millisecond of the one before."""
    moments: list[bytes] = []
    is_in_order = times == sorted(times)  # else the clock was set back
    while (begin := len(moments)) < len(times):
        at, end = times[begin], begin + 1
        if is_in_order:
            end = bisect_left(times, int(at) + (int(at % 1 * 1000) + 1) / 1000, end)
        moments += [encoded(moment_of(at))] * (end - begin)
    return moments


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
    level = level_of(status, reason)
    straight, at = logs.straight, time()
    if straight is not None and (len(_handlers) > 1 or _own_handlers):
        straight = None
    if straight is not None and not straight.in_json:
        straight.put(
            _TEXT
            % (
                encoded(logs.local_moment(at)),
                b"INFO   " if level == INFO else b"WARNING",
                _id_in_text(request_id),
                of.in_text or _in_text(of),
                status,
                encoded(reason and f"reason={reason} "),
                b"True" if cold else b"False",
                held,
                seconds,
                bytes_in,
                bytes_out,
                _where[replica],
                attempts,
                _words[remote],
                encoded(job and f" job={word(job)}"),
            )
        )
        return
    ending = _AS_USUAL
    if reason or cold or held or job:
        said = b"true" if cold else b"false"
        ending = _ENDING % (_quoted[reason], said, held, encoded(quoted(job)))
    line = _JSON % (
        encoded(logs.moment(at)),
        b"info" if level == INFO else b"warning",
        _id_in_json(request_id),
        of.in_json or _in_json(of),
        status,
        ending,
        seconds,
        bytes_in,
        bytes_out,
        _quoted[replica],
        attempts,
        _quoted[remote],
    )
    if straight is not None:
        straight.put(line)
        return
    fields = {
        "action": "request",
        "request_id": request_id.decode("latin-1"),
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
    _log.handle(RequestRecord(level, line[:-1], fields))


def _id_in_json(request_id: bytes) -> bytes:
    if request_id.isalnum():
        return b'"%b"' % request_id
    return encoded(quoted(request_id.decode("latin-1")))


def _id_in_text(request_id: bytes) -> bytes:
    if request_id.isalnum():
        return request_id
    return encoded(word(request_id.decode("latin-1")))


def _in_json(of: Subject) -> bytes:
    of.in_json = encoded(
        f', "endpoint": {quoted(of.endpoint)}, "method": {quoted(of.method)}, '
        f'"path": {quoted(of.path)}, "key": {quoted(of.key)}, '
    )
    return of.in_json


def _in_text(of: Subject) -> bytes:
    endpoint = of.endpoint and f" endpoint={word(of.endpoint)}"
    method = of.method and f" method={word(of.method)}"
    path = of.path and f" path={word(of.path)}"
    key = of.key and f" key={word(of.key)}"
    of.in_text = encoded(f"{endpoint}{method}{path}{key} ")
    return of.in_text
