"""A client's request as a replica gets it: whose word counts for what is in its head."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, cast

import pytest

from activator.core.endpoint import Replica
from activator.proxy.door import Door
from activator.proxy.outbound import outbound_to
from activator.proxy.stencils import NONE
from tests.unit.proxy.support import admitted_to, asked
from tests.unit.upstream.support import live_endpoint

if TYPE_CHECKING:
    from activator.proxy.listener import Proxy
    from activator.upstream.forward import Outbound
    from activator.wire.heads import RequestHead
    from activator.wire.server import ServerConnection

INSIDE = "10.0.0.9"


class Place:
    """As much of a proxy and of a client's connection as is asked."""

    via = b"activator-1"
    tracer = None
    tls = True
    door = Door(trusted=[ip_network("10.0.0.0/8")])

    def __init__(self, *, peer: str, continued: bool) -> None:
        self.peer = peer
        self.continued = continued


def sent(
    head: RequestHead,
    *,
    to: str = "127.0.0.1",
    path: bytes = b"/",
    credentials: frozenset[bytes] = frozenset(),
    peer: str = "192.0.2.7",
    continued: bool = False,
    identity: bool = False,
    parent: bytes | None = None,
) -> Outbound:
    place: Any = Place(peer=peer, continued=continued)
    admitted = admitted_to(live_endpoint(), path=path, credentials=credentials)
    return outbound_to(
        Replica("m-1", to, 8000),
        cast("Proxy", place),
        cast("ServerConnection", place),
        head,
        admitted,
        request_id=b"r-1",
        identity=identity,
        parent=parent,
    )


@pytest.mark.parametrize("is_kept", [False, True])
def test_what_is_made_for_requests_alike_is_made_where_others_are_likely(is_kept: bool) -> None:
    place: Any = Place(peer="192.0.2.7", continued=False)
    place.door = Door(trusted=[])
    head = asked("POST / HTTP/1.1", "Content-Length: 3", "X-Team: ml")
    admitted = admitted_to(live_endpoint())
    head.note = admitted if is_kept else None
    heads: list[list[bytes]] = []
    made: list[bool] = []
    for _ in range(3):
        outbound = outbound_to(
            Replica("m-1", "127.0.0.1", 8000),
            cast("Proxy", place),
            cast("ServerConnection", place),
            head,
            admitted,
            request_id=b"0" * 32,
            identity=False,
            parent=None,
        )
        heads.append([line for line in lines(outbound) if not line.startswith(b"traceparent")])
        made.append(admitted.stencil not in (None, NONE))

    assert made == [is_kept] * 3
    assert heads[0] == heads[1] == heads[2]


def lines(outbound: Outbound) -> list[bytes]:
    return outbound.head.split(b"\r\n")


def test_it_asks_for_what_was_admitted_and_keeps_the_clients_host() -> None:
    outbound = sent(asked("POST /llama/x HTTP/1.1", "Content-Length: 3"), path=b"/x")

    assert lines(outbound)[:2] == [b"POST /x HTTP/1.1", b"Host: m.example"]
    assert (outbound.method, outbound.length, outbound.websocket) == (b"POST", 3, False)
    assert b"X-Request-Id: r-1" in lines(outbound)


@pytest.mark.parametrize(
    ("address", "host"), [("10.1.2.3", b"10.1.2.3:8000"), ("fd00::7", b"[fd00::7]:8000")]
)
def test_who_names_no_host_means_the_replica(address: str, host: bytes) -> None:
    outbound = sent(asked("GET / HTTP/1.0", host=None), to=address)

    assert b"Host: " + host in lines(outbound)


@pytest.mark.parametrize(
    ("peer", "told"),
    [(INSIDE, b"X-Forwarded-Proto: http"), ("192.0.2.7", b"X-Forwarded-Proto: https")],
)
def test_only_a_trusted_peer_is_believed_how_its_client_came(peer: str, told: bytes) -> None:
    outbound = sent(asked("GET / HTTP/1.1", "X-Forwarded-Proto: http"), peer=peer)

    said = [line for line in lines(outbound) if line.lower().startswith(b"x-forwarded-proto")]
    assert said == [told]


def test_a_key_of_our_door_stays_here() -> None:
    head = asked("GET / HTTP/1.1", "Authorization: Bearer ours", "X-Api-Key: theirs")

    outbound = sent(head, credentials=frozenset({b"authorization"}))

    assert b"ours" not in outbound.head
    assert b"X-Api-Key: theirs" in lines(outbound)


@pytest.mark.parametrize("continued", [False, True])
def test_who_was_told_to_continue_is_not_told_again(continued: bool) -> None:
    head = asked("POST / HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")

    assert (b"Expect: 100-continue" in lines(sent(head, continued=continued))) != continued


def test_an_answer_that_is_read_here_is_asked_for_as_it_is() -> None:
    head = asked("GET / HTTP/1.1", "Accept-Encoding: gzip")

    assert b"Accept-Encoding: gzip" in lines(sent(head))
    assert b"Accept-Encoding: identity" in lines(sent(head, identity=True))
    assert b"gzip" not in sent(head, identity=True).head


def test_where_it_is_traced_the_replicas_part_hangs_on_ours() -> None:
    theirs = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ours = b"00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"

    outbound = sent(asked("GET / HTTP/1.1", theirs), parent=ours)

    said = [line for line in lines(outbound) if line.lower().startswith(b"traceparent")]
    assert [line.partition(b": ")[2] for line in said] == [ours]
    assert theirs.encode() in lines(sent(asked("GET / HTTP/1.1", theirs)))


def test_a_websocket_is_asked_for_anew() -> None:
    head = asked(
        "GET / HTTP/1.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )

    outbound = sent(head)

    assert outbound.websocket
    assert b"Upgrade: websocket" in lines(outbound)
