"""Who may come in: API keys, and whose forwarding fields are believed."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from activator.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from ipaddress import IPv4Network, IPv6Network

    from activator.config.keys import Key, KeyRing
    from activator.wire.heads import RequestHead


class Door:
    """Opens for a valid key, or for everybody where no keys are configured."""

    def __init__(
        self,
        *,
        keys: KeyRing | None = None,
        trusted: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        self._keys = keys
        self._trusted = tuple(trusted)
        self.changed: Callable[[], None] = _unnoticed
        """Told when it opens for others, or believes others, than before."""

    @property
    def keys(self) -> KeyRing | None:
        return self._keys

    @keys.setter
    def keys(self, keys: KeyRing | None) -> None:
        self._keys = keys
        self.changed()

    @property
    def trusted(self) -> tuple[IPv4Network | IPv6Network, ...]:
        return self._trusted

    @trusted.setter
    def trusted(self, trusted: Sequence[IPv4Network | IPv6Network]) -> None:
        self._trusted = tuple(trusted)
        self.changed()

    def open(
        self, head: RequestHead, *, needed: bool = True
    ) -> tuple[Key | None, frozenset[bytes]]:
        """(the key, lower-case names of the fields that carry a key of ours: none of them is to
        be passed on).

        `Authorization: Bearer KEY` counts before `X-Api-Key: KEY`. Raises Unauthorized if no key
        is found although one is `needed`.
        """
        if self.keys is None:
            return None, frozenset()
        key: Key | None = None
        carriers = set()
        for name, presented in _presented(head):
            found = self.keys.find(presented)
            if found is not None:
                carriers.add(name)
                key = key or found
        if key is None and needed:
            if b"authorization" in head.first or b"x-api-key" in head.first:
                raise Unauthorized("The API key is not known")
            raise Unauthorized("An API key is needed: `Authorization: Bearer KEY`")
        return key, frozenset(carriers)

    def trusts(self, peer: str) -> bool:
        """Whether the peer (an IP address) is one of the trusted proxies."""
        if not self.trusted or not peer:
            return False
        address = ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.trusted)

    def client(self, head: RequestHead, peer: str) -> str:
        """The address that a request comes from, as far as it is believed: the last one that is
        not of a trusted proxy."""
        if not self.trusts(peer):
            return peer
        chain = b",".join(head.get_all(b"x-forwarded-for")).decode("latin-1").split(",")
        for hop in reversed(chain):
            try:
                if not self.trusts(hop.strip()):
                    return hop.strip() or peer
            except ValueError:
                return peer
        return peer


def _presented(head: RequestHead) -> Iterator[tuple[bytes, bytes]]:
    """(field, what it presents as a key)"""
    for authorization in head.get_all(b"authorization"):
        scheme, _, presented = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            yield b"authorization", presented.strip()
    for presented in head.get_all(b"x-api-key"):
        yield b"x-api-key", presented


def _unnoticed() -> None:
    """Nobody has drawn conclusions yet."""
