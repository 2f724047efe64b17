"""What is dropped from heads and what is added, in both directions."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from activator.proxy.headers import (
    AT_ONCE,
    downstream_head,
    interim_head,
    is_loop,
    new_request_id,
    request_id,
    retargeted,
    upstream_head,
    via_name,
)
from tests.unit.proxy.support import asked, told

if TYPE_CHECKING:
    from activator.wire.heads import RequestHead

VIA = b"activator-0011223344"


def forwarded(head: RequestHead, **changed: Any) -> list[str]:
    """The lines that go upstream, request line first, without the empty one."""
    settings: dict[str, Any] = {
        "target": head.target,
        "host": head.host,
        "via": VIA,
        "request_id": b"id-1",
        "peer": "192.0.2.7",
        "tls": False,
        "trusted": False,
        "credentials": frozenset(),
        "continued": False,
    }
    raw = upstream_head(head, **settings | changed)
    assert raw.endswith(b"\r\n\r\n")
    return raw[:-4].decode("latin-1").split("\r\n")


def answered(*fields: str, line: str = "HTTP/1.1 200 OK") -> list[str]:
    raw = downstream_head(
        told(line, *fields), via=VIA, request_id=b"id-1", cold=False, timing=b"queue;dur=0"
    )
    assert raw.endswith(b"\r\n")
    return raw[:-2].decode("latin-1").split("\r\n")


def values(lines: list[str], name: str) -> list[str]:
    found = (line.partition(":") for line in lines[1:])
    return [value.strip() for key, _, value in found if key.lower() == name.lower()]


# --- towards the replica


def test_fields_keep_their_order_case_and_spacing() -> None:
    lines = forwarded(
        asked("GET /x HTTP/1.1", "X-ONE:1", "x-two:  a  b ", "Accept: */*", "X-ONE: 2")
    )

    kept = [line for line in lines if line.lower().startswith(("x-one", "x-two", "accept"))]
    assert kept == ["X-ONE:1", "x-two:  a  b ", "Accept: */*", "X-ONE: 2"]


def test_the_target_and_the_host_are_the_ones_it_is_given() -> None:
    lines = forwarded(asked("GET /a/b?c HTTP/1.1"), target=b"/b?c", host=b"other:81")

    assert lines[0] == "GET /b?c HTTP/1.1"
    assert values(lines, "host") == ["other:81"]


@pytest.mark.parametrize(
    "field",
    ["Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic x",
     "Upgrade: h2c", "Connection: keep-alive"],
)  # fmt: skip
def test_hop_by_hop_fields_go_no_further(field: str) -> None:
    lines = forwarded(asked("POST / HTTP/1.1", "Content-Length: 1", field))

    assert values(lines, field.partition(":")[0]) == []
    assert values(lines, "content-length") == ["1"]


def test_whatever_connection_names_is_dropped() -> None:
    lines = forwarded(asked("GET / HTTP/1.1", "Connection: X-Mine, close", "X-Mine: 1", "X-Not: 2"))

    assert values(lines, "x-mine") == []
    assert values(lines, "x-not") == ["2"]


def test_connection_cannot_take_the_framing_or_the_host_away() -> None:
    lines = forwarded(
        asked("POST / HTTP/1.1", "Connection: Content-Length, Host", "Content-Length: 3")
    )

    assert values(lines, "content-length") == ["3"]
    assert values(lines, "host") == ["m.example"]


@pytest.mark.parametrize("name", ["Content-Type", "X-Forwarded-For", "Authorization", "Accept"])
def test_naming_an_end_to_end_field_in_connection_removes_only_that_field(name: str) -> None:
    lines = forwarded(asked("GET / HTTP/1.1", f"Connection: {name}", f"{name}: x", "X-Other: y"))

    assert "x" not in values(lines, name)
    assert values(lines, "x-other") == ["y"]


def test_te_trailers_is_made_anew_and_other_codings_are_not() -> None:
    with_trailers = forwarded(asked("GET / HTTP/1.1", "TE: gzip;q=0.5, Trailers", "Connection: TE"))
    without = forwarded(asked("GET / HTTP/1.1", "TE: gzip", "Connection: TE"))

    assert values(with_trailers, "te") == ["trailers"]
    assert values(with_trailers, "connection") == ["TE"]
    assert values(without, "te") == values(without, "connection") == []


def test_te_is_made_anew_once_however_often_it_was_said() -> None:
    lines = forwarded(asked("GET / HTTP/1.1", "TE: trailers", "TE: trailers", "Connection: TE"))

    assert values(lines, "te") == ["trailers"]


@pytest.mark.parametrize("value", ["trailersx", "x-trailers", "trailers;q=0"])
def test_te_is_not_made_from_something_that_only_looks_like_it(value: str) -> None:
    assert values(forwarded(asked("GET / HTTP/1.1", f"TE: {value}")), "te") == []


def test_an_upgrade_is_passed_on_only_for_websockets() -> None:
    lines = forwarded(
        asked("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
    )

    assert values(lines, "upgrade") == ["websocket"]
    assert values(lines, "connection") == ["Upgrade"]
    assert values(lines, "sec-websocket-key") == ["k"]


def test_a_chunked_body_is_announced_as_one() -> None:
    lines = forwarded(asked("POST / HTTP/1.1", "transfer-encoding: chunked"))

    assert values(lines, "transfer-encoding") == ["chunked"]
    assert values(lines, "content-length") == []


def test_ours_is_added_behind_the_vias_that_came() -> None:
    assert values(forwarded(asked()), "via") == [f"1.1 {VIA.decode()}"]
    lines = forwarded(asked("GET / HTTP/1.0", "Via: 1.1 a", "Via: 1.0 b (x)"))
    assert values(lines, "via") == [f"1.1 a, 1.0 b (x), 1.0 {VIA.decode()}"]


def test_forwarding_fields_of_a_stranger_are_replaced() -> None:
    lines = forwarded(
        asked(
            "GET / HTTP/1.1",
            "X-Forwarded-For: 1.1.1.1",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil",
            "Forwarded: for=1.1.1.1",
        )
    )

    assert values(lines, "x-forwarded-for") == ["192.0.2.7"]
    assert values(lines, "x-forwarded-proto") == ["http"]
    assert values(lines, "x-forwarded-host") == ["m.example"]
    assert values(lines, "forwarded") == []


def test_forwarding_fields_of_a_trusted_proxy_are_continued() -> None:
    lines = forwarded(
        asked(
            "GET / HTTP/1.1",
            "X-Forwarded-For: 1.1.1.1",
            "X-Forwarded-For: 2.2.2.2, 3.3.3.3",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: shown",
            "Forwarded: for=1.1.1.1",
        ),
        trusted=True,
    )

    assert values(lines, "x-forwarded-for") == ["1.1.1.1, 2.2.2.2, 3.3.3.3, 192.0.2.7"]
    assert values(lines, "x-forwarded-proto") == ["https"]
    assert values(lines, "x-forwarded-host") == ["shown"]
    assert values(lines, "forwarded") == ["for=1.1.1.1"]


def test_a_trusted_proxy_that_says_nothing_is_told_about() -> None:
    lines = forwarded(asked(), trusted=True, tls=True)

    assert values(lines, "x-forwarded-for") == ["192.0.2.7"]
    assert values(lines, "x-forwarded-proto") == ["https"]
    assert values(lines, "x-forwarded-host") == ["m.example"]


@pytest.mark.parametrize("credential", ["authorization", "x-api-key"])
def test_the_credential_that_opened_our_door_stays_here(credential: str) -> None:
    lines = forwarded(
        asked("GET / HTTP/1.1", "Authorization: Bearer a", "X-Api-Key: b"),
        credentials=frozenset({credential.encode()}),
    )

    other = {"authorization": "x-api-key", "x-api-key": "authorization"}[credential]
    assert values(lines, credential) == []
    assert len(values(lines, other)) == 1


def test_a_replica_is_asked_for_a_100_unless_the_client_has_had_one() -> None:
    head = asked("POST / HTTP/1.1", "Content-Length: 3", "Expect: 100-continue")

    assert values(forwarded(head), "expect") == ["100-continue"]
    assert values(forwarded(head, continued=True), "expect") == []


def test_a_valid_traceparent_is_passed_on_and_anything_else_is_replaced() -> None:
    good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    bad = ["x", "ff" + good[2:], good.replace("b7ad6b7169203331", "0" * 16), good.upper()]

    assert values(forwarded(asked("GET / HTTP/1.1", f"traceparent: {good}")), "traceparent") == [
        good
    ]
    for value in bad:
        (made,) = values(forwarded(asked("GET / HTTP/1.1", f"Traceparent: {value}")), "traceparent")
        assert made != value
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00", made)


# --- ids and loops


def test_a_usable_request_id_is_kept() -> None:
    assert request_id(asked("GET / HTTP/1.1", "X-Request-ID: abc/1")) == b"abc/1"


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, "caf\xe9"])
def test_an_unusable_request_id_is_replaced(value: str) -> None:
    made = request_id(asked("GET / HTTP/1.1", f"X-Request-Id: {value}"))

    assert re.fullmatch(rb"[0-9a-f]{32}", made)


def test_request_ids_do_not_repeat() -> None:
    made = [new_request_id() for _ in range(10 * AT_ONCE)]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(rb"[0-9a-f]{32}", one) for one in made)
    assert via_name() != via_name()


def test_a_fork_gives_out_other_request_ids() -> None:
    script = (
        "import os\n"
        "from activator.proxy.headers import AT_ONCE, new_request_id\n"
        "new_request_id()\n"
        "child = os.fork()\n"
        "made = [new_request_id() for _ in range(2 * AT_ONCE)]\n"
        "child and os.waitpid(child, 0)\n"
        "print(*map(bytes.decode, made))\n"
    )
    made = subprocess.check_output([sys.executable, "-c", script], text=True).split()
    assert len(set(made)) == len(made) == 4 * AT_ONCE


@pytest.mark.parametrize(
    "via",
    [f"1.1 {VIA.decode()}", f"1.0 a, 1.1 {VIA.decode()}", f"1.1 {VIA.decode()}, 1.1 b",
     f"1.1 {VIA.decode()} (comment)", f"HTTP/1.1 {VIA.decode()},1.1 b"],
)  # fmt: skip
def test_meeting_ourselves_again_is_a_loop(via: str) -> None:
    assert is_loop(asked("GET / HTTP/1.1", "Via: 1.1 first", f"Via: {via}"), VIA)


@pytest.mark.parametrize("via", ["1.1 other", f"1.1 {VIA.decode()}5", f"1.1 x{VIA.decode()}"])
def test_other_proxies_are_no_loop(via: str) -> None:
    assert not is_loop(asked("GET / HTTP/1.1", f"Via: {via}"), VIA)


# --- towards the client


def test_an_answer_keeps_its_fields_in_order() -> None:
    lines = answered("Set-Cookie: a=1", "X-B:2", "set-cookie: c=3", "Content-Length: 0")

    assert lines[0] == "HTTP/1.1 200 OK"
    assert lines[1:5] == ["Set-Cookie: a=1", "X-B:2", "set-cookie: c=3", "Content-Length: 0"]


def test_an_answer_says_what_was_its_way() -> None:
    lines = answered("X-Request-Id: the-replica's", "X-Activator-Cold-Start: maybe", "Via: 1.1 v")

    assert values(lines, "x-request-id") == ["id-1"]
    assert values(lines, "x-activator-cold-start") == ["false"]
    assert values(lines, "via") == ["1.1 v", f"1.1 {VIA.decode()}"]
    assert values(lines, "server-timing") == ["queue;dur=0"]


def test_an_answers_hop_by_hop_fields_stay_here() -> None:
    lines = answered(
        "Connection: keep-alive, X-Hop", "Keep-Alive: timeout=5", "X-Hop: 1", "Upgrade: h2c"
    )

    for name in ("connection", "keep-alive", "x-hop", "upgrade"):
        assert values(lines, name) == []


def test_an_answer_in_http_1_0_goes_on_in_1_1_and_says_so_in_via() -> None:
    lines = answered(line="HTTP/1.0 404 Gone Fishing")

    assert lines[0] == "HTTP/1.1 404 Gone Fishing"
    assert values(lines, "via") == [f"1.0 {VIA.decode()}"]


def test_a_204_has_no_length() -> None:
    lines = answered("Content-Length: 0", line="HTTP/1.1 204 No Content")

    assert values(lines, "content-length") == []


def test_an_interim_answer_keeps_its_fields_but_the_connections_own() -> None:
    head = told("HTTP/1.1 103 Early Hints", "Link: </x>", "Connection: X-Hop", "X-Hop: 1")

    assert interim_head(head) == b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n"


def test_a_head_that_asks_for_something_else_is_otherwise_the_same() -> None:
    head = asked("GET /a HTTP/1.1", "Connection: close", "X-Team: ml", host="b.example")
    other = retargeted(head, b"/c?d")
    assert (other.method, other.target, other.host) == (b"GET", b"/c?d", b"b.example")
    assert (other.get(b"x-team"), other.keep_alive) == (b"ml", False)
