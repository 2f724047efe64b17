"""What the demo sees through the admin port: endpoints as they are, events as they happen.

It asks and remembers, and answers "is it at zero", "has it all been taken in". What is done with
that is the demo's business, how it looks on a screen is `screen`'s.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from activator.demo.facts import Bill, ModelSide

if TYPE_CHECKING:
    from collections.abc import Callable

POLL = 0.1
"""Seconds between two looks at the endpoints: what an eye can follow."""
QUICK_POLL = 0.005
"""Seconds between two looks while a burst is sent, each request after the last was taken in."""


@dataclass(frozen=True, slots=True)
class Row:
    """One endpoint, now."""

    name: str
    state: str
    held: int
    in_flight: int
    replicas: tuple[str, ...]
    """The phase of each."""
    addresses: tuple[str, ...]
    """`host:port` of each that has one."""
    eta: float | None
    bill: Bill

    @property
    def is_at_zero(self) -> bool:
        return self.state == "inactive" and not self.replicas


@dataclass(frozen=True, slots=True)
class Line:
    """Something that happened; `at` is Unix time."""

    at: float
    endpoint: str
    action: str
    text: str


@dataclass(slots=True)
class View:
    """All that a screen may show."""

    began_at: float = field(default_factory=time.time)
    rows: tuple[Row, ...] = ()
    lines: list[Line] = field(default_factory=list)
    chat: str = ""

    def note(self, endpoint: str, action: str, text: str) -> None:
        self.lines.append(Line(at=time.time(), endpoint=endpoint, action=action, text=text))


class Watch:
    """Reads the admin port of one activator into a View."""

    def __init__(
        self, session: aiohttp.ClientSession, *, port: int, view: View, shown: Callable[[], None]
    ) -> None:
        self._session = session
        self._base = f"http://127.0.0.1:{port}"
        self._view = view
        self._shown = shown

    async def follow_endpoints(self) -> None:
        """Look again and again, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(POLL)

    async def follow_events(self) -> None:
        """Take events as they come, for ever; those before the first call too."""
        async with self._session.get(
            f"{self._base}/api/events",
            params={"since": "0"},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as response:
            response.raise_for_status()
            async for raw in response.content:
                if raw.startswith(b"data: "):
                    self._take(json.loads(raw.removeprefix(b"data: ")))

    async def look(self) -> None:
        """The endpoints as they are now."""
        async with self._session.get(f"{self._base}/api/endpoints") as response:
            response.raise_for_status()
            told = await response.json()
        self._view.rows = tuple(_row(status) for status in told["endpoints"])
        self._shown()

    async def taken_in(self, endpoint: str) -> int:
        """Requests that wait or run at this endpoint now."""
        async with self._session.get(f"{self._base}/api/endpoints/{endpoint}") as response:
            response.raise_for_status()
            row = _row(await response.json())
        return row.held + row.in_flight

    async def at_zero(self, *endpoints: str) -> None:
        """Returns once all of them are."""
        await self.look()
        while not all(self._row(name).is_at_zero for name in endpoints):
            await asyncio.sleep(POLL)
            await self.look()

    async def model_side(self, endpoint: str) -> ModelSide | None:
        """The account of this endpoint's model server, asked directly; None if it has none now."""
        await self.look()
        for address in self._row(endpoint).addresses:
            async with self._session.get(f"http://{address}/stats") as response:
                response.raise_for_status()
                return ModelSide.read(await response.json())
        return None

    def bills(self) -> tuple[Bill, ...]:
        return tuple(row.bill for row in self._view.rows)

    def _row(self, name: str) -> Row:
        return next(row for row in self._view.rows if row.name == name)

    def _take(self, event: dict[str, Any]) -> None:
        if "action" not in event:
            return  # `lost`: only a reader far slower than this one is told so
        line = Line(
            at=event["at"],
            endpoint=event["endpoint"],
            action=event["action"],
            text=event["reason"],
        )
        self._view.lines.append(line)
        self._shown()


def _row(status: dict[str, Any]) -> Row:
    replicas = status["replicas"]
    return Row(
        name=status["name"],
        state=status["state"],
        held=status["held"],
        in_flight=status["in_flight"],
        replicas=tuple(replica["phase"] for replica in replicas),
        addresses=tuple(replica["address"] for replica in replicas if replica["address"]),
        eta=status["eta"],
        bill=Bill(
            endpoint=status["name"],
            replica_seconds=status["replica_seconds"],
            saved_replica_seconds=status["saved_replica_seconds"],
            cost=status["cost"],
            cost_saved=status["cost_saved"],
        ),
    )
