"""What is booked of endpoints and API keys: their use, what it cost, and how their starts went.

Decides what of it begins and ends with the app, and in which order. What is booked, and who books
it of several activators, each of them says itself.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from activator.control.bookkeeper import Bookkeeper
from activator.control.experience import Experience
from activator.control.key_accounts import KeyAccounts
from activator.control.key_costs import KeyCosts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from activator.app.stores import Stores
    from activator.control.supervisor import Supervisor
    from activator.upstream.registry import Registry


class Accounts:
    """See the module. Made once the store is open."""

    def __init__(
        self,
        stores: Stores,
        *,
        registry: Registry,
        supervisor: Supervisor,
        clock: Callable[[], float],
    ) -> None:
        def leading() -> bool:
            return stores.lease.leading

        self.book = Bookkeeper(
            stores.costs, controls=lambda: supervisor.that_cost, leading=leading, wall=time.time
        )
        self.keys = KeyAccounts(
            stores.costs,
            me=stores.roster.me,
            lives=lambda: registry,
            clock=clock,
            wall=time.time,
        )
        self.key_costs = KeyCosts(
            self.book, controls=lambda: supervisor.by_name, leading=leading, wall=time.time
        )
        self.experience = Experience(
            stores.starts, controls=lambda: supervisor.by_name, leading=leading
        )

    def start(self, *, has_keys: bool) -> None:
        """`has_keys`: clients come with API keys, and these are charged."""
        self.book.start()
        self.keys.start()
        if has_keys:
            self.key_costs.start()
        self.experience.start()

    @property
    def ends(self) -> tuple[Callable[[], Awaitable[object]], ...]:
        """In their order, once nobody uses anything any more: what is not booked yet, is then."""
        return (
            self.key_costs.aclose,
            self.book.aclose,
            self.keys.aclose,
            self.experience.aclose,
        )
