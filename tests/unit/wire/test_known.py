"""Heads that were read before are found by their bytes, and no more of them than is bounded."""

from __future__ import annotations

from activator.wire.heads import HeadLimits
from activator.wire.incoming import Incoming
from activator.wire.known import LONGEST, MOST, KnownRequests
from activator.wire.parsing import parse_request

LIMITS = HeadLimits()


def get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: a", *fields, "", ""]).encode()


def test_what_clients_say_alike_is_not_read_again() -> None:
    known = KnownRequests()
    heads = []
    for _ in range(3):
        incoming = Incoming(LIMITS, known)
        incoming.add(get("/x"))
        heads.append(incoming.head())

    assert heads[0] is not heads[1]  # many a head comes only once
    assert heads[1] is heads[2]
    assert known.get(get("/x")) is heads[1]
    assert known.get(get("/y")) is None


def test_a_known_head_with_a_body_behind_it() -> None:
    known = KnownRequests()
    raw = get("/x", "Transfer-Encoding: chunked")
    for _ in range(2):
        known.learn(raw, parse_request(raw, LIMITS), LIMITS)
    for body in (b"one", b"two"):
        incoming = Incoming(LIMITS, known)
        incoming.add(raw + b"3\r\n" + body + b"\r\n0\r\n\r\n" + get("/next"))
        assert incoming.head() is known.get(raw)
        assert incoming.body() == (body, [])
        following = incoming.head()
        assert following is not None
        assert following.target == b"/next"


def test_neither_many_nor_large_heads_are_kept_for_good() -> None:
    known = KnownRequests()
    for number in range(3 * MOST):
        raw = get(f"/{number}")
        for _ in range(2):
            known.learn(raw, parse_request(raw, LIMITS), LIMITS)
        assert known.get(raw) is not None
        assert len(known) <= MOST
    large = get("/", "X: " + "x" * LONGEST)
    for _ in range(2):
        known.learn(large, parse_request(large, LIMITS), LIMITS)
    assert known.get(large) is None
