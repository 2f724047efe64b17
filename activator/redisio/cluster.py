"""A store on a Redis Cluster: each key on the node that has its slot.

Decides where a command goes and follows the cluster's redirections. It is there as a whole or
not at all: with one master gone, some endpoints' keys are, and nobody should have to ask which.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, RedisError, ResponseError, TryAgainError

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

SLOTS: Final = 16384
MOST_REDIRECTIONS: Final = 5
TRY_AGAIN: Final = 0.02
"""Seconds between two tries while a slot's keys are moving."""

_SLOTS: Final = pack("CLUSTER", "SLOTS")
_STATE: Final = pack("CLUSTER", "INFO")
_ASKING: Final = pack("ASKING")


class Cluster:
    """`Topology` of a cluster."""

    def __init__(
        self, dialer: Dialer, seeds: Sequence[Address], *, moved: Callable[[], None]
    ) -> None:
        """`moved`: called when a redirection shows that the map is old; look again soon."""
        self._dialer = dialer
        self._seeds = tuple(seeds)
        self._moved = moved
        self._nodes: dict[Address, Node] = {}
        self._slots: list[Address] = []

    # --- working --------------------------------------------------------------------------------

    async def exchange(
        self, keys: Sequence[Key | None], commands: Sequence[Packed], *, until: float
    ) -> list[Any]:
        if not self._slots:
            raise Unreachable("The store has not been reached yet")
        parts: dict[Address, list[int]] = {}
        for index, key in enumerate(keys):
            parts.setdefault(self._address_of(key), []).append(index)
        replies: list[Any] = [None] * len(commands)
        for address, indices in parts.items():
            node = self._node(address)
            sent = [commands[index] for index in indices]
            for index, reply in zip(indices, await node.exchange(sent, until=until), strict=True):
                replies[index] = reply
                if isinstance(reply, (AskError, TryAgainError)):
                    replies[index] = await self._follow(reply, commands[index], node, until)
        return replies

    def begin(
        self, key: Key, command: Packed, told: Callable[[Replies], None], *, until: float
    ) -> bool:
        if not self._slots:
            return False
        return self._node(self._address_of(key)).begin(command, told, until=until)

    async def _follow(self, reply: Any, command: Packed, node: Node, until: float) -> Any:
        for _ in range(MOST_REDIRECTIONS):
            match reply:
                case MovedError():
                    node = self._node((reply.host or node.address[0], int(reply.port)))
                    self._slots[reply.slot_id] = node.address
                    self._moved()
                    (reply,) = await node.exchange([command], until=until)
                case AskError():
                    other = self._node((reply.host or node.address[0], int(reply.port)))
                    _, reply = await other.exchange([_ASKING, command], until=until)
                case TryAgainError():
                    await asyncio.sleep(TRY_AGAIN)
                    (reply,) = await node.exchange([command], until=until)
                case _:
                    break
        return reply

    def _address_of(self, key: Key | None) -> Address:
        if key is None:
            return self._slots[0]
        return self._slots[key_slot(key.encode() if isinstance(key, str) else key)]

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = Node(address, self._dialer)
        return node

    async def dial(self, *, until: float) -> Wire:
        """To any node; PUBLISH reaches them all."""
        failure: StoreUnavailable = Unreachable("The store has not been reached yet")
        for address in dict.fromkeys(self._slots):
            try:
                return await self._dialer.dial(address, until=until)
            except StoreUnavailable as error:
                failure = error
        raise failure

    # --- looking --------------------------------------------------------------------------------

    async def look(self, *, until: float) -> Sequence[ServerInfo]:
        slots = await self._read_map(until=until)
        masters = sorted(set(slots))
        for address in set(self._nodes) - set(masters):
            self._nodes.pop(address).close()
        self._slots = slots
        infos = []
        for address in masters:
            node = self._node(address)
            info = await node.info(until=until)
            check(info)
            (state,) = await node.ask(_STATE, until=until)
            if isinstance(state, bytes) and b"cluster_state:ok" not in state:
                raise Unreachable("The store's cluster is down")
            infos.append(info)
        return infos

    async def _read_map(self, *, until: float) -> list[Address]:
        failure: StoreUnavailable | None = None
        loop = asyncio.get_running_loop()
        known = list(dict.fromkeys((*self._nodes, *self._seeds)))
        for index, address in enumerate(known):
            # a node that hangs leaves the others their share of the time
            share = (until - loop.time()) / (len(known) - index + 1)
            try:
                (reply,) = await self._node(address).ask(_SLOTS, until=loop.time() + share)
                return _map(reply, answered_by=address)
            except Unfit:
                raise
            except StoreUnavailable as error:
                failure = failure or error
        raise failure or Unreachable("The store cannot be reached")

    def close_connections(self) -> None:
        while self._nodes:
            self._nodes.popitem()[1].close()

    def close(self) -> None:
        self.close_connections()


def _map(reply: Any, *, answered_by: Address) -> list[Address]:
    """The address of each slot's master. Raises StoreUnavailable."""
    if isinstance(reply, ResponseError) and "cluster support disabled" in str(reply):
        raise Unfit("The store is no cluster: its address is redis://")
    if isinstance(reply, RedisError):
        raise refused(reply)
    found: list[Address | None] = [None] * SLOTS
    for first, last, master, *_ in reply:
        # a node that does not know its own address is the one that we have asked
        host = master[0].decode() if master[0] else answered_by[0]
        found[first : last + 1] = [(host, int(master[1]))] * (last + 1 - first)
    if None in found:
        raise Unreachable("The store's cluster has slots without a node")
    return [address for address in found if address is not None]
