"""What may follow what in the record of an endpoint's drains."""

from __future__ import annotations

from activator.core.draining import Drain, Stage


def asked(*acts: str, term: int = 1) -> Drain:
    drain = Drain()
    for act in acts:
        drain = drain.join(act)
    drain, done = drain.declare(by="leader", term=term, number=10, replicas=None)
    assert done
    return drain


def agreed() -> Drain:
    drain, done = asked("a").answer("a", number=10, quiet=True)
    assert done
    drain, done = drain.agree(number=10, excused=())
    assert done
    return drain


def test_all_who_have_joined_must_give_their_word_to_this_very_drain() -> None:
    drain, _ = asked("a", "b").answer("a", number=10, quiet=True)
    assert drain.agree(number=10, excused=()) == (drain, False)
    again, _ = drain.declare(by="leader", term=1, number=10, replicas=None)
    assert again.number == 11
    again, _ = again.answer("b", number=11, quiet=True)

    assert again.agree(number=11, excused=())[1] is False  # a's word was to the one before
    again, _ = again.answer("a", number=11, quiet=True)
    assert again.agree(number=11, excused=())[1] is True


def test_the_excused_are_not_waited_for() -> None:
    drain, _ = asked("a", "b").answer("a", number=10, quiet=True)

    assert drain.agree(number=10, excused=("b",))[1] is True


def test_one_who_joins_meanwhile_must_answer_too() -> None:
    drain, _ = asked("a").answer("a", number=10, quiet=True)

    assert drain.join("b").agree(number=10, excused=())[1] is False
    assert drain.join("b").leave(["b"]).agree(number=10, excused=())[1] is True


def test_joining_again_keeps_ones_word() -> None:
    drain, _ = asked("a").answer("a", number=10, quiet=True)

    assert drain.join("a") == drain


def test_a_no_ends_it() -> None:
    drain, _ = asked("a", "b").answer("a", number=10, quiet=False)

    assert drain.stage is Stage.NONE
    assert drain.answer("b", number=10, quiet=True)[1] is False
    assert drain.agree(number=10, excused=("a", "b"))[1] is False


def test_it_is_agreed_once() -> None:
    assert agreed().agree(number=10, excused=())[1] is False


def test_a_revival_before_it_is_agreed_prevents_that_and_after_it_tells_so() -> None:
    before, stage = asked("a").revive("a")
    assert stage is Stage.ASKED
    assert before.agree(number=10, excused=("a",))[1] is False

    after, stage = agreed().revive("a")
    assert stage is Stage.AGREED
    assert after.words == {"a": 0}


def test_what_was_agreed_upon_lasts_until_its_order_is_known_to_be_over() -> None:
    revived, _ = agreed().revive("a")

    assert revived.stage is Stage.AGREED
    assert revived.declare(by="other", term=9, number=99, replicas=None) == (revived, False)
    over, _ = revived.conclude(number=10)
    assert over.declare(by="other", term=9, number=99, replicas=None)[1] is True


def test_nobody_agrees_late() -> None:
    drain = agreed()

    assert drain.join("b").answer("b", number=10, quiet=True)[1] is False


def test_an_asker_of_an_earlier_term_is_refused() -> None:
    drain = asked("a", term=7)

    assert drain.declare(by="other", term=6, number=99, replicas=None) == (drain, False)
    assert drain.declare(by="other", term=7, number=99, replicas=None)[1] is True


def test_concluding_something_else_changes_nothing() -> None:
    drain = agreed()

    assert drain.conclude(number=9) == (drain, False)
    assert drain.conclude(number=10)[0].stage is Stage.NONE
