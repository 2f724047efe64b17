"""What is booked of the use of keys, and that each of it is booked once."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from activator.control.key_accounts import KeyAccounts
from activator.coordination.memory_costs import MemoryCostBook
from activator.core.key_usage import KeyUse
from activator.errors import StoreUnavailable
from tests.slicing import counted
from tests.unit.upstream.support import Clock, live_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from activator.core.key_usage import KeyEntry
    from activator.upstream.registry import LiveEndpoint

FIRST = date(1970, 1, 1)
MIDNIGHT = 86400.0


class Book(MemoryCostBook):
    def __init__(self) -> None:
        super().__init__()
        self.away = self.deaf = False

    async def book_keys(self, entries: Sequence[KeyEntry]) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")
        await super().book_keys(entries)
        if self.deaf:
            raise StoreUnavailable("no answer within 0.5 s")

    async def requests(self, day: int = 0) -> int:
        when = date.fromordinal(FIRST.toordinal() + day)
        return sum(each.use.requests for each in await self.keys(when, when))


class Desk:
    """One activator's accounts, looked at when a test says so."""

    def __init__(self, *, wall: float = 1000.0) -> None:
        self.clock = Clock()
        self.ahead = wall - self.clock()
        self.lives: list[LiveEndpoint] = [live_endpoint(clock=self.clock)]
        self.book = Book()
        self.accounts = self.hire("one")

    def hire(self, name: str) -> KeyAccounts:
        return KeyAccounts(
            self.book,
            me=name,
            lives=lambda: self.lives,
            clock=self.clock,
            wall=lambda: self.clock() + self.ahead,
        )

    def serve(self, count: int = 1) -> None:
        for _ in range(count):
            self.lives[0].keys.begin("team", now=self.clock())
            self.clock.advance(0.5)
            self.lives[0].keys.end("team", now=self.clock())


async def test_what_has_come_since_the_last_time_is_booked() -> None:
    desk = Desk()
    desk.serve(2)
    await desk.accounts.tick()
    await desk.accounts.tick()
    desk.serve()
    await desk.accounts.tick()

    (told,) = await desk.book.keys(FIRST, FIRST)
    assert (told.endpoint, told.key) == ("m", "team")
    assert told.use == KeyUse(requests=3, slot_seconds=1.5)


async def test_what_the_store_took_without_an_answer_is_booked_once() -> None:
    desk = Desk()
    desk.serve()
    desk.book.deaf = True
    await desk.accounts.tick()
    desk.serve(2)
    await desk.accounts.tick()
    desk.book.deaf = False
    await desk.accounts.tick()
    assert await desk.book.requests() == 3


async def test_while_the_store_is_away_it_waits_by_the_day() -> None:
    desk = Desk(wall=MIDNIGHT - 3.0)
    await desk.accounts.tick()
    desk.book.away = True
    for _ in range(6):
        desk.serve()
        desk.clock.advance(0.5)
        await desk.accounts.tick()
    desk.book.away = False
    await desk.accounts.tick()
    assert (await desk.book.requests(0), await desk.book.requests(1)) == (3, 3)


async def test_an_endpoint_that_goes_is_booked_and_its_successor_begins_anew() -> None:
    desk = Desk()
    desk.serve(2)
    await desk.accounts.tick()
    desk.serve()
    desk.lives = [live_endpoint(clock=desk.clock)]
    desk.serve()
    await desk.accounts.aclose()
    assert await desk.book.requests() == 4


async def test_activators_add_up() -> None:
    desk = Desk()
    other = desk.hire("two")
    desk.serve()
    await desk.accounts.tick()
    await other.tick()
    assert await desk.book.requests() == 2


async def test_however_many_are_looked_at_others_have_their_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()

    def lives() -> Iterator[LiveEndpoint]:
        for live in desk.lives * 50:
            turns.step()
            yield live

    accounts = KeyAccounts(desk.book, me="two", lives=lives, clock=desk.clock, wall=lambda: 1000.0)
    with counted(monkeypatch) as turns:
        await accounts.tick()

    assert turns.steps == 50
    assert turns.longest <= 2
