"""A background response whose first activator was killed while a model streamed it."""

from __future__ import annotations

import openai
import pytest

from activator.app.stores import Times
from activator.queueing.jobs import Created, Envelope, NewJob
from tests.integration.jobs.support import elsewhere
from tests.integration.openai.support import client_of
from tests.integration.openai.test_responses import (
    OPENAI,
    RESPONSES,
    TEXTS,
    collected,
    responds,
    until_status,
)
from tests.stage import stage

pytestmark = pytest.mark.usefixtures("each_store")


async def test_another_attempt_is_never_spliced_to_the_first() -> None:
    times = Times(beat=0.1, silence=0.5)
    async with (
        stage(responds, ready=False, times=times, **OPENAI) as s,
        elsewhere(s, "dead") as dead,
    ):
        upload = dead.upload("m")
        await upload.write(b'{"model": "llama", "input": "hi", "stream": true}')
        envelope = Envelope(
            b"POST",
            RESPONSES.encode(),
            b"m.example",
            lines=(b"Content-Length: %d" % upload.size,),
            length=upload.size,
            response=b'{"model": "llama", "metadata": {}, "stream": true}',
        )
        created = await dead.create(NewJob(envelope, claim=True), upload)
        assert isinstance(created, Created)
        assert created.claim is not None
        await dead.begin(created.claim)
        await s.replica.start()
        async with client_of(s, max_retries=0) as client:
            id_ = f"resp_{upload.job_id}"
            await until_status(client, id_, "completed")
            seen = [event async for event in await client.responses.retrieve(id_, stream=True)]
            assert [event.sequence_number for event in seen] == [0, *range(1_000_001, 1_000_007)]
            assert collected(seen) == TEXTS
            with pytest.raises(openai.APIStatusError, match="another attempt") as refused:
                await client.responses.retrieve(id_, stream=True, starting_after=3)
            assert (refused.value.status_code, refused.value.code) == (410, "job_gone")
            after = seen[-2].sequence_number
            last = await client.responses.retrieve(id_, stream=True, starting_after=after)
            assert [event.type async for event in last] == ["response.completed"]
