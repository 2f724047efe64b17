"""Which writes are done at once, and which together at the end of a turn of the loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from activator.aiokit import outbox
from activator.aiokit.outbox import ENOUGH, LARGE, TOGETHER, TRIED_AGAIN, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable


class Wire:
    """A transport that keeps what was written, one list for several: whose it is, and what."""

    def __init__(self, name: str, log: list[tuple[str, bytes]]) -> None:
        self.name = name
        self.log = log
        self.on_write: Callable[[], None] | None = None

    def write(self, data: bytes) -> None:
        self.log.append((self.name, data))
        if self.on_write is not None:
            told, self.on_write = self.on_write, None
            told()


class Mail:
    """An outbox and some wires."""

    def __init__(self) -> None:
        self.log: list[tuple[str, bytes]] = []
        self.box = Outbox()

    def wire(self, name: str) -> Wire:
        return Wire(name, self.log)

    def crowd(self, count: int) -> int:
        """So many writes in this turn. Returns how many were done at once."""
        wire, before = self.wire("crowd"), len(self.log)
        for number in range(count):
            self.box.write(wire, b"%d" % number)
        return len(self.log) - before


async def a_turn() -> None:
    await asyncio.sleep(0)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Mail:
    """None is written at once because few come."""
    monkeypatch.setattr(outbox, "TRIED_AGAIN", 0)
    return Mail()


async def test_while_few_come_each_is_written_at_once_but_for_a_look_now_and_then() -> None:
    mail = Mail()
    for _ in range(3):
        for _ in range(TRIED_AGAIN // 2):
            assert mail.crowd(2) == 2
            await a_turn()
        assert mail.crowd(2) == 0, "how many come together is looked at again"
        await a_turn()
        assert mail.log[-2:] == [("crowd", b"0"), ("crowd", b"1")]


async def test_while_many_come_they_are_written_behind_the_turn() -> None:
    mail = Mail()
    mail.crowd(TRIED_AGAIN)
    for _ in range(5):
        mail.log.clear()
        assert mail.crowd(ENOUGH) == 0
        await a_turn()
        assert [data for _, data in mail.log] == [b"%d" % number for number in range(ENOUGH)]

    assert mail.crowd(ENOUGH - 1) == 0
    await a_turn()
    assert mail.crowd(ENOUGH) == ENOUGH, "they have become few"


async def test_more_than_so_many_do_not_wait(together: Mail) -> None:
    assert together.crowd(TOGETHER - 1) == 0
    assert together.crowd(1) == TOGETHER
    assert together.crowd(TOGETHER + 3) == TOGETHER

    await a_turn()
    assert len(together.log) == 2 * TOGETHER + 3


async def test_those_written_within_the_turn_count_as_come_together() -> None:
    mail = Mail()
    mail.crowd(TRIED_AGAIN)
    assert mail.crowd(TOGETHER) == TOGETHER
    await a_turn()
    assert mail.crowd(1) == 0


async def test_what_is_large_follows_what_waits_and_is_written_at_once(together: Mail) -> None:
    one, other = together.wire("one"), together.wire("other")
    together.box.write(one, b"first")
    together.box.write(other, b"its")
    large = b"x" * (LARGE + 1)

    together.box.write(one, large)

    assert [data for name, data in together.log if name == "one"] == [b"first", large]
    await a_turn()
    assert sorted(together.log[-3:]) == [("one", b"first"), ("one", large), ("other", b"its")]


async def test_what_is_flushed_is_written_now_and_once(together: Mail) -> None:
    together.crowd(3)
    together.box.flush()
    assert len(together.log) == 3

    await a_turn()
    together.box.flush()
    assert len(together.log) == 3


async def test_who_is_told_of_a_write_may_write_and_flush(together: Mail) -> None:
    one, other = together.wire("one"), together.wire("other")

    def told() -> None:
        together.box.write(one, b"2")
        together.box.flush()
        together.box.write(one, b"3")

    one.on_write = told
    together.box.write(one, b"1")
    together.box.write(other, b"a")
    await a_turn()
    await a_turn()

    assert [data for name, data in together.log if name == "one"] == [b"1", b"2", b"3"]
    assert ("other", b"a") in together.log
    assert len(together.log) == 4


async def test_one_that_fails_costs_the_others_nothing(
    together: Mail, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> None:
        raise RuntimeError("it is closed")

    one, other = together.wire("one"), together.wire("other")
    one.on_write = fails
    together.box.write(one, b"1")
    together.box.write(other, b"2")
    with caplog.at_level(logging.ERROR):
        await a_turn()

    assert together.log == [("one", b"1"), ("other", b"2")]
    assert [record.getMessage() for record in caplog.records] == ["a write failed"]
    assert together.crowd(1) == 0, "and the next turn is as any other"
    await a_turn()
    assert len(together.log) == 3
