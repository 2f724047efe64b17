"""A store on one Redis server: always the same, or whichever the Sentinels call the master."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from redis.exceptions import RedisError

from activator.errors import StoreUnavailable
from activator.redisio.commands import pack
from activator.redisio.failures import Unfit, Unreachable, refused
from activator.redisio.node import Node
from activator.redisio.server_info import check

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from activator.redisio.commands import Key, Packed
    from activator.redisio.server_info import ServerInfo
    from activator.redisio.urls import Address, Dialer
    from activator.redisio.wire import Replies, Wire


class Locator(Protocol):
    async def locate(self, *, until: float) -> Address:
        """Where the server is now. Raises StoreUnavailable."""

    def close(self) -> None: ...


class Direct:
    """`Topology` of a single server."""

    def __init__(self, dialer: Dialer, locator: Locator) -> None:
        self._dialer = dialer
        self._locator = locator
        self._node: Node | None = None

    async def exchange(
        self, keys: Sequence[Key | None], commands: Sequence[Packed], *, until: float
    ) -> list[Any]:
        if self._node is None:
            raise Unreachable("The store has not been reached yet")
        return await self._node.exchange(commands, until=until)

    def begin(
        self, key: Key, command: Packed, told: Callable[[Replies], None], *, until: float
    ) -> bool:
        return self._node is not None and self._node.begin(command, told, until=until)

    async def look(self, *, until: float) -> Sequence[ServerInfo]:
        address = await self._locate(until)
        if self._node is None or self._node.address != address:
            self.close_connections()
            self._node = Node(address, self._dialer)
        info = await self._node.info(until=until)
        check(info)
        if info.cluster:
            raise Unfit("The store is a node of a cluster: its address is redis+cluster://")
        return (info,)

    async def _locate(self, until: float) -> Address:
        """With nobody to ask, the server that we know is as good as any."""
        try:
            return await self._locator.locate(until=until)
        except StoreUnavailable:
            if self._node is None:
                raise
            return self._node.address

    async def dial(self, *, until: float) -> Wire:
        if self._node is None:
            raise Unreachable("The store has not been reached yet")
        return await self._dialer.dial(self._node.address, until=until)

    def close_connections(self) -> None:
        if self._node is not None:
            self._node.close()
            self._node = None

    def close(self) -> None:
        self.close_connections()
        self._locator.close()


class Fixed:
    """`Locator` of a server whose address is known."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def locate(self, *, until: float) -> Address:
        return self._address

    def close(self) -> None:
        pass


class Sentinels:
    """`Locator` that asks the Sentinels, the one that answered last first."""

    def __init__(self, dialer: Dialer, addresses: Sequence[Address], *, service: str) -> None:
        self._dialer = dialer
        self._addresses = list(addresses)
        self._question = pack("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        self._service = service
        self._wire: Wire | None = None

    async def locate(self, *, until: float) -> Address:
        failure: StoreUnavailable | None = None
        loop = asyncio.get_running_loop()
        for index, address in enumerate(tuple(self._addresses)):
            # a Sentinel that hangs leaves the others their share of the time
            share = (until - loop.time()) / (len(self._addresses) - index + 1)
            try:
                found = await self._ask(address, until=loop.time() + share)
            except StoreUnavailable as error:
                failure = failure or error
                continue
            self._addresses.remove(address)
            self._addresses.insert(0, address)
            return found
        raise failure or Unreachable("No Sentinel can be reached")

    async def _ask(self, address: Address, *, until: float) -> Address:
        wire, self._wire = self._wire, None
        if wire is None or address != self._addresses[0] or not wire.usable:
            if wire is not None:
                wire.abort()
            wire = await self._dialer.dial_sentinel(address, until=until)
        (reply,) = await wire.exchange([self._question], until=until)
        self._wire = wire
        if isinstance(reply, RedisError):
            raise refused(reply)
        if reply is None:
            raise Unreachable(f"The Sentinels know no master called {self._service}")
        host, port = reply
        return host.decode(), int(port)

    def close(self) -> None:
        if self._wire is not None:
            self._wire.abort()
