"""The grammar of heads, both roles: what passes, what it is read as, what is refused."""

from __future__ import annotations

import pytest

from activator.wire.heads import (
    CHUNKED,
    UNTIL_CLOSE,
    HeadLimits,
    Malformed,
    RequestHead,
    ResponseHead,
    TooLarge,
)
from activator.wire.parsing import (
    UnfinishedHead,
    check_partial,
    parse_request,
    parse_response,
    parse_trailers,
)
from tests.unit.wire.corpus import REFUSED_ANSWERS, REFUSED_HEADS, Refused

LIMITS = HeadLimits()


def read(*lines: bytes, limits: HeadLimits = LIMITS) -> RequestHead:
    return parse_request(b"".join(line + b"\r\n" for line in lines) + b"\r\n", limits)


def get(*fields: bytes, target: bytes = b"/") -> RequestHead:
    return read(b"GET " + target + b" HTTP/1.1", b"Host: a", *fields)


def answer(*lines: bytes, method: bytes = b"GET") -> ResponseHead:
    head = b"".join(line + b"\r\n" for line in lines) + b"\r\n"
    return parse_response(head, method=method, limits=LIMITS)


def read_corpus(case: Refused, *, method: bytes | None = None) -> None:
    """What a connection does with it: the head as soon as it is whole, what has come until then."""
    end = case.message.find(b"\r\n\r\n")
    if end < 0:
        check_partial(case.message, start=0, limits=LIMITS)
    elif method is None:
        parse_request(case.message[: end + 4], LIMITS)
    else:
        parse_response(case.message[: end + 4], method=method, limits=LIMITS)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize("case", REFUSED_HEADS, ids=str)
def test_a_request_that_can_be_misread_is_refused(case: Refused) -> None:
    with pytest.raises(Malformed):
        read_corpus(case)


@pytest.mark.parametrize("case", REFUSED_ANSWERS, ids=str)
def test_an_answer_that_can_be_misread_is_refused(case: Refused) -> None:
    with pytest.raises(Malformed):
        read_corpus(case, method=b"GET")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"GET /", "METHOD TARGET"),
        (b"GET / HTTP/2.0", "version"),
        (b"G:T / HTTP/1.1", "method"),
        (b"GET /\xff HTTP/1.1", "target"),
        (b"CONNECT / HTTP/1.1", "target"),
        (b"GET / HTTP/1.1\r\nX : y", "header line"),
    ],
)
def test_the_reason_of_a_refusal_names_the_part_that_is_wrong(line: bytes, why: str) -> None:
    with pytest.raises(Malformed, match=why):
        read(line, b"Host: a")


# --- requests -----------------------------------------------------------------------------------


def test_a_request_is_read_as_it_is_written() -> None:
    head = read(b"POST /a/b?c=%20d HTTP/1.1", b"Host: a.example:8080", b"X-One:  1 \t", b"x-two:2")
    assert (head.method, head.target, head.minor) == (b"POST", b"/a/b?c=%20d", 1)
    assert head.host == b"a.example:8080"
    assert head.fields == [
        (b"host", b"a.example:8080", b"Host: a.example:8080"),
        (b"x-one", b"1", b"X-One:  1 \t"),
        (b"x-two", b"2", b"x-two:2"),
    ]


@pytest.mark.parametrize(
    "value", [b"caf\xc3\xa9", b"\xff\x80", b"a\tb", b'"quoted, \\" text"', b"(comment)", b":::"]
)
def test_a_value_may_hold_any_text_and_bytes_beyond_ascii(value: bytes) -> None:
    assert get(b"X: " + value).get(b"x") == value


def test_a_name_may_be_any_token() -> None:
    name = b"!#$%&'*+-.^_`|~09azAZ"
    assert get(name + b": 1").get(name.lower()) == b"1"


@pytest.mark.parametrize("method", [b"GET", b"PROPFIND", b"M-SEARCH", b"get", b"!#$%&'*+-.^_`|~"])
def test_a_method_may_be_any_token_and_keeps_its_case(method: bytes) -> None:
    assert read(method + b" / HTTP/1.1", b"Host: a").method == method


@pytest.mark.parametrize(
    "target", [b"/", b'/a;b=c/d?e=[f]&g={h}|^`\\"<>', b"//a", b"/a//b/../c", b"/?/?#"[:4], b"/%00"]
)
def test_a_path_is_passed_on_as_it_came(target: bytes) -> None:
    assert get(target=target).target == target


@pytest.mark.parametrize(
    ("target", "host", "path"),
    [
        (b"http://b.example/c?d", b"b.example", b"/c?d"),
        (b"HTTPS://b:8443/", b"b:8443", b"/"),
        (b"http://[::1]:80/x", b"[::1]:80", b"/x"),
        (b"http://b", b"b", b"/"),
        (b"http://b?q", b"b", b"/?q"),
    ],
)
def test_an_absolute_target_replaces_host(target: bytes, host: bytes, path: bytes) -> None:
    head = get(target=target)
    assert (head.host, head.target) == (host, path)


def test_options_of_the_whole_server_has_an_asterisk_for_its_target() -> None:
    assert read(b"OPTIONS * HTTP/1.1", b"Host: a").target == b"*"
    assert read(b"OPTIONS http://b HTTP/1.1", b"Host: a").target == b"*"
    assert read(b"OPTIONS http://b/ HTTP/1.1", b"Host: a").target == b"/"


def test_connect_names_an_authority_and_is_the_last_request_of_its_connection() -> None:
    head = read(b"CONNECT a.example:443 HTTP/1.1", b"Host: a.example:443")
    assert head.target == b"a.example:443"
    assert not head.keep_alive


@pytest.mark.parametrize(
    "host", [b"a", b"a.b-c_d~e.example", b"10.0.0.1:80", b"[::1]", b"[::ffff:1.2.3.4]:65535", b""]
)
def test_host_is_a_name_or_an_address_and_perhaps_a_port(host: bytes) -> None:
    assert read(b"GET / HTTP/1.1", b"Host: " + host).host == host


def test_a_request_of_http_1_0_needs_no_host() -> None:
    head = read(b"GET / HTTP/1.0")
    assert (head.minor, head.host) == (0, b"")


# --- lengths ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "length"),
    [
        (b"X: y", 0),
        (b"Content-Length: 0", 0),
        (b"Content-Length: 5", 5),
        (b"content-length:  999999999999999999 ", 10**18 - 1),
        (b"Transfer-Encoding: chunked", CHUNKED),
        (b"transfer-ENCODING:Chunked ", CHUNKED),
    ],
)
def test_a_body_ends_where_one_field_says(field: bytes, length: int) -> None:
    assert get(field).length == length
    assert answer(b"HTTP/1.1 200 OK", field).length == (length if field != b"X: y" else UNTIL_CLOSE)


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    head = answer(b"HTTP/1.1 200 OK")
    assert head.length == UNTIL_CLOSE
    assert not head.keep_alive


@pytest.mark.parametrize("status", [100, 103, 204, 304])
def test_some_answers_have_no_body_whatever_they_say(status: int) -> None:
    assert answer(b"HTTP/1.1 %d X" % status).length == 0
    assert answer(b"HTTP/1.1 %d X" % status, b"Content-Length: 5").length == 0
    assert answer(b"HTTP/1.1 %d X" % status).keep_alive


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"X: y"])
def test_an_answer_to_head_has_no_body(framing: bytes) -> None:
    head = answer(b"HTTP/1.1 200 OK", framing, method=b"HEAD")
    assert (head.length, head.keep_alive) == (0, True)


def test_a_304_may_tell_the_coding_that_a_200_would_have() -> None:
    assert answer(b"HTTP/1.1 304 Not Modified", b"Transfer-Encoding: chunked").length == 0


# --- connection ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "fields", "keeps"),
    [
        (b"HTTP/1.1", [], True),
        (b"HTTP/1.1", [b"Connection: close"], False),
        (b"HTTP/1.1", [b"Connection: x, CLOSE ,y"], False),
        (b"HTTP/1.1", [b"Connection: keep-alive", b"Connection: close"], False),
        (b"HTTP/1.1", [b"Connection: closed"], True),
        (b"HTTP/1.0", [], False),
        (b"HTTP/1.0", [b"Connection: Keep-Alive"], True),
        (b"HTTP/1.0", [b"Connection: keep-alive, close"], False),
    ],
)
def test_a_connection_is_kept_as_version_and_options_say(
    version: bytes, fields: list[bytes], *, keeps: bool
) -> None:
    assert read(b"GET / " + version, b"Host: a", *fields).keep_alive is keeps
    length = b"Content-Length: 0"
    assert answer(version + b" 200 OK", length, *fields).keep_alive is (
        keeps or b"keep-alive, close" in b"".join(fields)
    )


def test_connection_options_are_gathered_from_all_fields_in_lower_case() -> None:
    head = get(b"Connection: X-A, ,keep-alive", b"Connection:\tX-B")
    assert head.connection == {b"x-a", b"keep-alive", b"x-b"}


@pytest.mark.parametrize(
    ("method", "fields", "asks"),
    [
        (b"GET", [b"Connection: Upgrade", b"Upgrade: websocket"], True),
        (b"GET", [b"Connection: keep-alive, upgrade", b"Upgrade: h2c, WebSocket"], True),
        (b"GET", [b"Connection: Upgrade", b"Upgrade: h2c", b"Upgrade: websocket"], True),
        (b"GET", [b"Upgrade: websocket"], False),
        (b"GET", [b"Connection: Upgrade"], False),
        (b"GET", [b"Connection: Upgrade", b"Upgrade: h2c"], False),
        (b"POST", [b"Connection: Upgrade", b"Upgrade: websocket"], False),
        (b"GET", [b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 1"], False),
    ],
)
def test_a_websocket_is_asked_for_by_a_get_without_a_body(
    method: bytes, fields: list[bytes], *, asks: bool
) -> None:
    assert read(method + b" / HTTP/1.1", b"Host: a", *fields).websocket is asks


def test_http_1_0_knows_neither_upgrades_nor_continue() -> None:
    head = read(
        b"GET / HTTP/1.0",
        b"Connection: upgrade",
        b"Upgrade: websocket",
        b"Expect: 100-continue",
    )
    assert not head.websocket
    assert not head.expects_continue


@pytest.mark.parametrize(
    ("value", "expects"), [(b"100-continue", True), (b"100-Continue", True), (b"200-ok", False)]
)
def test_only_100_continue_is_an_expectation(value: bytes, *, expects: bool) -> None:
    assert get(b"Expect: " + value, b"Content-Length: 1").expects_continue is expects


# --- answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "status", "reason", "minor"),
    [
        (b"HTTP/1.1 200 OK", 200, b"OK", 1),
        (b"HTTP/1.0 404 Not Found", 404, b"Not Found", 0),
        (b"HTTP/1.1 599 ", 599, b"", 1),
        (b"HTTP/1.1 200", 200, b"", 1),
        (b"HTTP/1.1 200 caf\xe9\t!", 200, b"caf\xe9\t!", 1),
    ],
)
def test_a_status_line_is_read(line: bytes, status: int, reason: bytes, minor: int) -> None:
    head = answer(line, b"X-Y: z")
    assert (head.status, head.reason, head.minor) == (status, reason, minor)
    assert head.get(b"x-y") == b"z"
    assert head.get(b"x-z") is None


# --- limits -------------------------------------------------------------------------------------


TIGHT = HeadLimits(line=20, total=50, fields=3)


def field_block(size: int) -> bytes:
    """One Host and one field line, `size` bytes with their CRLFs."""
    return b"Host: a\r\nX: " + b"x" * (size - 9 - 5) + b"\r\n"


def test_a_head_may_be_as_large_as_its_limits_and_not_larger() -> None:
    line = b"GET /%b HTTP/1.1\r\n" % (b"a" * 6)
    assert len(line) == 22
    parse_request(line + field_block(50) + b"\r\n", TIGHT)
    with pytest.raises(TooLarge, match="request line"):
        parse_request(line.replace(b"/", b"/a", 1) + field_block(50) + b"\r\n", TIGHT)
    with pytest.raises(TooLarge, match="50 bytes"):
        parse_request(line + field_block(51) + b"\r\n", TIGHT)


def test_a_head_may_have_so_many_fields_and_not_more() -> None:
    read(b"GET / HTTP/1.1", b"Host: a", b"B: c", b"D: e", limits=TIGHT)
    with pytest.raises(TooLarge, match="3 header fields"):
        read(b"GET / HTTP/1.1", b"Host: a", b"B: c", b"D: e", b"F: g", limits=TIGHT)


def test_a_head_at_its_limits_is_not_refused_while_it_comes() -> None:
    head = b"GET /%b HTTP/1.1\r\n" % (b"a" * 6) + field_block(50) + b"\r\n"
    for size in range(len(head)):
        check_partial(head[:size], start=max(0, size - 1), limits=TIGHT)


def test_a_head_beyond_its_limits_is_refused_before_its_end() -> None:
    with pytest.raises(TooLarge):
        check_partial(b"GET /" + b"a" * 17, start=0, limits=TIGHT)
    with pytest.raises(TooLarge):
        check_partial(b"GET / HTTP/1.1\r\n" + b"a" * 60, start=0, limits=TIGHT)


def test_a_partial_head_is_looked_at_from_where_the_last_look_ended() -> None:
    check_partial(b"GET / HTTP/1.1\r\nHost: a\r", start=0, limits=LIMITS)
    for bad in (b"\r\r", b"\rX", b"\n\n", b"a\n", b"a\x00"):
        with pytest.raises(Malformed):
            check_partial(b"GET / HTTP/1.1\r\nHost: a" + bad, start=24, limits=LIMITS)


# --- heads that come in pieces ------------------------------------------------------------------


def unfinished(data: bytes, *, limits: HeadLimits = LIMITS) -> UnfinishedHead:
    return UnfinishedHead(data, limits)


def test_an_unfinished_head_is_handed_out_whole_once_its_end_has_come() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for at in range(1, len(head)):
        kept = unfinished(head[:at])
        for place in range(at, len(head) - 1):
            assert kept.more(head[place : place + 1]) is None
        assert kept.more(head[-1:] + b"what follows") == head + b"what follows"


def test_half_an_empty_line_is_handed_out_with_whatever_follows() -> None:
    """Empty lines before a head are for the owner to drop, so it has to see what this one is."""
    for rest in (b"\n", b"\nGET / HT", b"G", b"\r\n"):
        assert unfinished(b"\r").more(rest) == b"\r" + rest


def test_a_cr_that_ends_more_than_itself_is_no_half_of_an_empty_line() -> None:
    assert unfinished(b"GET / HTTP/1.1\r").more(b"\nHost: a") is None


@pytest.mark.parametrize(
    ("first", "then"),
    [(b"GET / HTTP/1.1\r", b"X"), (b"GET /", b"\n"), (b"GET /", b"\x00"), (b"G", b"ET /\rHTTP")],
)
def test_an_unfinished_head_is_refused_at_the_byte_that_spoils_it(
    first: bytes, then: bytes
) -> None:
    kept = unfinished(first)
    with pytest.raises(Malformed):
        kept.more(then)
    with pytest.raises(Malformed):
        unfinished(first + then)


def test_an_unfinished_head_is_refused_once_it_is_beyond_its_limits() -> None:
    for start, step in ((b"GET /" + b"a" * 17, b"a"), (b"GET / HTTP/1.1\r\n", b"b" * 60)):
        with pytest.raises(TooLarge):
            unfinished(start + step, limits=TIGHT)
        kept = unfinished(start[:16], limits=TIGHT)
        with pytest.raises(TooLarge):
            kept.more(start[16:] + step)


# --- trailers -----------------------------------------------------------------------------------


def test_trailers_are_kept_but_those_that_route_modify_or_authenticate() -> None:
    block = (
        b"X-Sum: 1\r\nSet-Cookie: a\r\nUpgrade: websocket\r\nHost: b\r\n"
        b"Authorization: c\r\nServer-Timing: d\r\nConnection: close\r\nTrailer: e\r\n"
    )
    assert [name for name, _, _ in parse_trailers(block, LIMITS)] == [b"x-sum", b"server-timing"]


def test_trailers_that_say_where_a_body_ends_are_refused() -> None:
    for line in (b"Content-Length: 5\r\n", b"transfer-encoding: chunked\r\n"):
        with pytest.raises(Malformed, match="trailer"):
            parse_trailers(b"X-Sum: 1\r\n" + line, LIMITS)


@pytest.mark.parametrize(
    "name",
    [
        b"Forwarded", b"Traceparent", b"Via", b"X-API-Key", b"X-Forwarded-Client-Cert",
        b"X-Forwarded-For", b"X-Forwarded-Port", b"X-Forwarded-Prefix", b"X-Forwarded-User",
        b"X-Real-IP", b"X-Request-ID",
    ],
)  # fmt: skip
def test_what_a_proxy_says_of_a_request_does_not_come_as_a_trailer(name: bytes) -> None:
    assert parse_trailers(name + b": 1\r\n", LIMITS) == []


def test_no_trailers_are_none() -> None:
    assert parse_trailers(b"", LIMITS) == []


def test_trailers_have_the_limits_of_a_head() -> None:
    with pytest.raises(TooLarge):
        parse_trailers(b"A: b\r\n" * 4, TIGHT)
