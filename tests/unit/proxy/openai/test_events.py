from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from activator.proxy.edits import Editor
from activator.proxy.openai.events import Splitter, StreamEvent, read_event, written

JOB = "m." + "A" * 28


def event(**said: object) -> bytes:
    return b"event: x\ndata: " + json.dumps(said).encode() + b"\n\n"


def data_of(raw: bytes) -> dict[str, object]:
    found: dict[str, object] = json.loads(raw.partition(b"data: ")[2])
    return found


def as_number(read: StreamEvent, number: int) -> bytes:
    return Editor(read.numbered(number)).piece(read.raw)


@given(st.lists(st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]), max_size=5), st.data())
def test_a_stream_is_split_the_same_however_it_comes(
    ends: list[bytes], data: st.DataObject
) -> None:
    events = [b"data: %d" % number + end for number, end in enumerate(ends)]
    stream = b"".join(events) + b"data: cut"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    splitter, found = Splitter(), list[bytes]()
    bounds = [0, *cuts, len(stream)]
    for start, end in pairwise(bounds):
        found += splitter.feed(stream[start:end])

    assert found == events


async def test_only_the_responses_id_and_background_are_exchanged() -> None:
    response = {
        "id": "theirs",
        "output": [{"id": "msg_1", "background": False}],
        "background": False,
    }
    raw = event(type="response.completed", response=response, sequence_number=7)

    read = await read_event(raw, JOB)

    assert (read.kind, read.number) == ("response.completed", 7)
    told = data_of(as_number(read, 7))
    assert told == {
        "type": "response.completed",
        "response": {**response, "id": "resp_" + JOB, "background": True},
        "sequence_number": 7,
    }
    assert read.response is not None
    start, end = read.response
    assert json.loads(raw[start:end]) == response


async def test_an_event_goes_on_as_it_came_or_under_another_number() -> None:
    raw = event(delta="a", type="response.output_text.delta", sequence_number=3)
    read = await read_event(raw, JOB)

    assert as_number(read, 3) == raw
    assert as_number(read, 1_000_003) == raw.replace(b": 3", b": 1000003")


async def test_one_without_a_number_is_given_one() -> None:
    read = await read_event(event(type="response.output_text.delta", sequence_number=None), JOB)
    assert read.number is None

    said = as_number(await read_event(event(type="x", delta="a"), JOB), 4)
    assert data_of(said) == {"type": "x", "delta": "a", "sequence_number": 4}


async def test_what_is_no_event_of_a_response_is_left_alone() -> None:
    for raw in (b": ping\n\n", b"data: [DONE]\n\n", b'data: {"a": 1}\n\n', b"data: {broken\n\n"):
        assert await read_event(raw, JOB) == StreamEvent(raw)


async def test_ours_can_be_read_like_theirs() -> None:
    read = await read_event(written("error", 9, {"message": "a\nb"}), JOB)

    assert (read.kind, read.number) == ("error", 9)
