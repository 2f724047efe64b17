"""The gate's counts: who waits, who is in flight, what is demand, when it was last busy."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest

from activator.core.dispatch import Ticket
from activator.core.endpoint import QueuePolicy, ScalePolicy
from activator.core.held import HeldRequest
from activator.errors import Cancelled, Paused, QueueFull, ShuttingDown
from tests.unit.upstream.support import ONE, Clock, Later, a_gate, an_endpoint

if TYPE_CHECKING:
    from activator.core.endpoint import Replica
    from activator.errors import ActivatorError
    from activator.upstream.gate import Gate


class Request:
    """A holder that leaves when it is refused, as the protocol asks."""

    def __init__(self, gate: Gate, held_bytes: int = 0) -> None:
        self.gate = gate
        self.held_bytes = held_bytes
        self.request_id = b""
        self.told: list[ActivatorError] = []

    @property
    def described(self) -> HeldRequest:
        return HeldRequest(self.request_id.decode(), 1, 0.0, "", "GET", "/", 3, self.held_bytes)

    def refused(self, error: ActivatorError) -> None:
        self.told.append(error)
        self.gate.unhold(self)
        self.gate.leave(served=False)


class Silent:
    """An open tunnel."""

    def __init__(self, last_byte: float) -> None:
        self.last_byte = last_byte
        self.closed = False

    def close(self) -> None:
        self.closed = True


def gate(clock: Clock | None = None, later: Later | None = None, **changed: Any) -> Gate:
    return a_gate(an_endpoint(**changed), clock=clock or Clock(), later=later)


def nobody(_ticket: Ticket, _replica: Replica | None) -> None:
    raise AssertionError("nobody is granted anything here")


def hold(at: Gate, size: int = 0) -> Request:
    request = Request(at)
    at.arrive()
    at.hold(request)
    at.hold_bytes(size)
    request.held_bytes = size
    return request


def test_held_and_in_flight_together_are_the_demand() -> None:
    g = gate()
    g.arrive()
    waiting = hold(g, 10)
    assert (g.demand, g.held, g.in_flight, g.held_bytes) == (2, 1, 1, 10)

    g.unhold(waiting)
    assert (g.demand, g.held, g.in_flight, g.held_bytes) == (2, 0, 2, 0)

    g.leave(served=True)
    g.leave(served=True)
    assert (g.demand, g.in_flight) == (0, 0)


def test_leaving_the_line_twice_changes_nothing() -> None:
    g = gate()
    waiting = hold(g, 10)
    g.unhold(waiting)
    g.unhold(waiting)

    assert (g.held, g.held_bytes) == (0, 0)


def test_only_what_was_at_a_replica_counts_against_idleness() -> None:
    clock = Clock()
    g = gate(clock)
    g.arrive()
    g.leave(served=False)
    assert g.last_ended == -inf

    g.arrive()
    clock.advance(5.0)
    g.leave(served=True)

    assert g.last_ended == clock.now


def test_what_goes_elsewhere_is_asked_for_once_and_keeps_nothing_up() -> None:
    woken: list[str] = []
    clock = Clock()
    door = gate(clock)
    door.wake = lambda: woken.append("woken")
    assert not door.take_sought()
    door.arrive()
    door.leave_for_elsewhere()

    assert woken == ["woken"]
    assert (door.demand, door.in_flight, door.is_at_rest) == (0, 0, True)
    assert door.last_ended == -inf
    assert [door.take_sought(), door.take_sought()] == [True, False]


def test_whoever_waits_wakes_control() -> None:
    g = gate()
    woken: list[int] = []
    g.wake = lambda: woken.append(g.held)
    waiting = hold(g)
    g.unhold(waiting)
    g.hold_again(waiting)

    assert woken == [1, 1]


def test_the_line_is_bounded_and_a_refusal_leaves_no_trace() -> None:
    g = gate(queue=QueuePolicy(max_requests=2, max_bytes=100))
    hold(g, 60)
    hold(g, 40)
    one_more = Request(g)

    with pytest.raises(QueueFull, match=r"queue\.maxRequests"):
        g.hold(one_more)
    with pytest.raises(QueueFull, match=r"queue\.maxBytes"):
        g.hold_bytes(1)

    g.unhold(one_more)
    assert (g.held, g.held_bytes) == (2, 100)


def test_zero_means_no_bound() -> None:
    g = gate(queue=QueuePolicy(max_requests=0, max_bytes=0))
    for _ in range(5000):
        hold(g, 1 << 30)

    assert g.held == 5000


def test_whoever_comes_back_is_not_refused() -> None:
    g = gate(queue=QueuePolicy(max_requests=1, max_bytes=10))
    again = hold(g, 10)
    g.unhold(again)
    hold(g, 10)

    g.hold_again(again)

    assert (g.held, g.held_bytes) == (2, 20)


def test_a_paused_endpoint_says_so_at_its_bound() -> None:
    g = gate(queue=QueuePolicy(max_requests=1))
    hold(g)
    g.pause()

    with pytest.raises(Paused):
        g.hold(Request(g))


def test_pausing_grants_nothing_until_it_is_resumed() -> None:
    later = Later()
    g = gate(later=later)
    g.offer([(ONE, False)])
    g.pause()
    assert g.full
    granted: list[Replica] = []
    assert g.acquire(Ticket(), lambda _, replica: granted.append(replica)) is None

    g.resume()
    later.run()

    assert granted == [ONE]
    assert not g.full


def test_quiet_means_that_nothing_is_granted_any_more() -> None:
    g = gate()
    g.offer([(ONE, False)])
    g.arrive()
    assert not g.quiesce()

    g.leave(served=True)

    assert g.quiesce()
    assert g.acquire(Ticket(), nobody) is None


def test_reviving_does_not_end_a_pause_nor_resuming_the_quiet() -> None:
    g = gate()
    g.offer([(ONE, False)])
    assert g.quiesce()
    g.pause()
    g.revive()
    assert g.full

    assert g.quiesce()
    g.resume()
    assert g.full

    g.revive()
    assert not g.full


def test_the_first_request_after_there_was_none_is_told_and_no_other() -> None:
    g, told = gate(), []
    g.stirred = lambda: told.append(g.demand)

    g.arrive()
    g.arrive()
    assert not g.is_at_rest
    g.leave(served=True)
    g.leave(served=True)
    assert g.is_at_rest
    g.arrive()

    assert told == [1, 1]


def test_one_that_has_to_wait_is_told_though_another_is_here() -> None:
    g, told = gate(), []
    g.arrive()
    g.stirred = lambda: told.append(g.held)

    waiting = hold(g)
    g.unhold(waiting)
    g.hold_again(waiting)

    assert told == [1, 1]


def test_bounds_count_what_waits_at_other_activators() -> None:
    g = gate(queue=QueuePolicy(max_requests=10, max_bytes=100))
    g.held_elsewhere = lambda: (8, 70)
    hold(g, 20)
    with pytest.raises(QueueFull, match="90 bytes wait already"):
        g.hold_bytes(11)
    hold(g)
    with pytest.raises(QueueFull, match="10 requests wait already"):
        hold(g)

    g.held_elsewhere = lambda: (0, 0)
    hold(g, 80)


def test_acquiring_now_takes_a_slot_or_leaves_no_trace() -> None:
    g = gate(concurrency=1)
    g.offer([(ONE, False)])
    first, second = Ticket(), Ticket()

    assert g.acquire_now(first, nobody) == ONE
    assert g.acquire_now(second, nobody) is None

    assert g.load("m-1") == 1
    g.release(first)
    assert g.load("m-1") == 0


def test_a_place_in_line_is_known() -> None:
    g = gate()
    first, second = Ticket(), Ticket()
    g.acquire(first, nobody)
    g.acquire(second, nobody)

    assert (g.place(first), g.place(second)) == (1, 2)
    g.withdraw(first)
    assert (g.place(first), g.place(second)) == (None, 1)


def test_everyone_who_waits_is_told_and_has_left() -> None:
    g = gate()
    waiting = [hold(g, 5) for _ in range(3)]

    g.refuse_held(ShuttingDown())

    assert [[type(error) for error in request.told] for request in waiting] == [[ShuttingDown]] * 3
    assert (g.held, g.held_bytes, g.demand) == (0, 0, 0)


def test_a_tunnel_is_demand_for_as_long_as_it_is_open() -> None:
    clock = Clock()
    g = gate(clock)
    tunnel = Silent(clock.now)
    g.arrive()
    g.open_tunnel(tunnel)
    clock.advance(1e6)

    assert (g.demand, g.has_tunnels) == (1, True)
    g.close_tunnels()
    assert tunnel.closed


def test_a_tunnel_that_has_been_silent_for_long_enough_is_no_demand() -> None:
    clock = Clock()
    g = gate(clock, scale=ScalePolicy(upgrade_idle=60.0))
    tunnel = Silent(clock.now)
    g.arrive()
    g.open_tunnel(tunnel)

    clock.advance(59.9)
    assert g.demand == 1
    clock.advance(0.2)
    assert g.demand == 0
    assert g.last_ended == pytest.approx(tunnel.last_byte + 60.0)
    tunnel.last_byte = clock.now
    assert g.demand == 1
    g.close_tunnel(tunnel)
    assert not g.has_tunnels


def test_a_changed_configuration_holds_for_whoever_comes() -> None:
    g = gate(queue=QueuePolicy(max_requests=1), concurrency=1)
    g.offer([(ONE, False)])
    hold(g)

    g.configure(an_endpoint(queue=QueuePolicy(max_requests=2), concurrency=2))

    hold(g)
    assert g.acquire(Ticket(), nobody) == g.acquire(Ticket(), nobody) == ONE


def test_a_closed_gate_grants_nothing() -> None:
    g = gate()
    g.offer([(ONE, False)])
    g.close()

    assert g.acquire(Ticket(), nobody) is None


def test_a_detached_job_that_waits_is_demand_and_takes_no_clients_place() -> None:
    g = gate(queue=QueuePolicy(max_requests=1))
    job = Request(g)
    g.arrive()
    g.queue(job)
    assert (g.demand, g.held, g.in_flight) == (1, 0, 0)

    hold(g)
    assert isinstance(g.crowd(), QueueFull)

    g.refuse_held(ShuttingDown())
    assert len(job.told) == 1
    assert g.demand == 0


def test_who_has_waited_longest_is_known_until_it_has_left() -> None:
    clock = Clock()
    at = gate(clock)
    assert at.held_since is None
    clock.now = 10.0
    first = hold(at)
    clock.now = 20.0
    hold(at)
    assert at.held_since == 10.0

    at.unhold(first)

    assert at.held_since == 20.0


def test_it_knows_which_request_has_waited_longest() -> None:
    g = gate()
    assert g.first_in_line == ""
    queued = Request(g)
    queued.request_id = b"job"
    g.arrive()
    g.queue(queued)
    assert g.first_in_line == "job"
    first, second = hold(g), hold(g)
    first.request_id, second.request_id = b"first", b"second"
    assert g.first_in_line == "first"
    g.unhold(first)
    assert g.first_in_line == "second"


def test_those_who_wait_are_listed_by_the_page_and_cancelled_by_their_id() -> None:
    g = gate()
    requests = [hold(g) for _ in range(4)]
    for request, name in zip(requests, (b"a", b"b", b"c", b"a"), strict=True):
        request.request_id = name
    assert [each.id for each in g.listed(1, 2)] == ["b", "c"]
    assert g.listed(4, 2) == []

    assert g.cancel("none", Cancelled()) == 0
    assert g.cancel("a", Cancelled()) == 2
    assert [each.id for each in g.listed(0, 9)] == ["b", "c"]
    assert [len(each.told) for each in requests] == [1, 0, 0, 1]
    assert g.demand == 2


def test_shut_it_gives_no_slots_and_whoever_waits_may_go_on_waiting() -> None:
    later = Later()
    g = gate(later=later)
    g.offer([(ONE, False)])
    g.shut(no_slots=True, no_line=None)
    waiting = hold(g)
    assert g.acquire(Ticket(), nobody) is None

    g.turn_away()
    g.resume()
    g.revive()
    later.run()

    assert waiting.told == []
    assert g.held == 1


def test_without_a_line_clients_are_told_and_detached_jobs_stay() -> None:
    g = gate()
    waiting, job = hold(g), Request(g)
    g.arrive()
    g.queue(job)
    woken: list[int] = []
    g.wake = lambda: woken.append(1)

    why = ShuttingDown()
    g.shut(no_slots=False, no_line=why)
    g.turn_away()

    assert woken
    assert waiting.told == [why]
    assert job.told == []
    assert g.acquire_now(Ticket(), nobody) is None  # there is no replica
    g.offer([(ONE, False)])
    assert g.acquire_now(Ticket(), nobody) == ONE


def test_open_again_it_grants_unless_paused() -> None:
    later = Later()
    g = gate(later=later)
    granted: list[Replica] = []
    g.shut(no_slots=True, no_line=None)
    g.offer([(ONE, False)])
    g.acquire(Ticket(), lambda _, replica: granted.append(replica))
    g.pause()

    g.shut(no_slots=False, no_line=None)
    later.run()
    assert granted == []
    g.resume()
    later.run()
    assert granted == [ONE]
