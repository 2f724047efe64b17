"""Who runs detached jobs, and who tells when they have ended: workers by endpoint, and webhooks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from activator.control.hooks import Hooks
from activator.control.worker import Worker, Workers
from activator.core.webhooks import checked_url
from activator.proxy.outcomes import described
from activator.proxy.recorded import outbound_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.aiokit.pace import Pace
    from activator.app.stores import Stores
    from activator.core.webhooks import WebhookPolicy
    from activator.proxy.listener import Proxy
    from activator.upstream.registry import LiveEndpoint, Registry


def employ(
    proxy: Proxy,
    stores: Stores,
    registry: Registry,
    *,
    policy: Callable[[], WebhookPolicy],
    clock: Callable[[], float],
    dice: Callable[[], float],
    pace: Pace,
) -> tuple[Workers, Hooks]:
    """From now on the proxy takes jobs, and each endpoint that comes has a worker. `policy`: of
    the configuration as it is now; `dice`: from 0 to 1."""
    jobs = proxy.jobs = stores.jobs
    roster = stores.roster
    proxy.webhook = lambda url: checked_url(url, policy())
    hooks = Hooks(
        jobs,
        policy=policy,
        describe=lambda job: described(job, place=None, eta=None),
        wall=time.time,
        dice=dice,
    )

    def make(live: LiveEndpoint) -> Worker:
        return Worker(
            live,
            jobs,
            outbound=lambda envelope, replica, parent: outbound_of(
                envelope, replica, via=proxy.via, parent=parent
            ),
            is_gone=lambda act: roster.is_gone(act) or roster.silent_since(act) is not None,
            call_hooks=hooks.call_due,
            clock=clock,
            wall=time.time,
            tracer=proxy.tracer,
            pace=pace,
        )

    workers = Workers(make, clock=clock)
    hooks.settled = workers.heard
    registry.added = workers.add
    registry.removed = workers.remove
    hooks.start()
    workers.start()
    return workers, hooks
