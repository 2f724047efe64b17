"""Bodies are cut out of the stream to the byte, however it is cut into reads."""

from __future__ import annotations

from itertools import pairwise

import pytest

from activator.wire.framing import (
    LAST_CHUNK,
    ChunkedDecoder,
    Decoder,
    LengthDecoder,
    UntilCloseDecoder,
    chunk,
    decoder,
    last_chunk,
)
from activator.wire.heads import CHUNKED, UNTIL_CLOSE, HeadLimits, Malformed, TooLarge
from tests.unit.wire.corpus import CHUNKS

LIMITS = HeadLimits()


def chunked() -> ChunkedDecoder:
    return ChunkedDecoder(LIMITS)


def feed(coming: Decoder, *reads: bytes) -> tuple[bytes, bytes]:
    """(the whole body, what lies behind it)"""
    body = rest = b""
    for data in reads:
        if coming.done:
            rest += data
        else:
            piece, end = coming.feed(data)
            body, rest = body + piece, data[end:]
    return body, rest


def in_bytes(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


# --- lengths ------------------------------------------------------------------------------------


def test_a_length_is_counted_to_the_byte() -> None:
    coming = LengthDecoder(5)
    assert coming.feed(b"hel") == (b"hel", 3)
    assert not coming.done
    assert not coming.eof()
    assert coming.feed(b"loGET") == (b"lo", 2)
    assert coming.done
    assert coming.eof()


def test_a_body_that_fits_its_read_is_not_copied() -> None:
    data = bytes(1000)
    assert LengthDecoder(1000).feed(data)[0] is data
    assert LengthDecoder(2000).feed(data)[0] is data
    coming = chunked()
    coming.feed(b"fff\r\n")
    assert coming.feed(data)[0] is data


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    coming = UntilCloseDecoder()
    assert coming.feed(b"0\r\n\r\n") == (b"0\r\n\r\n", 5)
    assert not coming.done
    assert coming.eof()


def test_a_body_may_begin_anywhere_in_its_read() -> None:
    for length, body in ((5, b"hello"), (CHUNKED, b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n")):
        read = b"POST" + body + b"GET"
        assert decoder(length, LIMITS).feed(read, 4) == (b"hello", 4 + len(body))
        for cut in range(1, len(body)):
            coming = decoder(length, LIMITS)
            begun, end = coming.feed(b"POST" + body[:cut], 4)
            assert end == 4 + cut
            ended, end = coming.feed(b"-" + body[cut:] + b"GET", 1)
            assert (begun + ended, end) == (b"hello", 1 + len(body) - cut)
            assert coming.done
    assert decoder(UNTIL_CLOSE, LIMITS).feed(b"HTTPhello", 4) == (b"hello", 9)


def test_each_length_has_its_decoder() -> None:
    assert isinstance(decoder(5, LIMITS), LengthDecoder)
    assert isinstance(decoder(CHUNKED, LIMITS), ChunkedDecoder)
    assert isinstance(decoder(UNTIL_CLOSE, LIMITS), UntilCloseDecoder)


# --- chunks -------------------------------------------------------------------------------------

WHOLE = (
    b"5\r\nhello\r\n"
    b"1;a;b=c;d=\"e \\\" f\"\r\n \r\n"
    b"00A\r\n0123456789\r\n"
    b"9\r\n\r\n0\r\n\r\nab\r\n"
    b"0;last\r\nX-Sum: 1\r\nAuthorization: b\r\n\r\n"
)  # fmt: skip
BODY = b"hello 0123456789\r\n0\r\n\r\nab"


def test_chunks_are_joined_and_their_extensions_dropped() -> None:
    coming = chunked()
    assert coming.feed(WHOLE + b"GET") == (BODY, len(WHOLE))
    assert coming.done
    assert coming.trailers == [(b"x-sum", b"1", b"X-Sum: 1")]


def test_chunks_are_the_same_at_whatever_two_places_the_stream_is_cut() -> None:
    stream = WHOLE + b"GET"
    for first in range(len(stream) + 1):
        for second in range(first, len(stream) + 1):
            coming = chunked()
            cuts = (0, first, second, len(stream))
            reads = [stream[a:b] for a, b in pairwise(cuts) if a < b]
            assert feed(coming, *reads) == (BODY, b"GET")
            assert coming.trailers == [(b"x-sum", b"1", b"X-Sum: 1")]


def test_chunks_may_come_byte_by_byte() -> None:
    assert feed(chunked(), *in_bytes(WHOLE)) == (BODY, b"")


def test_a_chunked_body_without_its_end_is_not_complete() -> None:
    for size in range(len(WHOLE)):
        coming = chunked()
        if size:
            coming.feed(WHOLE[:size])
        assert not coming.eof()
    assert not coming.done


@pytest.mark.parametrize(("why", "body"), CHUNKS, ids=lambda part: str(part)[:40])
def test_a_chunked_body_that_can_be_misread_is_refused_however_it_comes(
    why: str, body: bytes
) -> None:
    for reads in ([body], in_bytes(body), [body[:1], body[1:]], [body[:-1], body[-1:]]):
        coming = chunked()
        with pytest.raises((Malformed, TooLarge)):
            feed(coming, *reads)
        assert not coming.done, why


def test_extensions_and_trailers_may_be_as_long_as_their_limits_however_they_come() -> None:
    line = b"5;" + b"a" * 254 + b"\r\nhello\r\n0\r\n"
    trailers = b"A: %b\r\n" % (b"b" * (8192 - 5))
    for reads in ([line + trailers + b"\r\n"], in_bytes(line + trailers + b"\r\n")):
        assert feed(chunked(), *reads) == (b"hello", b"")
    longer = b"A: %b\r\n\r\n" % (b"b" * (8193 - 5))
    for reads in ([line + longer], in_bytes(line + longer)):
        with pytest.raises(TooLarge):
            feed(chunked(), *reads)
    longer = line.replace(b";", b";a")
    for reads in ([longer], in_bytes(longer)):
        with pytest.raises(Malformed):
            feed(chunked(), *reads)


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 256, 2047, 2048, 4095, 70_000])
def test_a_chunk_that_comes_whole_is_read_as_one_that_comes_in_bytes(size: int) -> None:
    data = b"\r\n" * (size // 2) + b"x" * (size % 2)
    plain = b"%x\r\n%b\r\n" % (size, data)
    for whole in (plain, b"%X\r\n%b\r\n" % (size, data), b"0" + plain, plain + plain):
        coming = chunked()
        for _ in range(2):
            assert coming.feed(whole) == (feed(chunked(), *in_bytes(whole))[0], len(whole))
        assert coming.feed(LAST_CHUNK) == (b"", len(LAST_CHUNK))
        assert coming.done
    for wrong in (plain[:-2] + b"\n\n", plain[:-2] + b"x\r\n", plain.replace(b"\r\n", b"\n", 1)):
        with pytest.raises(Malformed):
            chunked().feed(wrong)


def test_a_wrong_chunk_size_is_refused_before_its_line_ends() -> None:
    for wrong in (b"G", b"5 ", b"0x", b"+", b"1" * 16, b"5\rX"):
        with pytest.raises(Malformed):
            chunked().feed(wrong)


# --- framing again ------------------------------------------------------------------------------


def test_what_is_framed_is_decoded_to_the_same() -> None:
    trailers = [(b"x-sum", b"1", b"X-Sum: 1"), (b"y", b"", b"Y:")]
    coming = chunked()
    stream = chunk(b"hello") + chunk(b"x" * 1000) + last_chunk(trailers)
    assert coming.feed(stream) == (b"hello" + b"x" * 1000, len(stream))
    assert coming.trailers == trailers
    assert last_chunk([]) == LAST_CHUNK
