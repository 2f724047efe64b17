"""How what is stored of a job's request and answer is written down: a version, then JSON.

The bytes of HTTP become characters one to one (ISO 8859-1), so that JSON carries them unchanged,
at the speed of the standard library's C, and readable for whoever looks into the store. What is
at its default is left out.

A version changes when an older reader would misread. Newer readers know the older versions; an
older one meets `NewerVersion` and leaves the record to those who can read it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from activator.queueing.jobs import Envelope, ResultHead

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = "1"

_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class NewerVersion(Exception):
    """A newer activator has written this."""


def encode_envelope(envelope: Envelope) -> bytes:
    said: dict[str, Any] = {
        "m": _text(envelope.method),
        "t": _text(envelope.target),
        "h": _text(envelope.host),
        "l": _texts(envelope.lines),
    }
    if envelope.minor != 1:
        said["v"] = envelope.minor
    if envelope.length:
        said["n"] = envelope.length
    if envelope.trailers:
        said["tr"] = _texts(envelope.trailers)
    if envelope.request_id:
        said["id"] = _text(envelope.request_id)
    if envelope.peer:
        said["p"] = envelope.peer
    if envelope.tls:
        said["s"] = 1
    if envelope.trusted:
        said["f"] = 1
    if envelope.affinity is not None:
        said["a"] = _text(envelope.affinity)
    if envelope.owner:
        said["o"] = envelope.owner
    if envelope.webhook:
        said["w"] = envelope.webhook
    if envelope.response:
        said["r"] = _text(envelope.response)
    return _written(said)


def decode_envelope(data: bytes) -> Envelope:
    """Raises NewerVersion, or ValueError for what nobody has written."""
    said = _read(data)
    affinity = said.get("a")
    return Envelope(
        method=_bytes(said["m"]),
        target=_bytes(said["t"]),
        host=_bytes(said["h"]),
        lines=_all_bytes(said["l"]),
        minor=said.get("v", 1),
        length=said.get("n", 0),
        trailers=_all_bytes(said.get("tr", ())),
        request_id=_bytes(said.get("id", "")),
        peer=said.get("p", ""),
        tls="s" in said,
        trusted="f" in said,
        affinity=None if affinity is None else _bytes(affinity),
        owner=said.get("o", ""),
        webhook=said.get("w", ""),
        response=_bytes(said.get("r", "")),
    )


def encode_head(head: ResultHead) -> bytes:
    said: dict[str, Any] = {"s": head.status, "l": _texts(head.lines), "n": head.length}
    if head.reason:
        said["r"] = _text(head.reason)
    if head.minor != 1:
        said["v"] = head.minor
    return _written(said)


def decode_head(data: bytes) -> ResultHead:
    """Raises NewerVersion, or ValueError for what nobody has written."""
    said = _read(data)
    return ResultHead(
        status=said["s"],
        reason=_bytes(said.get("r", "")),
        lines=_all_bytes(said["l"]),
        minor=said.get("v", 1),
        length=said["n"],
    )


def encode_lines(lines: Sequence[bytes]) -> bytes:
    """Trailers; nothing for none."""
    return _written(_texts(lines)) if lines else b""


def decode_lines(data: bytes) -> tuple[bytes, ...]:
    return _all_bytes(_read(data)) if data else ()


def _written(said: Any) -> bytes:
    return (VERSION + _dumps(said)).encode("utf-8", "surrogatepass")


def _read(data: bytes) -> Any:
    if data[:1] != VERSION.encode() or data[1:2].isdigit():
        version = data.decode("ascii", "replace").partition("{")[0]
        if version.isdecimal() and int(version) > int(VERSION):
            raise NewerVersion(f"version {version}; this activator knows {VERSION}")
        raise ValueError("not a record of a job")
    return json.loads(data[1:].decode("utf-8", "surrogatepass"))


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _texts(lines: Sequence[bytes]) -> list[str]:
    return [line.decode("latin-1") for line in lines]


def _bytes(text: str) -> bytes:
    return text.encode("latin-1")


def _all_bytes(texts: Sequence[str]) -> tuple[bytes, ...]:
    return tuple(text.encode("latin-1") for text in texts)
