"""What is looked up of thousands of endpoints at the same moment: at the start, and whenever Redis
comes back."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from activator.errors import StoreUnavailable
from activator.queueing.jobs import Lost, Work
from activator.queueing.redis_job_ears import TOGETHER, Ears
from tests.faults import failed_at
from tests.integration.redisio.support import behind_a_proxy
from tests.support import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    import pytest

    from activator.queueing.jobs import Told
    from activator.redisio.hub import Subscription
    from activator.redisio.link import Link
    from tests.faulty_proxy import FaultyProxy


class Hearing:
    """Ears, what they have told, and how they asked."""

    def __init__(self, link: Link, proxy: FaultyProxy) -> None:
        self.proxy = proxy
        self.link = link
        self.told: Counter[str] = Counter()
        """Endpoint → how often there may be work."""
        self.lost: dict[str, list[str]] = {}
        self.asked: list[int] = []
        """Commands of each exchange."""
        self.at_once = 0
        self.fails: dict[str, list[Exception]] = {}
        """What comparing an endpoint's claims meets, the first first."""
        self.confirmed: Counter[str] = Counter()
        """Endpoint → how often its channel was."""
        self.counted: Callable[[], Awaitable[None]] | None = None
        """Called once when the next lines have been counted, before the ears know."""
        self._subscribe = link.subscribe
        link.subscribe = self._subscribed  # type: ignore[method-assign]
        self.ears = Ears(link, me="me", base=self.base, lost=self._compare)
        self._each = link.each
        link.each = self._counted  # type: ignore[method-assign]
        self._asking = 0

    def base(self, endpoint: str) -> str:
        return self.link.keys.of(endpoint, "jobs")

    def watch(self, *endpoints: str) -> None:
        for endpoint in endpoints:
            self.ears.watch(endpoint, lambda told, endpoint=endpoint: self._hear(endpoint, told))  # type: ignore[misc]

    def _hear(self, endpoint: str, told: Told) -> None:
        if isinstance(told, Work):
            self.told[endpoint] += 1
        elif isinstance(told, Lost):
            self.lost.setdefault(endpoint, []).append(told.job_id)

    async def _compare(self, endpoint: str) -> list[str]:
        if fails := self.fails.get(endpoint):
            raise fails.pop(0)
        return ["gone"] if endpoint == "m7" else []

    async def _counted(self, commands: Sequence[Any]) -> list[Any]:
        self._asking += 1
        self.at_once = max(self.at_once, self._asking)
        try:
            replies = await self._each(commands)
        finally:
            self._asking -= 1
        self.asked.append(len(commands))
        if self.counted is not None:
            then, self.counted = self.counted, None
            await then()
        return replies

    def _subscribed(
        self,
        channel: str,
        heard: Callable[[bytes], None],
        *,
        confirmed: Callable[[], None] = lambda: None,
    ) -> Subscription:
        def is_confirmed() -> None:
            self.confirmed[channel] += 1
            confirmed()

        return self._subscribe(channel, heard, confirmed=is_confirmed)


@asynccontextmanager
async def hearing() -> AsyncIterator[Hearing]:
    async with behind_a_proxy() as (link, proxy):
        made = Hearing(link, proxy)
        try:
            yield made
        finally:
            await made.ears.aclose()


async def test_thousands_are_looked_up_some_together_whenever_the_channels_are_confirmed() -> None:
    names = [f"m{number}" for number in range(1500)]
    async with hearing() as the:
        await the.link.command("ZADD", f"{the.base('m3')}:line", 1, "job")
        await the.link.command("ZADD", f"{the.base('m3')}:later", 1, "another")
        the.watch(*names)
        await eventually(lambda: len(the.told) == len(names))

        assert set(the.told.values()) == {1}
        assert the.ears.queued["m3"] == 2
        assert sum(the.ears.queued.values()) == 2
        assert the.lost == {"m7": ["gone"]}
        assert sum(the.asked) == 2 * len(names)
        assert max(the.asked) == 2 * TOGETHER
        assert the.at_once == 1

        the.proxy.cut()
        await eventually(lambda: set(the.told.values()) == {2})
        assert the.lost == {"m7": ["gone", "gone"]}
        assert the.at_once == 1


async def test_one_whose_claims_cannot_be_compared_keeps_the_others_from_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hearing() as the:
        the.fails = {
            "m1": [RuntimeError("a bug"), RuntimeError("again")],
            "m2": [StoreUnavailable("away")],
        }
        the.watch("m1", "m2", "m3", "m4")
        await eventually(lambda: the.told["m4"])

        assert set(the.told) == {"m3", "m4"}
        await eventually(lambda: the.told["m1"] and the.told["m2"])
        first, second = failed_at(caplog, "jobs/look up m1")
        assert second - first > 0.09
        assert set(the.told.values()) == {1}


async def test_one_that_is_watched_no_more_is_not_told_of() -> None:
    async with hearing() as the:
        the.fails = {"m1": [StoreUnavailable("away")]}
        the.watch("m0")
        listening = the.ears.watch("m1", lambda _: the.told.update(["m1"]))
        await eventually(lambda: the.told["m0"])
        listening.close()
        asked = len(the.asked)
        the.watch("m2")
        await eventually(lambda: the.told["m2"])

        assert len(the.asked) == asked + 1
        assert set(the.told) == {"m0", "m2"}
        assert set(the.ears.queued) == {"m0", "m2"}


async def test_what_nobody_could_hear_while_the_lines_were_counted_is_found() -> None:
    async with hearing() as the:

        async def comes_unheard() -> None:
            # the channel was cut when it came, and is there again before the count is
            await the.link.command("ZADD", f"{the.base('m1')}:line", 1, "job")
            channel = f"{the.base('m1')}:told"
            before = the.confirmed[channel]
            the.proxy.cut()
            await eventually(lambda: the.confirmed[channel] > before)

        the.counted = comes_unheard
        the.watch("m1")
        await eventually(lambda: the.ears.queued.get("m1") == 1)


async def test_a_bug_in_counting_leaves_nobody_out() -> None:
    async with hearing() as the:

        async def fails() -> None:
            raise LookupError

        the.counted = fails
        the.watch("m1", "m2")
        await eventually(lambda: set(the.told) == {"m1", "m2"})
