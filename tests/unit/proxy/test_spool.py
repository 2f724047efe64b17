"""Bodies in files: what is read is what was written, and the file goes when it is not needed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from activator.errors import StoreUnavailable
from activator.proxy.body import Body
from activator.proxy.edits import Edit
from activator.proxy.intake import Intake
from activator.proxy.spool import PIECE, Spool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def intake() -> AsyncIterator[Intake]:
    made = Intake(loop=asyncio.get_running_loop(), most=10 * PIECE)
    yield made
    made.close()


def nobody() -> None:
    return


def spool(intake: Intake, *, room: int = PIECE) -> Spool:
    return Spool(intake, room=room, admitted=nobody)


async def test_a_body_goes_on_in_a_file_where_it_was_in_memory(intake: Intake) -> None:
    body = Body(complete=False)
    body.add(b"first")

    body.spill(spool(intake))
    body.add(b"second" * PIECE)

    assert body.chunks == []
    assert b"".join(body.pieces()) == b"first" + b"second" * PIECE
    assert all(len(piece) <= PIECE for piece in body.pieces())
    assert body.repeatable
    body.forget()
    assert not body.repeatable
    assert intake.used == 0


@pytest.mark.parametrize("start", [0, 3, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE])
@pytest.mark.parametrize("new", [b"", b"n", b"new" * 100])
async def test_bytes_of_it_can_be_exchanged(intake: Intake, start: int, new: bytes) -> None:
    body = Body(complete=False)
    body.spill(spool(intake))
    data = bytes(range(250)) * (3 * PIECE // 250)
    body.add(data)

    edits = [Edit(start + 9, start + 10, b"other"), Edit(start, start + 5, new)]
    body.change(edits)
    body.add(b"tail")

    between, rest = data[start + 5 : start + 9], data[start + 10 :]
    expected = data[:start] + new + between + b"other" + rest + b"tail"
    assert b"".join(body.pieces()) == expected
    assert body.size == len(expected)
    assert body.spool is not None
    assert body.spool.size == len(expected)
    body.forget()


async def test_what_was_replaced_may_be_replaced_again(intake: Intake) -> None:
    body = Body(complete=False)
    body.add(b"x" * PIECE + b'"one", tail')
    body.spill(spool(intake))
    for old, new in ((b'"one"', b'"three"'), (b'"three"', b'"2"'), (b'"2"', b'"one"')):
        body.change([Edit(PIECE, PIECE + len(old), new)])
        assert b"".join(body.pieces()) == b"x" * PIECE + new + b", tail"
        assert body.size == PIECE + len(new) + 6
    body.forget()


async def test_one_that_finds_no_room_is_told_when_there_is(intake: Intake) -> None:
    told: list[int] = []
    first = spool(intake, room=10 * PIECE)
    second = Spool(intake, room=1, admitted=lambda: told.append(1))
    assert (first.has_room, second.has_room, told) == (True, False, [])

    first.close()

    assert (second.has_room, told) == (True, [1])
    second.close()


async def test_a_full_disk_is_said_to_be_one(
    intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    body = Body(complete=False)
    body.add(b"x")

    with pytest.raises(StoreUnavailable, match="No space left on device"):
        body.spill(spool(intake))
    body.forget()
