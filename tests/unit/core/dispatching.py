"""Lines and replicas for the tests of the dispatcher."""

from __future__ import annotations

from collections import deque
from random import Random
from typing import TYPE_CHECKING

from activator.core.dispatch import Dispatcher, Ticket
from activator.core.endpoint import Balance, Replica

if TYPE_CHECKING:
    from collections.abc import Sequence


A, B, C = (Replica(name, "127.0.0.1", port) for port, name in enumerate("abc", start=8000))
READY, STARTED = False, True


def line_of(
    *offer: tuple[Replica, bool],
    concurrency: int = 1,
    age: float = 30.0,
    balance: Balance = Balance.LEAST_LOADED,
) -> Dispatcher:
    dispatcher = Dispatcher(
        concurrency=concurrency, age=age, balance=balance, dice=Random(1).randrange
    )
    dispatcher.offer(offer, now=0.0)
    return dispatcher


def submitted(dispatcher: Dispatcher, *tickets: Ticket, now: float = 0.0) -> Sequence[Ticket]:
    for ticket in tickets:
        dispatcher.submit(ticket, now=now)
    return tickets


def drained(dispatcher: Dispatcher, granted: Sequence[Ticket], *, now: float) -> list[Ticket]:
    """Release in the order of the grants until nothing is granted any more; the whole order."""
    order: list[Ticket] = []
    running = deque(granted)
    while running:
        order.append(running.popleft())
        running.extend(dispatcher.release(order[-1], now=now))
    return order
