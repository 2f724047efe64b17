from __future__ import annotations

import pytest

from activator.coordination.ledger_entry import Entry
from activator.coordination.ledger_spares import Spares, is_plenty
from activator.core.dispatch import Ticket


def entry(seq: str) -> Entry:
    made = Entry(Ticket(), Entry.GRANTED)
    made.seq = seq
    return made


def holding(*seqs: str) -> Spares:
    spares = Spares()
    for seq in seqs:
        spares.put(entry(seq))
    return spares


@pytest.mark.parametrize(
    ("limit", "busy", "plenty"),
    [
        (1, 0, False),
        (7, 0, False),
        (8, 0, True),
        (8, 1, False),
        (16, 8, True),
        (16, 9, False),
        (100, 50, True),
        (100, 51, False),
        (100, 120, False),
        (0, 0, False),
    ],
)
def test_plenty_is_half_of_the_limit_and_no_less_than_eight(
    limit: int, busy: int, plenty: bool
) -> None:
    assert is_plenty(limit, busy) is plenty


def test_the_one_kept_last_is_taken_first() -> None:
    spares = holding("a", "b", "c")
    assert [spares.take().seq for _ in range(3)] == ["c", "b", "a"]


def test_what_is_kept_knows_nobody_whom_it_was_for() -> None:
    kept = entry("a")
    whose = kept.ticket
    kept.decided = lambda ticket, replica: None
    kept.granted = lambda ticket, replica: None
    spares = Spares()

    spares.put(kept)

    assert kept.phase == Entry.SPARE
    assert kept.decided is None
    assert kept.granted is None
    assert kept.ticket is not whose


def test_only_what_was_never_needed_since_the_last_look_is_idle() -> None:
    spares = holding("a", "b", "c", "d")
    assert spares.take_idle() == [], "all of them have come since"

    for _ in range(2):  # two at once
        in_use = [spares.take(), spares.take()]
        for each in in_use:
            spares.put(each)

    assert [each.seq for each in spares.take_idle()] == ["a", "b"]
    assert sorted(each.seq for each in spares.kept) == ["c", "d"]
    assert sorted(each.seq for each in spares.take_idle()) == ["c", "d"]
    assert spares.kept == []


def test_who_asked_first_is_served_first() -> None:
    spares = Spares()
    spares.askers = {each.seq: each for each in (entry("2"), entry("1"))}
    assert [spares.next_asker().seq, spares.next_asker().seq] == ["2", "1"]


def test_none_is_kept_once_all_are_given_back() -> None:
    spares = holding("a", "b")
    spares.allowed = spares.told = True

    assert [each.seq for each in spares.take_all()] == ["a", "b"]

    assert spares.kept == []
    assert not spares.allowed
    assert not spares.told
    assert spares.take_idle() == []
