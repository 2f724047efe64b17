"""Why an operation failed, in words for a log or a client; no address or secret among them."""

from __future__ import annotations

import ssl
from typing import Final

from redis import exceptions as theirs

from activator.errors import StoreUnavailable

RETRY_AFTER: Final = 2.0
"""Seconds: about what it takes to be back after Redis is."""


class _Passing(StoreUnavailable):
    def __init__(self, detail: str = "", *, retry_after: float | None = RETRY_AFTER) -> None:
        super().__init__(detail, retry_after=retry_after)


class Unreachable(_Passing):
    """Nothing was sent: what was asked for has certainly not been done."""


class Unanswered(_Passing):
    """Sent, and no whole answer came: it may have been done or not."""


class Refused(_Passing):
    """Redis answered with an error, whose first word is `code`. A script has done what came
    before the command that failed: nothing, where its first write is one that needs memory."""

    code = ""


class Unfit(StoreUnavailable):
    """This Redis must not be used; the words say what to change."""


_REFUSALS: Final = {
    "OOM": "The store is full (Redis has reached its maxmemory)",
    "READONLY": "The store does not take writes (this Redis is a replica)",
    "LOADING": "The store is still loading its data",
    "MASTERDOWN": "The store has lost its master",
    "CLUSTERDOWN": "The store's cluster is down",
    "TRYAGAIN": "The store is moving this endpoint's keys to another node",
    "BUSY": "The store is busy with a script",
    "MISCONF": "The store does not take writes (Redis cannot save to disk)",
    "NOREPLICAS": "The store does not take writes (too few replicas are connected)",
    "NOAUTH": "The store wants a password",
    "WRONGPASS": "The store does not accept this user name and password",
    "NOPERM": "The store does not allow this user what the activator needs",
}
_PASSING: Final = frozenset(
    ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "MISCONF", "NOAUTH")
)


def refused(error: theirs.RedisError) -> Refused:
    """For an error that Redis answered."""
    code = code_of(error)
    words = _REFUSALS.get(code, f"The store refused a command: {error}")
    failure = Refused(words)
    failure.code = code
    return failure


def is_of_the_server(failure: Refused) -> bool:
    """Whether it tells something about the server rather than about the command."""
    return failure.code in _PASSING


_CODES: Final[tuple[tuple[type[theirs.RedisError], str], ...]] = (
    (theirs.OutOfMemoryError, "OOM"),
    (theirs.ReadOnlyError, "READONLY"),
    (theirs.BusyLoadingError, "LOADING"),
    (theirs.MasterDownError, "MASTERDOWN"),
    (theirs.ClusterDownError, "CLUSTERDOWN"),
    (theirs.TryAgainError, "TRYAGAIN"),
    (theirs.NoPermissionError, "NOPERM"),
    (theirs.NoScriptError, "NOSCRIPT"),
)


def code_of(error: theirs.RedisError) -> str:
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    text = str(error)
    if "-OOM " in text or "OOM command not allowed" in text:
        return "OOM"
    if isinstance(error, theirs.AuthenticationError):
        return "NOAUTH" if "required" in text else "WRONGPASS"
    first = text.split(" ", 1)[0]
    return first if first.isupper() else "ERR"


def why_not_connected(error: BaseException) -> str:
    """For what was raised while a connection was being made."""
    seen: BaseException | None = error
    while seen is not None:
        match seen:
            case ssl.SSLCertVerificationError():
                return f"The store's certificate is not accepted: {seen.verify_message}"
            case ssl.SSLError():
                return f"The store does not speak TLS as asked: {seen.reason or seen}"
            case ConnectionRefusedError():
                return "The store refuses connections"
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, TimeoutError):
        return "The store did not accept a connection in time"
    if isinstance(error, (theirs.AuthenticationError, theirs.BusyLoadingError)):
        return _REFUSALS[code_of(error)]
    if "max number of clients" in str(error):
        return "The store has as many clients as it allows (maxclients)"
    return "The store cannot be reached"
