"""Messages that can be read in two ways, or in none, each with the reason why it is refused.

What one reader of a message takes for its end, another takes for its middle: that is how requests
are smuggled past a proxy (RFC 9112 §11.2). So whatever is here is refused by both roles.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refused:
    """`message` ends where a head or body does, so that nothing is left to wait for."""

    why: str
    message: bytes

    def __str__(self) -> str:
        return self.why.replace(" ", "-")


def _get(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"".join(part + b"\r\n" for part in (line, *fields)) + b"\r\n"


def _post(*fields: bytes, body: bytes = b"", version: bytes = b"HTTP/1.1") -> bytes:
    return _get(b"Host: a", *fields, line=b"POST / " + version) + body


def _chunked(body: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", body=body)


def _answer(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return b"".join(part + b"\r\n" for part in (line, *fields)) + b"\r\n" + body


_WHOLE = b"5\r\nhello\r\n0\r\n\r\n"

LENGTHS = (
    ("Content-Length and Transfer-Encoding", (b"Content-Length: 5", b"Transfer-Encoding: chunked")),
    ("Transfer-Encoding and Content-Length", (b"Transfer-Encoding: chunked", b"Content-Length: 5")),
    ("a zero Content-Length and chunks", (b"Content-Length: 0", b"Transfer-Encoding: chunked")),
    ("two lengths that differ", (b"Content-Length: 5", b"Content-Length: 6")),
    ("two lengths that agree", (b"Content-Length: 5", b"Content-Length: 5")),
    ("a list of lengths that agree", (b"Content-Length: 5, 5",)),
    ("a list of lengths that differ", (b"Content-Length: 5,6",)),
    ("a length and a comma", (b"Content-Length: 5,",)),
    ("a length with a plus", (b"Content-Length: +5",)),
    ("a negative length", (b"Content-Length: -5",)),
    ("a negative zero length", (b"Content-Length: -0",)),
    ("a length padded with zeros", (b"Content-Length: 0005",)),
    ("a zero length padded with zeros", (b"Content-Length: 00",)),
    ("a hexadecimal length", (b"Content-Length: 0x5",)),
    ("a length in hexadecimal digits", (b"Content-Length: a",)),
    ("a length with a space in it", (b"Content-Length: 5 5",)),
    ("a length with a tab in it", (b"Content-Length: 5\t5",)),
    ("a length behind a tab", (b"Content-Length:\t5",)),
    ("a length before a tab", (b"Content-Length: 5\t",)),
    ("a length with an exponent", (b"Content-Length: 5e1",)),
    ("a length with a fraction", (b"Content-Length: 5.0",)),
    ("a length with an underscore", (b"Content-Length: 1_0",)),
    ("a quoted length", (b'Content-Length: "5"',)),
    ("a length in Arabic-Indic digits", ("Content-Length: \u0665".encode(),)),
    ("a length with a no-break space", (b"Content-Length: \xa05",)),
    ("a length with a parameter", (b"Content-Length: 5;q=1",)),
    ("an empty length", (b"Content-Length:",)),
    ("a blank length", (b"Content-Length: \t ",)),
    ("a length beyond 64 bits", (b"Content-Length: 18446744073709551621",)),
    ("a length of a thousand digits", (b"Content-Length: " + b"9" * 1000,)),
)
"""Field lines that say where the body ends, badly; for both roles."""

CODINGS = (
    ("a coding before chunked", (b"Transfer-Encoding: gzip, chunked",)),
    ("a coding after chunked", (b"Transfer-Encoding: chunked, gzip",)),
    ("a coding in a field of its own", (b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked")),
    ("chunked twice in one field", (b"Transfer-Encoding: chunked, chunked",)),
    ("chunked in two fields", (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked")),
    ("chunked and identity", (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity")),
    ("identity", (b"Transfer-Encoding: identity",)),
    ("gzip", (b"Transfer-Encoding: gzip",)),
    ("xchunked", (b"Transfer-Encoding: xchunked",)),
    ("chunkedx", (b"Transfer-Encoding: chunkedx",)),
    ("chunke", (b"Transfer-Encoding: chunke",)),
    ("chunked and a comma", (b"Transfer-Encoding: chunked,",)),
    ("a comma and chunked", (b"Transfer-Encoding: ,chunked",)),
    ("chunked with a parameter", (b"Transfer-Encoding: chunked;q=1",)),
    ("chunked with a semicolon", (b"Transfer-Encoding: chunked;",)),
    ("quoted chunked", (b'Transfer-Encoding: "chunked"',)),
    ("chunked behind a vertical tab", (b"Transfer-Encoding: \x0bchunked",)),
    ("chunked before a form feed", (b"Transfer-Encoding: chunked\x0c",)),
    ("chunked behind a backspace", (b"Transfer-Encoding: \x08chunked",)),
    ("chunked behind a no-break space", (b"Transfer-Encoding: \xa0chunked",)),
    ("chunked behind a tab", (b"Transfer-Encoding:\tchunked",)),
    ("chunked before a tab", (b"Transfer-Encoding: chunked\t",)),
    ("chunked with a tab in it", (b"Transfer-Encoding: chun\tked",)),
    ("chunked behind a tab and a word", (b"Transfer-Encoding: \tx chunked",)),
    ("an empty Transfer-Encoding", (b"Transfer-Encoding:",)),
    ("a blank Transfer-Encoding", (b"Transfer-Encoding: \t",)),
    ("a folded Transfer-Encoding", (b"Transfer-Encoding:\r\n chunked",)),
    ("a space before the colon", (b"Transfer-Encoding : chunked",)),
    ("a tab before the colon", (b"Transfer-Encoding\t: chunked",)),
    ("a NUL before the colon", (b"Transfer-Encoding\x00: chunked",)),
    ("a space before the name", (b" Transfer-Encoding: chunked",)),
    ("a tab before the name", (b"\tTransfer-Encoding: chunked",)),
    ("a space before a later name", (b"X: y", b" Transfer-Encoding: chunked")),
    ("a bare LF in front of it", (b"X: y\nTransfer-Encoding: chunked",)),
    ("a bare CR in front of it", (b"X: y\rTransfer-Encoding: chunked",)),
    ("two CRs in front of it", (b"X: y\r\r\nTransfer-Encoding: chunked",)),
)
"""Field lines that a lenient reader could take for chunked, or for its absence; both roles."""

FIELDS = (
    ("a space before a colon", (b"X : y",)),
    ("a tab before a colon", (b"X\t: y",)),
    ("a leading space on the first field", (b" X: y",)),
    ("a leading tab on the first field", (b"\tX: y",)),
    ("a folded value", (b"X: y", b" z")),
    ("a value folded with a tab", (b"X: y", b"\tz")),
    ("a value folded with nothing", (b"X: y", b" ")),
    ("a line without a colon", (b"X",)),
    ("an empty name", (b": y",)),
    ("a name with a space", (b"X Y: z",)),
    ("a name in brackets", (b"X(y): z",)),
    ("a name with a slash", (b"X/Y: z",)),
    ("a name beyond ASCII", (b"X\xe9: y",)),
    ("a name in UTF-8", ("\u00fc: y".encode(),)),
    ("a name with a control character", (b"X\x01: y",)),
    ("a name with a quote", (b'"X": y',)),
    ("a NUL in a value", (b"X: y\x00z",)),
    ("a NUL in a name", (b"X\x00: y",)),
    ("a DEL in a value", (b"X: y\x7fz",)),
    ("an escape in a value", (b"X: \x1b[31m",)),
    ("a vertical tab in a value", (b"X: y\x0bz",)),
    ("a form feed in a value", (b"X: y\x0cz",)),
    ("a bare CR in a value", (b"X: y\rz",)),
    ("a bare LF in a value", (b"X: y\nz",)),
    ("a bare CR before the line's end", (b"X: y\r",)),
    ("a bare LF before the line's end", (b"X: y\n",)),
)
"""Field lines that are none; both roles."""

VERSIONS = (
    b"HTTP/2.0", b"HTTP/2", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/1", b"HTTP/1.", b"HTTP/1.10",
    b"HTTP/01.1", b"HTTP/1.01", b"http/1.1", b"Http/1.1", b"HTTP/11", b"HTTP 1.1", b"HTTP/1,1",
    b"HTTP/ 1.1", b"HTTPS/1.1", b"ICE/1.0", b"HTTP/1.1 ", b"HTTP/1.1\t", b"",
)  # fmt: skip

_HOSTS = (
    ("no Host", ()),
    ("two Hosts that agree", (b"Host: a", b"Host: a")),
    ("two Hosts that differ", (b"Host: a", b"Host: b")),
    ("two Hosts, one of them empty", (b"Host: a", b"Host:")),
    ("a list of Hosts", (b"Host: a, b",)),
    ("a Host with a space", (b"Host: a b",)),
    ("a Host with a tab", (b"Host: a\tb",)),
    ("a Host with a path", (b"Host: a/b",)),
    ("a Host with a query", (b"Host: a?b",)),
    ("a Host with a fragment", (b"Host: a#b",)),
    ("a Host with userinfo", (b"Host: u@a",)),
    ("a Host with a scheme", (b"Host: http://a",)),
    ("a Host with two ports", (b"Host: a:1:2",)),
    ("a Host with a signed port", (b"Host: a:+80",)),
    ("a Host with a port of letters", (b"Host: a:http",)),
    ("a Host of a port alone", (b"Host: :80",)),
    ("a Host with a backslash", (b"Host: a\\b",)),
    ("a Host beyond ASCII", ("Host: \u00e9".encode(),)),
    ("a Host with an open bracket", (b"Host: [::1",)),
    ("a Host with brackets around a name", (b"Host: [name]",)),
    ("a Host with text behind its brackets", (b"Host: [::1]a",)),
    ("a folded Host", (b"Host:\r\n a",)),
)

_TARGETS = (
    ("no target", b""),
    ("a relative target", b"path"),
    ("a query alone", b"?q"),
    ("an asterisk for GET", b"*"),
    ("an authority for GET", b"a:80"),
    ("a space in the target", b"/a b"),
    ("a tab in the target", b"/a\tb"),
    ("a NUL in the target", b"/a\x00b"),
    ("a control character in the target", b"/a\x01b"),
    ("a DEL in the target", b"/a\x7fb"),
    ("a bare CR in the target", b"/a\rb"),
    ("a bare LF in the target", b"/a\nX: y"),
    ("a target beyond ASCII", b"/\xe9"),
    ("a target in UTF-8", "/\u00e9".encode()),
    ("a fragment", b"/a#b"),
    ("a fragment behind an authority", b"http://a/#b"),
    ("a fragment instead of a path", b"http://a#b"),
    ("an absolute target without an authority", b"http://"),
    ("an absolute target with an empty authority", b"http:///a"),
    ("an absolute target with userinfo", b"http://u:p@a/"),
    ("an absolute target with an empty userinfo", b"http://@a/"),
    ("an absolute target with two ports", b"http://a:1:2/"),
    ("an absolute target with a port of letters", b"http://a:b/"),
    ("an absolute target with a backslash", b"http://a\\b/"),
    ("an absolute target with a list of hosts", b"http://a,b/"),
    ("an absolute target with an escaped host", b"http://%61/"),
    ("an absolute target with an open bracket", b"http://[::1/"),
    ("another scheme", b"ftp://a/"),
    ("a file", b"file:///etc/passwd"),
    ("one slash behind the scheme", b"http:/a"),
)

_LINES = (
    ("the preface of HTTP/2", b"PRI * HTTP/2.0"),
    ("HTTP/0.9", b"GET /"),
    ("a request line with a leading space", b" GET / HTTP/1.1"),
    ("a request line with two spaces", b"GET  / HTTP/1.1"),
    ("a request line with two spaces before its version", b"GET /  HTTP/1.1"),
    ("a request line with tabs", b"GET\t/\tHTTP/1.1"),
    ("a request line with a vertical tab", b"GET\x0b/ HTTP/1.1"),
    ("a request line with a trailing space", b"GET / HTTP/1.1 "),
    ("a request line with four words", b"GET / x HTTP/1.1"),
    ("a request line with a bare CR", b"GET / HTTP/1.1\r"),
    ("a method alone", b"GET"),
    ("no method", b"/ HTTP/1.1"),
    ("a method with a colon", b"GE:T / HTTP/1.1"),
    ("a method with a NUL", b"GET\x00 / HTTP/1.1"),
    ("a method beyond ASCII", b"G\xc9T / HTTP/1.1"),
    ("a method with brackets", b"(GET) / HTTP/1.1"),
    ("a status line", b"HTTP/1.1 200 OK"),
    ("a header line first", b"Host: a"),
    ("CONNECT with a path", b"CONNECT / HTTP/1.1"),
    ("CONNECT with an absolute target", b"CONNECT http://a/ HTTP/1.1"),
    ("CONNECT with userinfo", b"CONNECT u@a:443 HTTP/1.1"),
    ("OPTIONS of two asterisks", b"OPTIONS ** HTTP/1.1"),
)

REFUSED_HEADS: tuple[Refused, ...] = (
    *(Refused(why, _post(*fields, body=b"")) for why, fields in LENGTHS),
    *(Refused(f"{why} as a coding", _post(*fields)) for why, fields in CODINGS),
    *(Refused(why, _get(*fields, b"Host: a")) for why, fields in FIELDS),
    *(Refused(f"{why} behind Host", _get(b"Host: a", *fields)) for why, fields in FIELDS),
    *(Refused(why, _get(*fields)) for why, fields in _HOSTS),
    *(Refused(why, _get(b"Host: a", line=b"GET " + t + b" HTTP/1.1")) for why, t in _TARGETS),
    *(Refused(why, _get(b"Host: a", line=line)) for why, line in _LINES),
    *(
        Refused(f"the version {version!r}", _get(b"Host: a", line=b"GET / " + version))
        for version in VERSIONS
    ),
    Refused(
        "Transfer-Encoding in HTTP/1.0",
        _post(b"Transfer-Encoding: chunked", body=_WHOLE, version=b"HTTP/1.0"),
    ),
    Refused("two Hosts in HTTP/1.0", _get(b"Host: a", b"Host: b", line=b"GET / HTTP/1.0")),
    Refused("no Host beside an absolute target", _get(line=b"GET http://a/ HTTP/1.1")),
    Refused(
        "an invalid Host beside an absolute target",
        _get(b"Host: u@b", line=b"GET http://a/ HTTP/1.1"),
    ),
    Refused(
        "CONNECT with a body",
        _get(b"Host: a", b"Content-Length: 5", line=b"CONNECT a:443 HTTP/1.1") + b"hello",
    ),
    Refused("lines that end in LF", b"GET / HTTP/1.1\nHost: a\n\n"),
    Refused("lines that end in CR", b"GET / HTTP/1.1\rHost: a\r\r"),
    Refused("one line that ends in LF", b"GET / HTTP/1.1\r\nX: y\nHost: a\r\n\r\n"),
    Refused("an empty line that ends in LF", b"GET / HTTP/1.1\r\nHost: a\r\n\n"),
    Refused("an LF before the request", b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Refused("a CR before the request", b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    Refused("a space on the line before the request", b" \r\n" + _get(b"Host: a")),
    Refused("a byte order mark", b"\xef\xbb\xbf" + _get(b"Host: a")),
    Refused("a TLS handshake", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n"),
    Refused("the PROXY protocol", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 80\r\n" + _get(b"Host: a")),
)
"""Requests that are refused once their head has come, if not before."""

CHUNKS = (
    ("a chunk size with a plus", b"+5\r\nhello\r\n0\r\n\r\n"),
    ("a negative chunk size", b"-5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with 0x", b"0x5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that is no number", b"five\r\nhello\r\n0\r\n\r\n"),
    ("an empty chunk size", b"\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a leading space", b" 5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a trailing space", b"5 \r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a trailing tab", b"5\t\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a space in it", b"1 1\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with an underscore", b"1_1\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a comma", b"5,5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size with a fraction", b"5.0\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size beyond 60 bits", b"1000000000000000\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that wraps at 64 bits", b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size of many zeros", b"0" * 300 + b"5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size in full-width digits", "\uff15\r\nhello\r\n0\r\n\r\n".encode()),
    ("a chunk size that ends in LF", b"5\nhello\r\n0\r\n\r\n"),
    ("a chunk size that ends in CR", b"5\rhello\r\n0\r\n\r\n"),
    ("a chunk size behind a CR", b"\r5\r\nhello\r\n0\r\n\r\n"),
    ("a chunk size that ends in two CRs", b"5\r\r\nhello\r\n0\r\n\r\n"),
    ("a chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    ("a chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
    ("a chunk that ends in LF", b"5\r\nhello\n0\r\n\r\n"),
    ("a chunk that ends in CR", b"5\r\nhello\r0\r\n\r\n"),
    ("a chunk that ends in two spaces", b"5\r\nhello  0\r\n\r\n"),
    ("a chunk without an end", b"5\r\nhello0\r\n\r\n"),
    ("a chunk behind an empty line", b"5\r\nhello\r\n\r\n0\r\n\r\n"),
    ("a last chunk that ends in LF", b"5\r\nhello\r\n0\n\r\n"),
    ("a last line that ends in LF", b"5\r\nhello\r\n0\r\n\n"),
    ("a last line that ends in CR", b"5\r\nhello\r\n0\r\n\rX"),
    ("a chunk extension with an LF", b"5;a=b\nc\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension with a CR", b"5;a=b\rc\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension with a NUL", b"5;a=\x00\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension without a name", b"5;\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension without a value", b"5;a=\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension with white space", b"5 ;a=b\r\nhello\r\n0\r\n\r\n"),
    ("a chunk extension with an open quote", b'5;a="b\r\nhello\r\n0\r\n\r\n'),
    ("a chunk extension with a line in its quotes", b'5;a="\r\n"\r\nhello\r\n0\r\n\r\n'),
    ("a chunk extension of 300 bytes", b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    ("a hundred chunk extensions", b"5" + b";a=b" * 100 + b"\r\nhello\r\n0\r\n\r\n"),
    ("a trailer with an LF", b"5\r\nhello\r\n0\r\nX: y\n\r\n\r\n"),
    ("a trailer with a CR", b"5\r\nhello\r\n0\r\nX: y\rz\r\n\r\n"),
    ("a trailer with a NUL", b"5\r\nhello\r\n0\r\nX: \x00\r\n\r\n"),
    ("a trailer without a colon", b"5\r\nhello\r\n0\r\nX\r\n\r\n"),
    ("a trailer with a space before its colon", b"5\r\nhello\r\n0\r\nX : y\r\n\r\n"),
    ("a folded trailer", b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n"),
    ("a trailer with a leading space", b"5\r\nhello\r\n0\r\n X: y\r\n\r\n"),
    ("a length among the trailers", b"0\r\nContent-Length: 5\r\n\r\n"),
    ("a coding among the trailers", b"0\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n"),
    ("a request in the trailers", b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("trailers of 9 KiB", b"0\r\n" + b"X: %b\r\n" % (b"y" * 1020) * 9 + b"\r\n"),
    ("trailers of 300 fields", b"0\r\n" + b"X: y\r\n" * 300 + b"\r\n"),
)
"""Chunked bodies that are none; both roles."""

REFUSED_BODIES: tuple[Refused, ...] = tuple(Refused(why, _chunked(body)) for why, body in CHUNKS)
"""Requests with a sound head whose body is refused."""

REFUSED_ANSWERS: tuple[Refused, ...] = (
    *(Refused(why, _answer(*fields)) for why, fields in LENGTHS),
    *(Refused(f"{why} as a coding", _answer(*fields)) for why, fields in CODINGS),
    *(Refused(why, _answer(*fields)) for why, fields in FIELDS),
    *(
        Refused(f"the version {version!r}", _answer(line=version + b" 200 OK"))
        for version in VERSIONS
        if version not in (b"HTTP/1.1 ", b"HTTP/1.1\t")
    ),
    *(
        Refused(f"the status {status!r}", _answer(b"Content-Length: 0", line=b"HTTP/1.1 " + status))
        for status in (
            b"", b"OK", b"20", b"2000", b"099", b"600", b"999", b"+20", b"-20", b" 200", b"2 0",
            b"20x OK", b"200\tOK", b"200OK", b"0200 OK",
        )
    ),
    Refused("a reason with a NUL", _answer(line=b"HTTP/1.1 200 O\x00K")),
    Refused("a reason with a bare CR", _answer(line=b"HTTP/1.1 200 O\rK")),
    Refused("a reason with a bare LF", _answer(line=b"HTTP/1.1 200 O\nK")),
    Refused("a reason with an escape", _answer(line=b"HTTP/1.1 200 \x1b[31m")),
    Refused("a status line with two spaces", _answer(line=b"HTTP/1.1  200 OK")),
    Refused("a leading space", _answer(line=b" HTTP/1.1 200 OK")),
    Refused("an empty line first", b"\r\n" + _answer(b"Content-Length: 0")),
    Refused("lines of an answer that end in LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    Refused("HTTP/0.9 as an answer", b"<html></html>\r\n\r\n"),
    Refused("a request as an answer", _get(b"Host: a")),
    Refused(
        "Transfer-Encoding in an answer of HTTP/1.0",
        _answer(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK", body=_WHOLE),
    ),
    Refused(
        "Transfer-Encoding in a 204",
        _answer(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 204 No Content", body=_WHOLE),
    ),
    Refused(
        "Transfer-Encoding in a 103",
        _answer(b"Transfer-Encoding: chunked", line=b"HTTP/1.1 103 Early Hints", body=_WHOLE),
    ),
)  # fmt: skip
"""Answers to GET that are refused once their head has come, if not before."""

REFUSED_ANSWER_BODIES: tuple[Refused, ...] = tuple(
    Refused(why, _answer(b"Transfer-Encoding: chunked", body=body)) for why, body in CHUNKS
)
