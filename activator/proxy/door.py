"""Who may come in: API keys, and whose forwarding fields are believed."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from activator.errors import Unauthorized

if TYPE_CHECKING:
    from collections.abc import Sequence
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
        self.keys = keys
        self.trusted = tuple(trusted)

    def open(self, head: RequestHead) -> tuple[Key | None, bytes | None]:
        """(the key, lower-case name of the field it came in); (None, None) for an open door.

        `Authorization: Bearer KEY` or `X-Api-Key: KEY`. Raises Unauthorized.
        """
        if self.keys is None:
            return None, None
        authorization = head.get(b"authorization")
        if authorization is not None:
            scheme, _, presented = authorization.partition(b" ")
            key = self.keys.find(presented.strip()) if scheme.lower() == b"bearer" else None
            if key is not None:
                return key, b"authorization"
        given = head.get(b"x-api-key")
        if given is not None and (key := self.keys.find(given)) is not None:
            return key, b"x-api-key"
        if authorization is None and given is None:
            raise Unauthorized("An API key is needed: `Authorization: Bearer KEY`")
        raise Unauthorized("The API key is not known")

    def trusts(self, peer: str) -> bool:
        """Whether the peer (an IP address) is one of the trusted proxies."""
        if not self.trusted or not peer:
            return False
        address = ip_address(peer.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self.trusted)
