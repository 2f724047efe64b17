"""Answers about all endpoints: the same JSON as in one piece, made while others have turns."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import asdict
from enum import Enum
from math import inf, nan
from typing import TYPE_CHECKING, Any

import pytest

from activator.admin import answers
from activator.admin.answers import (
    AT_ONCE,
    PART,
    Listed,
    Named,
    Together,
    as_json,
    in_parts,
    pieces,
)
from activator.aiokit import slices
from activator.telemetry.logs import plain
from tests.slicing import counted
from tests.support import eventually
from tests.unit.admin.support import Admin, a_working_day, running, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Colour(Enum):
    RED = 1


# as JSON


@pytest.mark.parametrize(
    "value",
    [
        *a_working_day(),
        status("unknown", eta=inf, retry_in=nan, cost=-inf, failure="ü\n\ud800"),
    ],
)
def test_a_value_reads_as_if_it_had_been_taken_apart_before(value: Any) -> None:
    assert as_json(value) == json.dumps(plain(asdict(value)))


def test_what_json_has_no_word_for_is_text() -> None:
    told = {"colour": Colour.RED, "at": {"once": frozenset({1})}, "few": (inf, None, True)}
    assert json.loads(as_json(told), parse_constant=pytest.fail) == plain(told)


@pytest.mark.parametrize("count", [0, 1, AT_ONCE, AT_ONCE + 1, 3 * AT_ONCE])
def test_pieces_are_together_what_one_piece_would_be(count: int) -> None:
    many = [status(f"é {number}", eta=inf if number == 3 else 1.5) for number in range(count)]
    whole = {
        "before": {},
        "a": Listed(iter(many)),
        "in": {"b": Named((one.name, one) for one in many), "after": [1, 2]},
    }

    rows = [plain(asdict(one)) for one in many]
    named = {row["name"]: row for row in rows}
    expected = {"before": {}, "a": rows, "in": {"b": named, "after": [1, 2]}}
    assert "".join(pieces(whole)) == json.dumps(expected)


# made piece by piece


async def test_items_are_made_when_their_turn_comes_and_others_have_turns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with counted(monkeypatch) as turns:

        def items() -> Iterator[int]:
            for number in range(1000):
                turns.step()
                yield number

        parts = await in_parts(pieces({"all": Listed(items())}))

    assert json.loads(b"".join(parts)) == {"all": list(range(1000))}
    assert turns.steps == 1000
    assert turns.longest <= 2 * AT_ONCE  # what a turn of the loop ends and begins with


async def test_parts_are_about_as_large_as_what_is_sent_at_a_time() -> None:
    parts = await in_parts("x" * 1000 for _ in range(200))

    assert sum(map(len, parts)) == 200_000
    assert all(PART <= len(part) < PART + 1000 for part in parts[:-1])


# together


class Question:
    """Answered by the number of the answer, each in some turns of the loop."""

    def __init__(self) -> None:
        self.answers = 0
        self.wrong = False
        self.together = Together(self.told, lock=asyncio.Lock())

    def told(self) -> Iterator[str]:
        self.answers += 1
        yield str(self.answers)
        yield from [""] * 10
        if self.wrong:
            raise RuntimeError("a bug")

    def ask(self) -> asyncio.Future[list[bytes]]:
        return asyncio.ensure_future(self.together.parts())  # noqa: TID251 -- awaited below


@pytest.fixture
def question(monkeypatch: pytest.MonkeyPatch) -> Question:
    monkeypatch.setattr(slices, "SLICE", 0.0)  # so that an answer takes turns
    return Question()


async def test_who_asks_before_an_answer_is_begun_is_given_that_one(question: Question) -> None:
    first = question.ask()
    await asyncio.sleep(0)
    assert question.answers == 1
    later = [question.ask() for _ in range(5)]  # the first answer does not know why they ask

    assert await first == [b"1"]
    assert await asyncio.gather(*later) == [[b"2"]] * 5
    assert question.answers == 2


async def test_nothing_is_kept_for_whoever_asks_next(question: Question) -> None:
    assert await question.ask() == [b"1"]
    assert question.together._parts == []
    assert await question.ask() == [b"2"]


async def test_who_waits_for_an_answer_that_fails_is_given_one_of_their_own(
    question: Question,
) -> None:
    question.wrong = True
    first, second, third = (question.ask() for _ in range(3))
    with pytest.raises(RuntimeError, match="a bug"):
        await first
    question.wrong = False

    assert list(await asyncio.gather(second, third)) == [[b"2"], [b"2"]]


async def test_who_does_not_wait_any_more_holds_up_nobody(question: Question) -> None:
    first, second = question.ask(), question.ask()
    await asyncio.sleep(0)
    first.cancel()

    assert await second == [b"2"]
    assert question.together._parts == []


# as sent


def large(admin: Admin) -> None:
    """More than sockets hold: about 10 MB."""
    names = [f"m{number}" for number in range(1000)]
    admin.house.statuses = {name: status(name, failure="x" * 10_000) for name in names}


async def test_the_lists_are_exactly_what_they_were_in_one_piece() -> None:
    async with running() as admin:
        house = admin.house
        statuses = [plain(asdict(one)) for one in house.endpoints()]
        days = {name: plain(asdict(day)) for name, day in house.days()}
        configuration = plain(asdict(house.config_status()))
        config = {**house.config(), "endpoints": list(house.declared())}
        for path, whole in (
            ("/api/endpoints", {"endpoints": statuses, "configuration": configuration}),
            ("/api/history", {"endpoints": days}),
            ("/api/config", {"config": config, "status": configuration}),
        ):
            async with admin.client.get(admin.url + path) as got:
                assert await got.text() == json.dumps(whole)
                assert got.headers["Content-Type"] == "application/json; charset=utf-8"
                length = got.headers["Content-Length"]
            async with admin.client.head(admin.url + path) as got:
                assert got.headers["Content-Length"] == length
                assert await got.read() == b""


async def test_of_all_the_lists_one_is_made_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    at_once: list[int] = []

    async with running() as admin:
        house = admin.house
        large(admin)

        def noted(name: str) -> Callable[[], Iterator[Any]]:
            method = getattr(house, name)

            def items() -> Iterator[Any]:
                begun.append(name)
                at_once.append(len(begun))
                yield from method()
                begun.remove(name)

            return items

        with counted(monkeypatch):
            for name in ("endpoints", "days", "declared"):
                monkeypatch.setattr(house, name, noted(name))
            paths = ("/api/endpoints", "/api/history", "/api/config")
            told = await asyncio.gather(*(admin.get(path) for path in paths))

    assert [code for code, _ in told] == [200, 200, 200]
    assert at_once == [1, 1, 1]


async def test_a_large_answer_comes_whole_and_the_connection_serves_on() -> None:
    async with running() as admin:
        large(admin)
        for _ in range(2):
            code, listed = await admin.get("/api/endpoints")
            assert code == 200
            assert [one["name"] for one in listed["endpoints"]] == list(admin.house.statuses)
        assert len(admin.client.connector._conns) == 1  # type: ignore[union-attr]


async def asked(admin: Admin) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """For all endpoints, by somebody who reads no more than the beginning."""
    large(admin)
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port, limit=1000)
    writer.write(b"GET /api/endpoints HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    return reader, writer


async def test_a_client_that_leaves_midway_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running() as admin:
        _, writer = await asked(admin)
        writer.transport.abort()
        await eventually(lambda: not admin.connections())
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_client_that_reads_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "STUCK", 0.05)
    async with running() as admin:
        _, writer = await asked(admin)
        try:
            await eventually(lambda: not admin.connections())
        finally:
            writer.transport.abort()


async def test_a_client_that_reads_slowly_gets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def more(_: object) -> int:
        looks.append(len(looks))
        return looks[-1]

    monkeypatch.setattr(answers, "STUCK", 0.001)
    monkeypatch.setattr(answers, "taken_by", more)
    async with running() as admin:
        reader, writer = await asked(admin)
        await eventually(lambda: len(looks) > 5)
        while (line := await reader.readline()) != b"\r\n":
            if line.startswith(b"Content-Length: "):
                length = int(line.partition(b": ")[2])
        listed = json.loads(await reader.readexactly(length))
        assert len(listed["endpoints"]) == len(admin.house.statuses)
        writer.close()
