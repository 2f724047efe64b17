"""How log records look on stderr: a line of text for people, a line of JSON for machines.

What is logged is decided where it happens: one line an outcome, `action` and the facts in
`extra`. Bodies are never logged; fields whose names say that they are secret are masked here, so
that a slip elsewhere stays harmless. Text that others wrote (a model server's last lines) cannot
forge a line or steer a terminal: control characters are shown, not sent.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from activator.telemetry.log_writer import LogWriter, to_descriptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

Format = Literal["text", "json"]
FORMATS: tuple[Format, ...] = ("text", "json")
LEVELS = ("debug", "info", "warning", "error")
Requests = Literal["all", "failed", "off"]
REQUEST_LINES: tuple[Requests, ...] = ("all", "failed", "off")
"""Which requests have a line when they have ended."""
REQUESTS = "activator.requests"
"""The logger of these lines."""

MASK = "***"
_encode = json.JSONEncoder(ensure_ascii=False).encode
_SEVERAL = re.compile("[ =\"']")
"""Where a text is not one word."""
_SECRET = re.compile(
    r"(^|_)(authorization|cookie|credentials?|passw(or)?d|secret|token|api_?key|body)$",
    re.IGNORECASE,
)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}


class Straight:
    """Where lines may go that are made without a record, as long as nobody else listens."""

    __slots__ = ("in_json", "put", "put_facts")

    def __init__(self, writer: LogWriter, *, in_json: bool) -> None:
        self.put, self.put_facts = writer.put_encoded, writer.put_facts
        self.in_json = in_json


straight: Straight | None = None
"""None: nothing is configured, or lines are coloured for a person."""


def configure(
    log_format: Format = "text",
    *,
    level: str = "info",
    requests: Requests = "all",
    stream: TextIO | None = None,
) -> None:
    """Send all records of this process to `stream` (stderr), and nothing of it twice.

    `level` is one of LEVELS, `requests` one of REQUEST_LINES. May be called again; the last call
    counts. Lines are written a moment later, by a thread; see `flush`.
    """
    stream = stream or sys.stderr
    handler = _OurHandler(stream)
    formatter = JsonFormatter() if log_format == "json" else TextFormatter(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in _ours():
        root.removeHandler(old)
        old.flush()
        old.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # a line for each request of the admin port, and asyncio's selector, are nobody's outcome
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(max(logging.INFO, root.level))
    global straight  # noqa: PLW0603  # what is configured is the process's
    painted = isinstance(formatter, TextFormatter) and formatter.paints
    straight = None if painted else Straight(handler.writer, in_json=log_format == "json")
    least = {"all": logging.INFO, "failed": logging.WARNING, "off": logging.CRITICAL}[requests]
    logging.getLogger(REQUESTS).setLevel(max(least, root.level))


def flush() -> None:
    """Have everything that was logged written before something else is: a second at most, then
    nobody reads it. The end of the process does so by itself."""
    for handler in _ours():
        handler.flush()


def dropped() -> int:
    """Lines that are lost because nobody took them."""
    return sum(handler.writer.dropped for handler in _ours())


def _ours() -> list[_OurHandler]:
    return [one for one in logging.getLogger().handlers if isinstance(one, _OurHandler)]


def printable(text: str) -> str:
    """The text with control characters (escape sequences, line ends) shown as `\\x1b`, `\\n`."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller put into `extra`, secrets masked, in the order it was given."""
    return {
        name: MASK if value and _is_secret(name) else value
        for name, value in record.__dict__.items()
        if name not in _STANDARD
    }


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return _SECRET.search(name) is not None


class JsonFormatter(logging.Formatter):
    """One object a line: `ts` (RFC 3339, UTC), `level`, `logger`, `message`, then the fields."""

    def format(self, record: logging.LogRecord) -> str:
        as_json: Callable[[], str] | None = getattr(record, "as_json", None)
        if as_json is not None:
            return as_json()
        entry: dict[str, Any] = {
            "ts": moment(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name, value in fields_of(record).items():
            entry[f"extra_{name}" if name in entry else name] = plain(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _encode(entry)


class TextFormatter(logging.Formatter):
    """`12:00:00.123 INFO  control  activated  endpoint=llama reason=demand`, coloured on a
    terminal (never with NO_COLOR, https://no-color.org)."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._colour = stream.isatty() and "NO_COLOR" not in os.environ

    @property
    def paints(self) -> bool:
        return self._colour

    def format(self, record: logging.LogRecord) -> str:
        fields = fields_of(record)
        action = str(fields.pop("action", ""))
        message = record.getMessage()
        words = [
            self._paint(local_moment(record.created), "2"),
            self._paint(f"{record.levelname:<7}", _COLOURS.get(record.levelname, "")),
            record.name.removeprefix("activator."),
            self._paint(printable(action), "1"),
            printable(message) if message != action else "",
            *(f"{printable(name)}={word(value)}" for name, value in fields.items() if value != ""),
        ]
        line = " ".join(word for word in words if word)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colour and code and text else text


class _OurHandler(logging.Handler):
    """Makes lines where they are logged, so that they say what was so then, and has them written
    elsewhere."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.writer = LogWriter(_writes_to(stream), lost=self._lost_line)

    def emit(self, record: logging.LogRecord) -> None:
        if self.writer.full:
            self.writer.refuse()
            return
        try:
            line = self.format(record)
        except Exception as error:  # somebody's `extra` or `__str__`: never the request's problem
            line = f"a log line of {record.name} cannot be made: {error!r}"
        self.writer.put(line + "\n")

    def flush(self) -> None:
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
        super().close()

    def _lost_line(self, lines: int) -> str:
        record = logging.makeLogRecord(
            {
                "name": "activator.logs",
                "levelname": "WARNING",
                "levelno": logging.WARNING,
                "msg": f"{lines} log lines were lost",
                "action": "log_lines_lost",
                "lines": lines,
            }
        )
        return self.format(record) + "\n"


def encoded(text: str) -> bytes:
    """What UTF-8 has no bytes for is shown."""
    return text.encode(errors="backslashreplace")


def _writes_to(stream: TextIO) -> Callable[[bytes], None]:
    try:
        return to_descriptor(stream.fileno())
    except OSError:  # it is in memory
        return lambda data: print(data.decode(), end="", file=stream)


def moment(at: float) -> str:
    """RFC 3339, UTC, to the millisecond."""
    return _moments_in(int(at)) % int(at % 1 * 1000)


def local_moment(at: float) -> str:
    """As `date --iso-8601` has it, to the millisecond, for people."""
    return _local_moments_in(int(at)) % int(at % 1 * 1000)


@lru_cache(maxsize=2)
def _moments_in(second: int) -> str:
    """But for the millisecond."""
    return f"{datetime.fromtimestamp(second, tz=UTC):%Y-%m-%dT%H:%M:%S}.%03dZ"


@lru_cache(maxsize=2)
def _local_moments_in(second: int) -> str:
    when = datetime.fromtimestamp(second, tz=UTC).astimezone()
    return f"{when:%Y-%m-%d %H:%M:%S}.%03d{when.isoformat()[19:]}"


def word(value: object) -> str:
    """A value as one word: quoted where blanks or quotes would make it several."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple, dict)):
        return printable(json.dumps(plain(value), ensure_ascii=False))
    text = str(value)
    if text and text.isprintable() and not _SEVERAL.search(text):
        return text
    return json.dumps(printable(text), ensure_ascii=False)


def plain(value: Any) -> Any:
    """The value as JSON can say it; what JSON has no word for (NaN, objects) as text."""
    if value.__class__ is str or value.__class__ is int:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(one) for one in value]
    return str(value)
