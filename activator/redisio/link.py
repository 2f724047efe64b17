"""The way to the store: every operation bounded in time, connections bounded in number.

Decides how long is waited and what a failure means to the caller; whether the store is there is
`watch`'s, where it is a topology's. What is stored belongs to the rooms that use this.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.exceptions import AskError, NoScriptError, RedisError, TryAgainError

from activator.aiokit.deadlines import Deadlines
from activator.aiokit.tasks import Tasks
from activator.config.store_url import Kind, StoreUrl, parse_store_url
from activator.errors import StartError, StoreUnavailable
from activator.redisio.cluster import Cluster
from activator.redisio.commands import key_of, pack, pack_call
from activator.redisio.direct import Direct, Fixed, Sentinels
from activator.redisio.failures import Unfit, Unreachable, is_of_the_server, refused
from activator.redisio.hub import Hub, Subscription
from activator.redisio.keys import Keys
from activator.redisio.scripts import Call
from activator.redisio.urls import Dialer
from activator.redisio.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.redisio.commands import Key, Opening, Packed, Word
    from activator.redisio.scripts import Script
    from activator.redisio.server_info import ServerInfo
    from activator.redisio.wire import Replies, Wire


_UNDONE: Final = (NoScriptError, AskError, TryAgainError)
"""Replies of a Redis that has done nothing, and would like to be asked in another way. MOVED is an
ASK to redis-py."""


class Topology(Protocol):
    """Which servers there are, and which of them has what. Times are the loop's."""

    async def exchange(
        self, keys: Sequence[Key | None], commands: Sequence[Packed], *, until: float
    ) -> list[Any]:
        """A reply for each command (with its key, or None for any server), errors among them.
        Raises StoreUnavailable."""

    def begin(
        self, key: Key, command: Packed, told: Callable[[Replies], None], *, until: float
    ) -> bool:
        """At once, and `told` as of `Wire.begin`; False: that needs a connection first. Where the
        key's node is another one by now, the reply says so."""

    async def look(self, *, until: float) -> Sequence[ServerInfo]:
        """Every server that matters. Raises StoreUnavailable if one is missing or unfit."""

    async def dial(self, *, until: float) -> Wire:
        """A connection on which everything published is heard. Raises StoreUnavailable."""

    def close_connections(self) -> None: ...

    def close(self) -> None: ...


class Link:
    """One store. Made anywhere, used after `open`, in one event loop."""

    def __init__(
        self,
        url: str | StoreUrl,
        *,
        prefix: str,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout`: seconds for one operation in all. Raises ValueError for a URL that is none."""
        self._url = parse_store_url(url) if isinstance(url, str) else url
        if self._url.kind is Kind.MEMORY:
            raise ValueError("memory:// is nothing to connect to")
        self._timeout = timeout
        self._clock = clock
        self._tasks = Tasks("redis")
        self._failed: Callable[[], None] = _nothing
        self.keys = Keys(prefix)
        self._watch = Watch(
            lambda until: self._topology.look(until=until),
            forget=self._forget,
            timeout=timeout,
            clock=clock,
        )
        self._hub = Hub(
            lambda until: self._topology.dial(until=until),
            until_up=self._watch.until_up,
            suspect=self._watch.suspect,
            timeout=timeout,
        )

    def _forget(self) -> None:
        self._topology.close_connections()

    # --- its course -----------------------------------------------------------------------------

    async def open(self) -> None:
        """Look for the store; if it is away, go on looking in the background.

        Raises StartError if it is there and must not be used.
        """
        self._loop = asyncio.get_running_loop()
        self._deadlines = Deadlines(self._loop)
        self._topology = self._make_topology(Dialer(self._url, self._deadlines))
        failure = await self._watch.look()
        if isinstance(failure, Unfit):
            await self.aclose()
            raise StartError(f"store.url: {failure.detail}")
        self._tasks.spawn_lasting(self._watch.run, name="watch")
        self._tasks.spawn_lasting(self._hub.run, name="hub")

    def _make_topology(self, dialer: Dialer) -> Topology:
        url = self._url
        match url.kind:
            case Kind.CLUSTER:
                return Cluster(dialer, url.addresses, moved=self._watch.suspect)
            case Kind.SENTINEL:
                return Direct(dialer, Sentinels(dialer, url.addresses, service=url.service))
        return Direct(dialer, Fixed(url.addresses[0]))

    def hasten(self, timeout: float) -> None:
        """Operations from now on may take no longer than this: whoever ends says goodbye, and is
        not held up by a store that is silent."""
        self._timeout = min(self._timeout, timeout)

    async def aclose(self) -> None:
        await self._tasks.aclose()
        if hasattr(self, "_topology"):
            self._topology.close()
        if hasattr(self, "_deadlines"):
            self._deadlines.close()

    @property
    def up(self) -> bool:
        return self._watch.up

    async def until_up(self) -> None:
        """For ever, if it does not come back."""
        await self._watch.until_up()

    @property
    def cause(self) -> str:
        """Why it is down, or was when it was last."""
        return self._watch.cause

    @property
    def fullness(self) -> float:
        """How much of its maxmemory Redis uses, 0..1, a few seconds ago; 0: it has no bound."""
        return self._watch.fullness

    def on_failure(self, told: Callable[[], None]) -> None:
        """`told()` for every operation that fails."""
        self._failed = told

    def on_change(self, told: Callable[[bool], None]) -> None:
        """`told(up)` after it went down or came back, which may be as another server, or empty."""
        self._watch.on_change(told)

    # --- operations; each raises StoreUnavailable within `timeout` --------------------------------

    async def run(self, script: Script, keys: Sequence[str] = (), args: Sequence[Word] = ()) -> Any:
        """What a script returns; all its keys carry one tag."""
        key = keys[0] if keys else None
        until = self._until()
        command = pack("EVALSHA", script.sha, len(keys), *keys, *args)
        (reply,) = await self._exchange((key,), (command,), until)
        if isinstance(reply, NoScriptError):
            command = pack("EVAL", script.text, len(keys), *keys, *args)
            (reply,) = await self._exchange((key,), (command,), until)
        return self._value(reply)

    async def run_on(self, opening: Opening, args: Sequence[Word]) -> Any:
        """As `run`, with what is encoded already."""
        until = self._until()
        (reply,) = await self._exchange((opening.keys[0],), (opening.pack_any(args),), until)
        if isinstance(reply, NoScriptError):
            return await self.run(opening.script, opening.keys, (*opening.args, *args))
        return self._value(reply)

    def call(
        self, opening: Opening, args: Sequence[str], told: Callable[[Any | StoreUnavailable], None]
    ) -> None:
        """As `run`, without a task where a connection is idle: `told` later, what the script
        returns or why that is not known."""
        until = self._loop.time() + self._timeout
        key = opening.keys[0]

        def answered(replies: Replies) -> None:
            if isinstance(replies, StoreUnavailable):
                self._failed()
                self._watch.suspect()
                told(replies)
                return
            (reply,) = replies
            if not isinstance(reply, RedisError):
                told(reply)
            elif isinstance(reply, _UNDONE):
                self._tasks.spawn(self._call(opening, args, told), name="call again")
            else:
                told(self._refused(reply))

        command = opening.pack(args)
        if not (self._watch.up and self._topology.begin(key, command, answered, until=until)):
            self._tasks.spawn(self._call(opening, args, told), name="call")

    async def _call(
        self, opening: Opening, args: Sequence[str], told: Callable[[Any | StoreUnavailable], None]
    ) -> None:
        said: Any
        try:
            said = await self.run(opening.script, opening.keys, (*opening.args, *args))
        except StoreUnavailable as failure:
            said = failure
        except Exception as bug:  # whoever asked waits for an answer
            told(StoreUnavailable(f"The store could not be asked ({type(bug).__name__})"))
            raise
        told(said)

    async def command(self, *words: Word) -> Any:
        (reply,) = await self._exchange((key_of(words),), (pack(*words),), self._until())
        return self._value(reply)

    async def pipeline(self, commands: Sequence[Sequence[Word] | Call]) -> list[Any]:
        """A value for each, sent together; no transaction: others may come in between, and the
        first error is raised after all have been tried. A script that Redis does not know yet
        runs after the other commands."""
        return [self._value(reply) for reply in await self._replies(commands)]

    async def each(self, commands: Sequence[Sequence[Word] | Call]) -> list[Any | StoreUnavailable]:
        """As `pipeline`, with its error in the place of each that has failed. Raises if none of
        them is known to have been done."""
        replies = await self._replies(commands)
        return [
            self._refused(reply) if isinstance(reply, RedisError) else reply for reply in replies
        ]

    async def _replies(self, commands: Sequence[Sequence[Word] | Call]) -> list[Any]:
        until = self._until()
        keys = [_key(command) for command in commands]
        packed = [_packed(command) for command in commands]
        replies = await self._exchange(keys, packed, until)
        while unknown := {
            index: call
            for index, call in enumerate(commands)
            if isinstance(replies[index], NoScriptError) and isinstance(call, Call)
        }:
            told: set[str] = set()
            for index, call in unknown.items():
                packed[index] = pack_call(call, whole=call.script.sha not in told)
                told.add(call.script.sha)
            again = await self._exchange(
                [keys[index] for index in unknown], [packed[index] for index in unknown], until
            )
            for index, reply in zip(unknown, again, strict=True):
                replies[index] = reply
        return replies

    def _until(self) -> float:
        if not self._watch.up:
            self._failed()
            raise Unreachable(self._watch.cause)
        return self._loop.time() + self._timeout

    async def _exchange(
        self, keys: Sequence[Key | None], commands: Sequence[Packed], until: float
    ) -> list[Any]:
        try:
            return await self._topology.exchange(keys, commands, until=until)
        except StoreUnavailable:
            self._failed()
            self._watch.suspect()
            raise

    def _value(self, reply: Any) -> Any:
        if isinstance(reply, RedisError):
            raise self._refused(reply) from reply
        return reply

    def _refused(self, error: RedisError) -> StoreUnavailable:
        failure = refused(error)
        self._failed()
        if is_of_the_server(failure):
            self._watch.suspect()
        return failure

    # --- what others call out -------------------------------------------------------------------

    def subscribe(
        self,
        channel: str,
        heard: Callable[[bytes], None],
        *,
        confirmed: Callable[[], None] = lambda: None,
    ) -> Subscription:
        """`heard` for each message, once Redis has confirmed the channel; never for one missed.
        `confirmed` whenever it has, after every reconnection too: what was said before may have
        been missed."""
        return self._hub.subscribe(channel, heard, confirmed=confirmed)

    def on_resubscribed(self, told: Callable[[], None]) -> None:
        """`told` whenever all channels are heard (again) after a connection was made: what was
        said before may have been missed."""
        self._hub.on_resubscribed(told)


def _nothing() -> None:
    pass


def _key(command: Sequence[Word] | Call) -> Key | None:
    if isinstance(command, Call):
        return command.keys[0] if command.keys else None
    return key_of(command)


def _packed(command: Sequence[Word] | Call) -> Packed:
    return pack_call(command) if isinstance(command, Call) else pack(*command)
