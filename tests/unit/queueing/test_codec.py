from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activator.queueing.codec import (
    NewerVersion,
    decode_envelope,
    decode_head,
    decode_lines,
    encode_envelope,
    encode_head,
    encode_lines,
)
from activator.queueing.jobs import Envelope, ResultHead

many = st.lists(st.binary(), max_size=5).map(tuple)
envelopes = st.builds(
    Envelope,
    method=st.binary(),
    target=st.binary(),
    host=st.binary(),
    lines=many,
    minor=st.sampled_from([0, 1]),
    length=st.integers(min_value=-2),
    trailers=many,
    request_id=st.binary(),
    peer=st.text(),
    tls=st.booleans(),
    trusted=st.booleans(),
    affinity=st.none() | st.binary(),
    owner=st.text(),
    webhook=st.text(),
    response=st.binary(),
)
heads = st.builds(
    ResultHead,
    status=st.integers(100, 599),
    reason=st.binary(),
    lines=many,
    minor=st.sampled_from([0, 1]),
    length=st.integers(min_value=-2),
)


@given(envelopes)
def test_an_envelope_comes_back_as_it_was(envelope: Envelope) -> None:
    assert decode_envelope(encode_envelope(envelope)) == envelope


@given(heads)
def test_the_head_of_an_answer_comes_back_as_it_was(head: ResultHead) -> None:
    assert decode_head(encode_head(head)) == head


@given(many)
def test_trailers_come_back_as_they_were(lines: tuple[bytes, ...]) -> None:
    assert decode_lines(encode_lines(lines)) == lines


def test_what_is_at_its_default_takes_no_room() -> None:
    envelope = Envelope(method=b"POST", target=b"/v1", host=b"h", lines=(b"Accept: */*",))
    assert encode_envelope(envelope) == b'1{"m":"POST","t":"/v1","h":"h","l":["Accept: */*"]}'


@pytest.mark.parametrize("data", [b'2{"m":"POST"}', b"10{}", b'99{"x":1}'])
def test_a_newer_version_is_never_misread(data: bytes) -> None:
    with pytest.raises(NewerVersion):
        decode_envelope(data)
    with pytest.raises(NewerVersion):
        decode_head(data)


@pytest.mark.parametrize("data", [b"", b"{}", b"x", b"0{}"])
def test_what_nobody_has_written_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a record"):
        decode_envelope(data)
