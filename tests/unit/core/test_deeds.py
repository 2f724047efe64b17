"""Who may run an endpoint's processes, and what becomes of orders for them."""

from __future__ import annotations

from dataclasses import replace

from activator.core.deeds import Deed, Ordered, has_forgotten, may_claim

NOBODYS = Deed()


def claimed(act: str = "a", *, wanted: int = 1, seen: Deed = NOBODYS) -> Deed:
    deed, done = seen.claim(act, seen=seen, term=seen.term + 1, wanted=wanted, where="", told=b"")
    assert done
    return deed


def running(act: str = "a", *, wanted: int = 1) -> Deed:
    """Held, and all orders carried out."""
    deed = claimed(act, wanted=wanted)
    return told(deed, wanted=wanted)


def told(deed: Deed, *, wanted: int, is_leaving: bool = False) -> Deed:
    after, done = deed.tell(
        deed.holder,
        term=deed.term,
        taken=deed.number,
        wanted=wanted,
        told=b"",
        is_leaving=is_leaving,
    )
    assert done
    return after


def order(
    deed: Deed,
    wanted: int,
    *,
    victims: tuple[str, ...] = (),
    before: int | None = None,
    fence: str = "",
) -> tuple[Deed, Ordered]:
    return deed.order(wanted=wanted, victims=victims, before=before, fence=fence)


def test_of_two_who_claim_what_nobody_holds_one_gets_it() -> None:
    deed = claimed("a")

    again, done = deed.claim("b", seen=NOBODYS, term=1, wanted=1, where="", told=b"")

    assert not done
    assert again.holder == "a"
    assert deed.number > deed.taken  # its first order is owed


def test_what_outlives_its_holder_passes_on_as_it_stands_with_orders_and_all() -> None:
    held, _ = NOBODYS.claim("a", seen=NOBODYS, term=1, wanted=2, where="here", told=b"")
    held, _ = held.tell("a", term=1, taken=1, wanted=2, told=b"m-1 m-2", is_leaving=False)
    ordered, _ = held.order(wanted=1, victims=("m-2",), before=None, fence="")

    deed, done = ordered.claim("b", seen=ordered, term=2, wanted=None, where="there", told=b"")

    assert done
    assert (deed.holder, deed.term, deed.where) == ("b", 2, "there")
    assert (deed.number, deed.taken, deed.wanted, deed.victims) == (2, 1, 1, ("m-2",))
    assert deed.told == b"m-1 m-2"
    # what was prepared under the former holder is void
    assert deed.order(wanted=0, victims=(), before=None, fence=ordered.fence_word) == (
        deed,
        Ordered.OUTDATED,
    )


def test_an_order_by_the_count_that_was_seen_is_void_once_there_is_another() -> None:
    deed = claimed(wanted=3)

    after, became = order(deed, 1, before=0)

    assert became is Ordered.TAKEN
    assert after == deed


def test_an_order_is_void_after_any_other_order_or_revival() -> None:
    deed = running(wanted=2)
    prepared = deed.fence_word

    assert order(deed, 0, fence=prepared)[1] is Ordered.TAKEN
    assert order(deed.revive(), 0, fence=prepared)[1] is Ordered.OUTDATED
    assert order(order(deed, 3)[0], 0, fence=prepared)[1] is Ordered.OUTDATED
    assert order(claimed("b", seen=deed), 0, fence=prepared)[1] is Ordered.OUTDATED


def test_victims_of_orders_that_were_not_carried_out_add_up() -> None:
    deed = running(wanted=3)
    deed, _ = order(deed, 2, victims=("m-1",))
    deed, _ = order(deed, 1, victims=("m-2",))

    assert deed.victims == ("m-1", "m-2")
    assert told(deed, wanted=1).victims == ()


def test_what_the_holder_tells_does_not_undo_an_order_that_it_has_not_seen() -> None:
    deed = running()
    after, _ = order(deed, 2)

    late, _ = after.tell("a", term=1, taken=deed.number, wanted=0, told=b"", is_leaving=False)

    assert late.wanted == 2


def test_nothing_that_an_earlier_holder_says_counts() -> None:
    deed = claimed("b", seen=running("a"))

    assert not deed.tell("a", term=1, taken=9, wanted=0, told=b"", is_leaving=False)[1]
    assert not deed.give_back("a", term=1, number=9, told=b"")[1]


def test_it_is_not_given_back_with_an_order_on_its_way() -> None:
    deed = running()
    after, _ = order(deed, 1)

    assert not after.give_back("a", term=1, number=deed.number, told=b"")[1]
    assert after.give_back("a", term=1, number=after.number, told=b"")[0].holder == ""


def test_who_is_leaving_takes_no_order_and_gives_back_whatever_was_ordered() -> None:
    deed = told(running(), wanted=0, is_leaving=True)

    assert order(deed, 1)[1] is Ordered.NOBODYS
    assert order(NOBODYS, 1)[1] is Ordered.NOBODYS
    assert deed.give_back("a", term=1, number=0, told=b"")[1]


def test_processes_are_started_elsewhere_once_their_owner_is_lost_or_leaves_another_machine() -> (
    None
):
    held, leaving = running("a"), told(running("a"), wanted=0, is_leaving=True)

    assert may_claim(NOBODYS, me="b", is_lost=False, is_here=True)
    assert not may_claim(held, me="b", is_lost=False, is_here=False)
    assert may_claim(held, me="b", is_lost=True, is_here=True)
    assert may_claim(leaving, me="b", is_lost=False, is_here=False)
    assert not may_claim(leaving, me="b", is_lost=False, is_here=True)  # the GPU is still in use
    assert not may_claim(held, me="a", is_lost=False, is_here=True)


def test_a_store_that_has_lost_a_deed_is_told_from_one_that_was_given_it_back() -> None:
    held = running("a")
    given_back, _ = held.give_back("a", term=1, number=held.number, told=b"")

    assert has_forgotten(held, NOBODYS)
    assert not has_forgotten(held, given_back)
    assert not has_forgotten(held, claimed("b"))
    assert not has_forgotten(given_back, NOBODYS)


def test_a_deed_that_was_forgotten_is_claimed_anew_and_orders_keep_rising() -> None:
    held = running("a")
    lost = replace(NOBODYS, number=held.number, fence=held.fence)

    again, done = NOBODYS.claim("a", seen=lost, term=held.term, wanted=1, where="", told=b"")

    assert done
    assert again.fence > held.fence
