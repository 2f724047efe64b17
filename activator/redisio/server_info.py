"""What a Redis says about itself, and whether it can be the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from activator.redisio.failures import Unfit, Unreachable

OLDEST: Final = (6, 2)
"""The first release with every command that the scripts use."""
NOT_EVICTING: Final = "noeviction"


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Of `INFO`; empty or 0 where it does not say."""

    run_id: str
    """Another one after every start of the server."""
    version: str
    role: str
    loading: bool
    cluster: bool
    policy: str
    used: int
    most: int
    """Bytes of memory in use, and how many it may use; 0: as many as there are."""

    @property
    def fullness(self) -> float:
        return self.used / self.most if self.most else 0.0


def parse_info(text: bytes) -> ServerInfo:
    said: dict[str, str] = {}
    for line in text.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(":")
        if colon:
            said[name] = value
    return ServerInfo(
        run_id=said.get("run_id", ""),
        version=said.get("redis_version", ""),
        role=said.get("role", ""),
        loading=said.get("loading") == "1",
        cluster=said.get("cluster_enabled") == "1",
        policy=said.get("maxmemory_policy", ""),
        used=_number(said.get("used_memory")),
        most=_number(said.get("maxmemory")),
    )


def check(info: ServerInfo) -> None:
    """Raises Unfit, or Unreachable for what passes by itself."""
    if info.version and _release(info.version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise Unfit(f"Redis {info.version} is too old for the store: {oldest} or newer")
    if info.policy and info.policy != NOT_EVICTING:
        raise Unfit(
            f"The store may forget what it has accepted: its maxmemory-policy is {info.policy},"
            f" and must be {NOT_EVICTING}"
        )
    if info.loading:
        raise Unreachable("The store is still loading its data")
    if info.role not in ("", "master"):
        raise Unreachable("The store does not take writes (this Redis is a replica)")


def _number(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _release(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) if part.isdecimal() else 0 for part in parts)
