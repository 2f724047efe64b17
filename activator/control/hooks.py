"""Calls the webhooks of jobs that have ended, and again later while nobody takes the call.

Which hook is due is the store's to say, so that one activator of several calls; whom it may call
and how often is decided in `core.webhooks`, when the store is asked in `upkeep`.
"""

from __future__ import annotations

import json
import logging
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from activator.aiokit.tasks import Tasks
from activator.core.webhooks import (
    MOST_TRIES,
    RETRY,
    checked_url,
    may_call_all,
    signature,
)
from activator.errors import StoreUnavailable, fault_of_ours

if TYPE_CHECKING:
    from collections.abc import Callable

    from activator.core.jobs import Job
    from activator.core.webhooks import WebhookPolicy
    from activator.queueing.jobs import Hook, JobStore

_log = logging.getLogger("activator.jobs")

AT_ONCE: Final = 8
"""Calls of one endpoint's jobs: a receiver is not flooded."""
TIMEOUT: Final = 15.0
"""Seconds that a receiver may take (Standard Webhooks: 15 to 30)."""
LEASE: Final = 60.0
"""Seconds after which another activator may call: longer than a call can take."""


class Hooks:
    """See the module. `policy` is asked at each call, since a file may change."""

    def __init__(
        self,
        store: JobStore,
        *,
        policy: Callable[[], WebhookPolicy],
        describe: Callable[[Job], dict[str, Any]],
        wall: Callable[[], float],
        dice: Callable[[], float],
    ) -> None:
        self._store = store
        self._policy = policy
        self._describe = describe
        self._wall = wall
        self._dice = dice
        self._tasks = Tasks("hooks")
        self._session: aiohttp.ClientSession | None = None
        self.settled: Callable[[str], None] = _untold
        """Told when a call of this endpoint's has come to its end: another may be due sooner."""

    def start(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=PublicResolver(self._policy), force_close=True, use_dns_cache=False
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            trust_env=False,
        )

    def call_due(self, endpoint: str) -> None:
        if self._policy().allow:
            self._tasks.spawn(self._look(endpoint), name=f"look {endpoint}")

    async def _look(self, endpoint: str) -> None:
        try:
            due = await self._store.hooks_due(endpoint, AT_ONCE, lease=LEASE)
        except StoreUnavailable:
            return
        for hook in due:
            self._tasks.spawn(self._tell(hook), name=f"tell {hook.record.job.id}")

    async def _tell(self, hook: Hook) -> None:
        job = hook.record.job
        try:
            why = await self._call(hook) if job.detached else None  # else its client had the answer
        except Exception as bug:
            self._tasks.tell_failure(f"call {job.id}", bug)
            why = fault_of_ours(bug)
        try:
            if why is None:
                await self._store.hook_done(job.id)
            elif hook.tries >= MOST_TRIES:
                _log.warning("webhook given up", extra=_about(job, "webhook_given_up", why))
                await self._store.hook_done(job.id)
            else:
                _log.info("webhook failed", extra=_about(job, "webhook_failed", why))
                delay = RETRY.delay(hook.tries, dice=self._dice())
                await self._store.hook_later(job.id, delay=delay)
        except StoreUnavailable:
            return  # it is due again when its lease is over
        self.settled(job.endpoint)

    async def _call(self, hook: Hook) -> str | None:
        """None: the receiver has taken it, or wants no such calls. Otherwise why not."""
        job, policy, now = hook.record.job, self._policy(), self._wall()
        body = json.dumps(
            {
                "type": f"job.{job.state}",
                "timestamp": datetime.fromtimestamp(job.ended or now, UTC).isoformat(),
                "data": self._describe(job),
            }
        ).encode()
        message_id = f"{job.id}-{job.attempt}"
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "activator",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": signature(
                policy.secret, message_id=message_id, timestamp=int(now), body=body
            ),
        }
        assert self._session is not None
        try:
            url = checked_url(hook.record.envelope.webhook, policy)
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                taken = 200 <= answer.status < 300 or answer.status == 410
                return None if taken else f"it answered {answer.status}"
        except TimeoutError:
            return f"no answer within {TIMEOUT:g} s"
        except (OSError, ValueError, aiohttp.ClientError) as error:
            return str(error) or type(error).__name__

    async def aclose(self) -> None:
        await self._tasks.aclose()
        if self._session is not None:
            await self._session.close()


class PublicResolver(AbstractResolver):
    """The addresses that are checked are the ones that are connected to: a name that changes its
    mind in between gains nothing."""

    def __init__(self, policy: Callable[[], WebhookPolicy]) -> None:
        self._policy = policy
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not may_call_all([one["host"] for one in found], self._policy()):
            raise OSError(f"{host} has a private address (webhooks.privateAddresses)")
        return found

    async def close(self) -> None:
        await self._resolver.close()


def _untold(endpoint: str) -> None:
    """Nobody looks after hooks yet."""


def _about(job: Job, action: str, why: str) -> dict[str, str]:
    return {"action": action, "endpoint": job.endpoint, "job": job.id, "reason": why}
