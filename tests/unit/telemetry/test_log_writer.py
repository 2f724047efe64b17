"""Lines are written by a thread: nobody waits for it, and what is lost is said."""

from __future__ import annotations

import errno
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from activator.telemetry.log_writer import (
    BATCH,
    FACTS,
    GATHER,
    RECKONED,
    LogWriter,
    to_descriptor,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

WITHIN = 5.0


class Reader:
    """Takes what is written, once it may."""

    def __init__(self) -> None:
        self.reads = threading.Event()
        self.broken = False
        self.begun = threading.Event()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.begun.set()
        assert self.reads.wait(WITHIN)
        if self.broken:
            raise OSError(errno.ENOSPC, "no room")
        self.writes.append(data)

    @property
    def lines(self) -> list[str]:
        return b"".join(self.writes).decode().splitlines()


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def writer(reader: Reader) -> Iterator[LogWriter]:
    made = LogWriter(reader.write, lost=lambda lines: f"{lines} lost\n", most=100)
    yield made
    reader.reads.set()
    made.flush(within=WITHIN)
    made.close()


def test_lines_keep_their_order(reader: Reader, writer: LogWriter) -> None:
    reader.reads.set()
    for number in range(9):
        writer.put(f"line {number}\n")
    writer.flush(within=WITHIN)
    assert reader.lines == [f"line {number}" for number in range(9)]
    assert writer.dropped == 0


def test_while_nobody_reads_lines_wait_up_to_a_bound_and_the_rest_is_counted(
    reader: Reader, writer: LogWriter
) -> None:
    for number in range(30):
        writer.put(f"line{number:05}\n")
    assert writer.full
    assert writer.dropped == 20
    reader.reads.set()
    writer.flush(within=WITHIN)
    assert reader.lines == [*(f"line{number:05}" for number in range(10)), "20 lost"]
    assert not writer.full


def test_what_is_lost_is_said_where_it_is_missing(reader: Reader, writer: LogWriter) -> None:
    for number in range(11):
        writer.put(f"line{number:05}\n")
    writer.refuse()
    reader.reads.set()
    writer.flush(within=WITHIN)
    writer.put("later\n")
    writer.flush(within=WITHIN)
    assert reader.lines[-3:] == ["line00009", "2 lost", "later"]


def test_lines_that_could_not_be_written_are_said_to_be_lost_when_they_can(
    reader: Reader, writer: LogWriter
) -> None:
    reader.broken = True
    reader.reads.set()
    for number in range(3):
        writer.put(f"line {number}\n")
        writer.flush(within=WITHIN)
    assert writer.dropped == 3
    reader.broken = False
    writer.put("later\n")
    writer.flush(within=WITHIN)
    assert reader.lines == ["3 lost", "later"]


def test_what_was_refused_while_others_failed_is_said_with_them(
    reader: Reader, writer: LogWriter
) -> None:
    for number in range(12):
        writer.put(f"line{number:05}\n")
    reader.broken = True
    reader.reads.set()
    writer.flush(within=WITHIN)
    assert writer.dropped == 12
    reader.broken = False
    writer.put("later\n")
    writer.flush(within=WITHIN)
    assert reader.lines == ["12 lost", "later"]


def test_there_is_room_again_for_what_was_written(reader: Reader, writer: LogWriter) -> None:
    reader.reads.set()
    for number in range(50):
        writer.put(f"line{number:05}\n")
        writer.flush(within=WITHIN)
    assert reader.lines == [f"line{number:05}" for number in range(50)]
    assert writer.dropped == 0


def test_lines_are_written_without_anybody_asking(reader: Reader, writer: LogWriter) -> None:
    reader.reads.set()
    for number in range(5):  # each finds the thread at rest again, or about to be
        writer.put(f"line{number:05}\n")
        until = time.monotonic() + WITHIN
        while len(reader.lines) <= number:
            assert time.monotonic() < until
            time.sleep(GATHER * number)
    assert writer.dropped == 0


def test_lines_that_come_while_others_are_written_gather(reader: Reader, writer: LogWriter) -> None:
    writer.put("first\n")
    assert reader.begun.wait(WITHIN)
    for number in range(5):
        writer.put(f"line{number:05}\n")
    reader.reads.set()
    writer.flush(within=WITHIN)
    written = [one for one in reader.writes if one]
    assert written == [b"first\n", b"".join(b"line%05d\n" % number for number in range(5))]


def facts(number: int, *, made: Callable[[list[Any]], bytes]) -> tuple[Any, ...]:
    return (made, number, *(None for _ in range(FACTS - 2)))


def numbers(facts: list[Any]) -> bytes:
    return b"".join(b"made %d\n" % number for number in facts[1::FACTS])


def other_numbers(facts: list[Any]) -> bytes:
    return b"".join(b"other %d\n" % number for number in facts[1::FACTS])


def test_lines_that_are_made_later_are_where_they_were_put(reader: Reader) -> None:
    writer = LogWriter(reader.write, lost=str)
    writer.put_facts(facts(0, made=numbers))
    writer.put("first\n")
    for number in range(1, 4):
        writer.put_facts(facts(number, made=numbers))
    writer.put_facts(facts(4, made=other_numbers))
    writer.put("last\n")
    reader.reads.set()
    writer.flush(within=WITHIN)
    writer.close()
    assert reader.lines == ["made 0", "first", "made 1", "made 2", "made 3", "other 4", "last"]


def test_many_are_made_at_a_time_and_written_in_batches(reader: Reader) -> None:
    made_at_a_time = []

    def counted(facts: list[Any]) -> bytes:
        made_at_a_time.append(len(facts) // FACTS)
        return numbers(facts)

    writer = LogWriter(reader.write, lost=str)
    writer.put("first\n")
    assert reader.begun.wait(WITHIN)
    for number in range(2 * BATCH + 10):
        writer.put_facts(facts(number, made=counted))
    reader.reads.set()
    writer.flush(within=WITHIN)
    writer.close()
    assert reader.lines[1:] == [f"made {number}" for number in range(2 * BATCH + 10)]
    assert made_at_a_time == [BATCH, BATCH, 10]
    assert len(reader.writes) == 4


def test_none_is_lost_or_overtaken_while_the_thread_takes_what_there_is(reader: Reader) -> None:
    writer = LogWriter(reader.write, lost=str, most=1 << 30)
    reader.reads.set()
    for number in range(30_000):
        if number % 7:
            writer.put_facts(facts(number, made=numbers))
        else:
            writer.put(f"made {number}\n")
        if number % 3000 == 0:
            writer.flush(within=WITHIN)
    writer.flush(within=WITHIN)
    writer.close()
    assert reader.lines == [f"made {number}" for number in range(30_000)]
    assert len(reader.writes) > 10


def test_lines_that_are_not_made_yet_wait_up_to_the_bound_too(reader: Reader) -> None:
    writer = LogWriter(reader.write, lost=lambda lines: f"{lines} lost\n", most=10 * RECKONED)
    for number in range(30):
        writer.put_facts(facts(number, made=numbers))
    assert writer.full
    assert writer.dropped == 20
    reader.reads.set()
    writer.flush(within=WITHIN)
    assert not writer.full
    writer.put_facts(facts(30, made=numbers))
    writer.flush(within=WITHIN)
    writer.close()
    assert reader.lines == [*(f"made {number}" for number in range(10)), "20 lost", "made 30"]


def test_who_cannot_make_lines_keeps_none_from_being_written(
    reader: Reader, writer: LogWriter
) -> None:
    def fails(facts: list[Any]) -> bytes:
        raise LookupError("no facts")

    reader.reads.set()
    writer.put_facts(facts(0, made=fails))
    writer.flush(within=WITHIN)
    writer.put("later\n")
    writer.flush(within=WITHIN)
    assert reader.lines == ["log lines cannot be made: LookupError('no facts')", "later"]


def test_a_flush_gives_up_once_for_all_while_nobody_reads(
    reader: Reader, writer: LogWriter
) -> None:
    writer.put("x\n")
    writer.flush(within=0.01)
    began = time.monotonic()
    writer.flush(within=WITHIN)
    assert time.monotonic() - began < WITHIN / 2
    reader.reads.set()


def test_text_that_is_no_unicode_is_written_all_the_same(reader: Reader, writer: LogWriter) -> None:
    reader.reads.set()
    writer.put("\udcff\n")
    writer.flush(within=WITHIN)
    assert reader.lines == [r"\udcff"]


def test_a_descriptor_that_somebody_made_non_blocking_takes_everything() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    sent = os.urandom(1 << 20)
    writing = threading.Thread(target=to_descriptor(write), args=(sent,))
    writing.start()
    received = b""
    while len(received) < len(sent):
        received += os.read(read, 1 << 16)
    writing.join(WITHIN)
    os.close(read)
    os.close(write)
    assert received == sent
