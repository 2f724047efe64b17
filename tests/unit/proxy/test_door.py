"""Keys, and whose forwarding fields are believed."""

from __future__ import annotations

from hashlib import sha256
from ipaddress import ip_network

import pytest

from activator.config.keys import Key, KeyRing
from activator.errors import Unauthorized
from activator.proxy.door import Door
from tests.unit.proxy.support import asked

ME = Key("me")
RING = KeyRing([(sha256(b"secret").digest(), ME)])


@pytest.mark.parametrize(
    ("fields", "opened_by"),
    [
        (["Authorization: Bearer secret"], frozenset({b"authorization"})),
        (["authorization: bEARER  secret "], frozenset({b"authorization"})),
        (["X-API-Key: secret"], frozenset({b"x-api-key"})),
        (["Authorization: Basic x", "X-Api-Key: secret"], frozenset({b"x-api-key"})),
        (["Authorization: Bearer other", "X-Api-Key: secret"], frozenset({b"x-api-key"})),
        (["Authorization: Bearer secret", "X-Api-Key: other"], frozenset({b"authorization"})),
        (
            ["Authorization: Bearer secret", "X-Api-Key: secret"],
            frozenset({b"authorization", b"x-api-key"}),
        ),
    ],
)
def test_a_valid_key_opens_the_door(fields: list[str], opened_by: frozenset[bytes]) -> None:
    assert Door(keys=RING).open(asked("GET / HTTP/1.1", *fields)) == (ME, opened_by)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        ["Authorization: Bearer wrong"],
        ["Authorization: Basic secret"],
        ["Authorization: secret"],
        ["Authorization: Bearer"],
        ["X-Api-Key:"],
        ["X-Api-Key: Bearer secret"],
        ["Cookie: key=secret"],
    ],
)
def test_anything_else_does_not(fields: list[str]) -> None:
    with pytest.raises(Unauthorized):
        Door(keys=RING).open(asked("GET / HTTP/1.1", *fields))


def test_without_keys_the_door_is_open_and_credentials_are_the_models() -> None:
    head = asked("GET / HTTP/1.1", "Authorization: Bearer the-models")

    assert Door().open(head) == (None, frozenset())


@pytest.mark.parametrize(
    ("peer", "trusted"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("::ffff:10.1.2.3", True),
        ("fd00::1", True),
        ("fe80::1%eth0", True),
        ("2001:db8::1", False),
        ("", False),
    ],
)
def test_trusted_proxies_are_known_by_their_address(peer: str, trusted: bool) -> None:
    networks = [ip_network(name) for name in ("10.0.0.0/8", "fd00::/8", "fe80::/10")]

    assert Door(trusted=networks).trusts(peer) is trusted


def test_nobody_is_trusted_unless_named() -> None:
    assert not Door().trusts("127.0.0.1")
