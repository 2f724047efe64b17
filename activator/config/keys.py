"""The clients' API keys: which there are, which endpoints each may use, how urgent it may be.

Keys are kept as SHA-256 digests, so the file opens no door to who reads it. A line is

    name:sha256hex[:endpoint,endpoint…][:urgency]

and its digest is made by `printf %s KEY | sha256sum`. Lines that begin with `#` and empty ones
are comments. No endpoints: all of them. `urgency` (0 first, 7 last) is the most urgent level the
key may ask for, beyond an endpoint's `queue.bestUrgency`; it may stand without endpoints
(`name:sha256hex:0` or `name:sha256hex::0`). An endpoint whose name is one digit from 0 to 7 is
written with its urgency's colon: `name:sha256hex:5:`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from activator.config.fields import ENDPOINT_NAME
from activator.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_KEY_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._@]*[A-Za-z0-9])?")
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")
_URGENCY = re.compile(r"[0-7]")


@dataclass(frozen=True, slots=True)
class Key:
    """Whoever holds it. `endpoints` None: all; `best_urgency` None: what the endpoint allows."""

    name: str
    endpoints: frozenset[str] | None = None
    best_urgency: int | None = None

    def allows(self, endpoint: str) -> bool:
        return self.endpoints is None or endpoint in self.endpoints


class KeyRing:
    """All keys, by digest."""

    def __init__(self, keys: Iterable[tuple[bytes, Key]]) -> None:
        self._by_digest = dict(keys)

    def __len__(self) -> int:
        return len(self._by_digest)

    def __iter__(self) -> Iterator[Key]:
        return iter(self._by_digest.values())

    def find(self, presented: bytes) -> Key | None:
        """The key that hashes to what `presented` hashes to.

        Constant in time as far as it matters: what is compared is the digest, which nobody can
        steer towards a stored one byte by byte.
        """
        return self._by_digest.get(sha256(presented).digest())


def load_keys(path: Path) -> KeyRing:
    """Read a file of keys. Raises ConfigError with every problem, `FILE:LINE: …`.

    A file without any key is a problem too: it is either being written, or a door that nobody
    can open.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: is not text (UTF-8)"]) from error
    found: dict[bytes, tuple[int, Key]] = {}
    names: dict[str, int] = {}
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        try:
            digest, key = _parsed(stripped)
            if (first := names.setdefault(key.name, number)) != number:
                raise ValueError(f"the name {key.name!r} is on line {first} already")
            if digest in found:
                raise ValueError(f"the same key as on line {found[digest][0]}")
        except ValueError as error:
            problems.append(f"{path}:{number}: {error}")
        else:
            found[digest] = number, key
    if not problems and not found:
        problems.append(f"{path}: holds no key")
    if problems:
        raise ConfigError(problems)
    return KeyRing((digest, key) for digest, (_, key) in found.items())


def _parsed(line: str) -> tuple[bytes, Key]:
    """Never shows the digest's field: it may be a key that somebody forgot to hash."""
    fields = [field.strip() for field in line.split(":")]
    if not 2 <= len(fields) <= 4:
        raise ValueError("a line is name:sha256hex[:endpoint,endpoint…][:urgency]")
    name, digest, *rest = fields
    if not _KEY_NAME.fullmatch(name) or len(name) > 63:
        raise ValueError("a key's name is 1 to 63 letters, digits and `-._@`")
    if not _DIGEST.fullmatch(digest):
        raise ValueError("the second field must be 64 hex digits: `printf %s KEY | sha256sum`")
    if len(rest) == 1 and _URGENCY.fullmatch(rest[0]):
        rest = ["", rest[0]]
    endpoints = _endpoints(rest[0]) if rest else None
    urgency = rest[1] if len(rest) == 2 else ""
    if urgency and not _URGENCY.fullmatch(urgency):
        raise ValueError("the urgency is a digit from 0 (first) to 7 (last)")
    return bytes.fromhex(digest), Key(name, endpoints, int(urgency) if urgency else None)


def _endpoints(field: str) -> frozenset[str] | None:
    if not field:
        return None
    names = frozenset(name.strip() for name in field.split(","))
    for name in names:
        if not ENDPOINT_NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is not the name of an endpoint")
    return names
